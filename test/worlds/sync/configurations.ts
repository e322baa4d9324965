/**
 * The small worlds that are walked: how many appends, which faults, how often each. `small` ones are walked to their
 * end in every test; the others by `npm run worlds -- --sync`, to their end or to as many states as it is told.
 */
import { BUDGETS, type Budget, type Config } from "./world.ts";

/** What a configuration says; the rest is none, one or no. */
export interface Given extends Partial<Omit<Config, "budgets">> {
  readonly budgets: Partial<Record<Budget, number>>;
}

export interface Configuration {
  readonly name: string;
  readonly given: Given;
}

export interface SmallConfiguration extends Configuration {
  /** How many it has. */
  readonly states: number;
}

export const configOf = (given: Given): Config => ({
  devices: 2,
  positions: 4,
  offsets: 8,
  window: 1,
  frame: 1,
  latest: false,
  queue: false,
  late: false,
  wide: false,
  registry: false,
  needless: false,
  falseStop: false,
  ownChoice: false,
  ...given,
  budgets: Object.fromEntries(BUDGETS.map((name) => [name, given.budgets[name] ?? 0])) as Record<Budget, number>,
});

/** A copy of the profile, made at any moment and opened at any moment beside its original. */
export const COPIED = { backup: 1, copy: 1 };
export const PUT_BACK = { edgeBackup: 1, putBack: 1 };

/** Walked to their end in every test. */
export const SMALL: readonly SmallConfiguration[] = [
  { name: "2 appends + cut + crash", given: { budgets: { append: 2, cut: 1, crash: 1 } }, states: 2_225 },
  { name: "3 appends + frames of 2", given: { budgets: { append: 3, crash: 1 }, window: 2, frame: 2 }, states: 2_932 },
  { name: "1 append + copy + cut", given: { budgets: { append: 1, cut: 1, ...COPIED } }, states: 7_854 },
  { name: "2 appends + copy", given: { budgets: { append: 2, ...COPIED } }, states: 33_925 },
  { name: "2 appends + restored in place", given: { budgets: { append: 2, backup: 1, inPlace: 1 } }, states: 1_536 },
  {
    name: "1 append + x + compaction + cut + crash",
    given: { budgets: { append: 1, foreign: 1, compact: 1, cut: 1, crash: 1 } },
    states: 1_564,
  },
  {
    name: "1 append + x + trim + put back",
    given: { budgets: { append: 1, foreign: 1, trim: 1, ...PUT_BACK } },
    states: 4_257,
  },
  {
    name: "2 appends + discard + cut",
    given: { budgets: { append: 2, discard: 1, cut: 1 }, falseStop: true },
    states: 1_068,
  },
  {
    name: "1 append + x + reset of the edge + copy + latest",
    given: { budgets: { append: 1, foreign: 1, reset: 1, ...COPIED }, queue: true, latest: true },
    states: 61_733,
  },
  {
    name: "2 appends of 1 or 2 records + x + two compactions",
    given: { budgets: { append: 2, foreign: 1, compact: 2 }, wide: true },
    states: 14_049,
  },
  {
    name: "2 appends of 1 or 2 records + cut + crash + frames of 2",
    given: { budgets: { append: 2, cut: 1, crash: 1 }, wide: true, window: 2, frame: 2 },
    states: 16_975,
  },
  {
    name: "2 appends + cut + crash + late answers",
    given: { budgets: { append: 2, cut: 1, crash: 1 }, late: true, window: 2 },
    states: 7_390,
  },
  {
    name: "1 append + copy + cut + late answers",
    given: { budgets: { append: 1, cut: 1, ...COPIED }, late: true },
    states: 26_141,
  },
  { name: "1 append + two copies", given: { budgets: { append: 1, backup: 1, copy: 2 }, devices: 3 }, states: 12_662 },
  {
    name: "1 append + copy + x + compaction + sent again",
    given: { budgets: { append: 1, foreign: 1, compact: 1, retry: 1, ...COPIED } },
    states: 16_079,
  },
  {
    name: "2 appends + registry on disk + crash + reset + seal + eviction",
    given: { budgets: { append: 2, crash: 1, reset: 1, seal: 1, evict: 1 }, registry: true, queue: true },
    states: 21_005,
  },
];

