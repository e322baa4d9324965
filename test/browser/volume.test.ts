/** The contracts of volumes and stores over OPFS and IndexedDB, in a real worker of a real browser. */
import { describe, it } from "vitest";
import { exchangeCases } from "../contract/exchange-contract.ts";
import { storeCases } from "../contract/store-contract.ts";
import { syncedCases } from "../contract/synced-contract.ts";
import { syncedHealingCases } from "../contract/synced-healing-contract.ts";
import { syncedReadingCases } from "../contract/synced-reading-contract.ts";
import { volumeCases } from "../contract/volume-contract.ts";
import { volumeWorker } from "./worker-of.ts";

const worker = volumeWorker();

/**
 * What a file holds depends neither on when it is opened nor on the engine, and test/unit/exchange.test.ts tries every
 * case over memory. So each engine gets the tides of one kind of end here.
 */
const exchangesOf = { opfs: "killed", ahead: undefined, indexeddb: "closed" } as const;

for (const engine of ["opfs", "ahead", "indexeddb"] as const) {
  describe(`volume in ${engine}`, () => {
    for (const { name } of volumeCases) it(name, () => worker.runVolumeCase(engine, name));
  });
  describe(`segmented store over ${engine}`, () => {
    const exchanges = exchangeCases.filter(({ end }) => end === exchangesOf[engine]);
    for (const { name } of [...storeCases, ...exchanges]) it(name, () => worker.runStoreCase(engine, name), 120_000);
  });
  describe(`synced topic over ${engine}`, () => {
    for (const { name } of [...syncedCases, ...syncedReadingCases, ...syncedHealingCases])
      it(name, () => worker.runSyncedCase(engine, name), 60_000);
  });
}
