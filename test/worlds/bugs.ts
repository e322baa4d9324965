/** Planted bugs that the small worlds must find: the simulation's bugs that concern storage, and some more. */
import { MUTANTS } from "../simulation/mutants.ts";
import type { PlantedBug } from "../support/planted-bug.ts";
import type { Beginning } from "./world.ts";

/** For each bug the beginning from which it is found, and after how many operations at the latest. */
const SHARED: Readonly<Record<string, readonly [Beginning, number]>> = {
  "flush left out": ["new", 1],
  "another slot flushed": ["new", 1],
  "mark before its data": ["new", 2],
  "roll without a flush": ["new", 2],
  "recovery without a flush": ["new", 3],
  "catalog not flushed": ["new", 0],
  "catalog copies swapped": ["new", 0],
  "catalog copies written together": ["new", 0],
  "trim not committed": ["used", 1],
  "stale batches of a recycled slot": ["recycled", 2],
  "tail of any epoch": ["recycled", 1],
  "durable end ignored": ["new", 1],
  "time found one too late": ["new", 1],
  "producers' snapshot trimmed away": ["used", 2],
  "compaction keeps the oldest": ["used", 1],
};

export interface WorldBug extends PlantedBug {
  readonly from: Beginning;
  readonly depth: number;
  /** Set if only a crash during recovery shows the bug. */
  readonly recrash?: number;
}

const shared = MUTANTS.filter(({ name }) => name in SHARED).map(({ name, file, find, replace }) => {
  const [from, depth] = SHARED[name]!;
  return { name, file, find, replace, from, depth };
});

export const BUGS: readonly WorldBug[] = [
  ...shared,
  {
    name: "catalog written once",
    file: "src/store/catalog.ts",
    find: "for (const slot of [first, 1 - first]) {",
    replace: "for (const slot of [0]) {",
    from: "new",
    depth: 0,
  },
  {
    name: "catalog's second copy first",
    file: "src/store/catalog.ts",
    find: "for (const slot of [first, 1 - first]) {",
    replace: "for (const slot of [1 - first, first]) {",
    from: "new",
    depth: 0,
    recrash: 1,
  },
  {
    name: "mark checksum ignored",
    file: "src/store/slot-read.ts",
    find: "if (kernel.crc32c(bytes.subarray(0, MARK_CRC_AT)) !== view.getUint32(MARK_CRC_AT)) return undefined;",
    replace: "",
    from: "new",
    depth: 2,
  },
  {
    name: "torn tail not reported",
    file: "src/store/recover-log.ts",
    find: "cut: walked.cut, lost,",
    replace: "cut: undefined, lost,",
    from: "new",
    depth: 1,
  },
];

export const SHARED_COUNT = Object.keys(SHARED).length;
