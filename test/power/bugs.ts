/**
 * Planted bugs that a power cut must show: each leaves something out that only matters when the power goes.
 */
import { MUTANTS } from "../simulation/mutants.ts";
import type { PlantedBug } from "../support/planted-bug.ts";

export interface PowerBug extends PlantedBug {
  readonly engine: "opfs" | "indexeddb";
}

/** Two bugs that a kill of the process never shows, because every written byte is still there afterwards. */
export const NO_FLUSH: Readonly<Record<"opfs" | "indexeddb", PowerBug>> = {
  opfs: {
    name: "no flush() of files",
    engine: "opfs",
    file: "src/browser/volume/opfs-volume.ts",
    find: "open.handle.flush();",
    replace: "",
  },
  indexeddb: {
    name: "relaxed instead of strict",
    engine: "indexeddb",
    file: "src/browser/volume/idb-connection.ts",
    find: "durability: mode",
    replace: 'durability: "relaxed"',
  },
};

const STORE_BUGS = [
  "flush left out",
  "mark before its data",
  "roll without a flush",
  "catalog not flushed",
  "catalog copies written together",
];

function storeBug(wanted: string): PowerBug {
  const found = MUTANTS.find(({ name }) => name === wanted);
  if (!found) throw new Error(`the simulation has no planted bug "${wanted}"`);
  const { name, file, find, replace } = found;
  return { name, file, find, replace, engine: "opfs" };
}

export const POWER_BUGS: readonly PowerBug[] = [NO_FLUSH.opfs, NO_FLUSH.indexeddb, ...STORE_BUGS.map(storeBug)];