export const LARGE: readonly Configuration[] = [
  {
    name: "3 appends + cut + crash + 2 in flight + frames of 2",
    given: { budgets: { append: 3, cut: 1, crash: 1 }, window: 2, frame: 2 },
  },
  { name: "2 appends + copy + cut + crash", given: { budgets: { append: 2, cut: 1, crash: 1, ...COPIED } } },
  { name: "3 appends + copy + 2 in flight", given: { budgets: { append: 3, ...COPIED }, window: 2 } },
  { name: "3 appends + copy + cut + 2 in flight", given: { budgets: { append: 3, cut: 1, ...COPIED }, window: 2 } },
  { name: "2 appends + copy + cut + forgets", given: { budgets: { append: 2, cut: 1, forget: 1, ...COPIED } } },
  {
    name: "2 appends + copy + cut + crash + forgets",
    given: { budgets: { append: 2, cut: 1, crash: 1, forget: 1, ...COPIED } },
  },
  { name: "3 appends + copy + forgets twice", given: { budgets: { append: 3, forget: 2, ...COPIED } } },
  {
    name: "1 append + copy + cut + crash + forgets twice",
    given: { budgets: { append: 1, cut: 1, crash: 1, forget: 2, ...COPIED } },
  },
  {
    name: "3 appends + restored in place + cut + crash + forgets",
    given: { budgets: { append: 3, cut: 1, crash: 1, forget: 1, backup: 1, inPlace: 1 } },
  },
  { name: "2 appends + copy + x + compaction", given: { budgets: { append: 2, foreign: 1, compact: 1, ...COPIED } } },
  { name: "2 appends + copy + x + trim", given: { budgets: { append: 2, foreign: 1, trim: 1, ...COPIED } } },
  {
    name: "2 appends + copy + x + compaction + forgets + cut",
    given: { budgets: { append: 2, foreign: 1, compact: 1, forget: 1, cut: 1, ...COPIED } },
  },
  {
    name: "1 append + copy + x + trim + forgets + cut + crash",
    given: { budgets: { append: 1, foreign: 1, trim: 1, forget: 1, cut: 1, crash: 1, ...COPIED } },
  },
  {
    name: "2 appends + copy + x + forgets + crash + latest",
    given: { budgets: { append: 2, foreign: 1, forget: 1, crash: 1, ...COPIED }, latest: true },
  },
  {
    name: "2 appends + copy + x + compaction + cut + crash",
    given: { budgets: { append: 2, foreign: 1, compact: 1, cut: 1, crash: 1, ...COPIED } },
  },
  {
    name: "2 appends + copy + x + trim + forgets + crash",
    given: { budgets: { append: 2, foreign: 1, trim: 1, forget: 1, crash: 1, ...COPIED } },
  },
  {
    name: "1 append + copy + 2 x + reset of the edge + latest",
    given: { budgets: { append: 1, foreign: 2, reset: 1, ...COPIED }, queue: true, latest: true },
  },
  {
    name: "2 appends + 2 x + copy + cut + reset of the edge",
    given: { budgets: { append: 2, foreign: 2, cut: 1, reset: 1, ...COPIED }, queue: true },
  },
  {
    name: "2 appends + 2 x + compaction + put back + crash",
    given: { budgets: { append: 2, foreign: 2, compact: 1, crash: 1, ...PUT_BACK } },
  },
  {
    name: "2 appends + x + trim + put back + cut + crash",
    given: { budgets: { append: 2, foreign: 1, trim: 1, cut: 1, crash: 1, ...PUT_BACK } },
  },
  { name: "2 appends + copy + x + put back", given: { budgets: { append: 2, foreign: 1, ...COPIED, ...PUT_BACK } } },
  {
    name: "3 appends + copy + discard",
    given: { budgets: { append: 3, discard: 1, ...COPIED }, falseStop: true, ownChoice: true },
  },
  {
    name: "1 append of 1 or 2 records + copy + x + two compactions + crash",
    given: { budgets: { append: 1, foreign: 1, compact: 2, crash: 1, ...COPIED }, wide: true },
  },
  {
    name: "2 appends of 1 or 2 records + copy + x + compaction",
    given: { budgets: { append: 2, foreign: 1, compact: 1, ...COPIED }, wide: true },
  },
  {
    name: "2 appends of 1 or 2 records + copy + discard",
    given: { budgets: { append: 2, discard: 1, ...COPIED }, wide: true, ownChoice: true, falseStop: true },
  },
  {
    name: "2 appends + copy + discard + crash; replica from the log's end",
    given: { budgets: { append: 2, discard: 1, crash: 1, ...COPIED }, latest: true, ownChoice: true },
  },
  { name: "2 appends + copy + cut + late answers", given: { budgets: { append: 2, cut: 1, ...COPIED }, late: true } },
  {
    name: "1 append + copy + x + compaction + crash + late answers",
    given: { budgets: { append: 1, foreign: 1, compact: 1, crash: 1, ...COPIED }, late: true },
  },
  {
    name: "2 appends + x + put back + crash + late answers",
    given: { budgets: { append: 2, foreign: 1, crash: 1, ...PUT_BACK }, late: true },
  },
  {
    name: "2 appends + copy + forgets + late answers",
    given: { budgets: { append: 2, forget: 1, ...COPIED }, late: true },
  },
  {
    name: "1 append + two copies of two backups + crash",
    given: { budgets: { append: 1, backup: 2, copy: 2, crash: 1 }, devices: 3 },
  },
  { name: "2 appends + two copies", given: { budgets: { append: 2, backup: 1, copy: 2 }, devices: 3 } },
  {
    name: "2 appends + two copies + forgets",
    given: { budgets: { append: 2, backup: 1, copy: 2, forget: 1 }, devices: 3 },
  },
  {
    name: "1 append + two copies + x + compaction",
    given: { budgets: { append: 1, foreign: 1, compact: 1, backup: 1, copy: 2 }, devices: 3 },
  },
  {
    name: "2 appends + copy + x + compaction + crash + sent again",
    given: { budgets: { append: 2, foreign: 1, compact: 1, crash: 1, retry: 1, ...COPIED } },
  },
  {
    name: "2 appends + copy + x + trim + sent again",
    given: { budgets: { append: 2, foreign: 1, trim: 1, retry: 1, ...COPIED } },
  },
  {
    name: "1 append + copy + registry on disk + reset + seal + eviction + forgets",
    given: { budgets: { append: 1, reset: 1, seal: 1, evict: 1, forget: 1, ...COPIED }, registry: true, queue: true },
  },
  {
    name: "2 appends + registry on disk + cut + crash + reset + seal + eviction",
    given: { budgets: { append: 2, cut: 1, crash: 1, reset: 1, seal: 1, evict: 1 }, registry: true, queue: true },
  },
];
