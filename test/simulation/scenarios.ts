/**
 * Short histories written by hand, for planted bugs that need steps in one certain order. Random histories catch these
 * bugs too, but only after minutes. The unchanged product must pass them, as it passes every other history.
 */
import { type Action, type CrashKind, makePlan, type Op, type Plan, type World } from "./plan.ts";

const append = (log: number, producer: number): Action[] => [
  { type: "append", log, producer, records: 1, bytes: 0, acks: "flushed", ifEnd: undefined, gzip: false },
  { type: "settle" },
];
const roll = (log: number): Action[] => [{ type: "roll", log }, { type: "settle" }];
const empty = (log: number): Action[] => [{ type: "trim", log, part: 1 }, { type: "settle" }];
const crash = (kind: CrashKind): Action[] => [
  { type: "crash", kind, after: 0, reopen: { crashes: [], rot: false, twice: false, resend: true } },
  { type: "fetch", log: 0, from: "start", committed: true, maxBytes: 1, verify: false },
];

const HISTORIES = {
  /** All records are trimmed, and the producers continue. */
  emptied: [
    ...append(0, 0),
    ...append(0, 1),
    ...append(0, 0),
    ...empty(0),
    ...crash("kill"),
    ...append(0, 0),
    ...append(0, 1),
  ],
  /** The second log takes a slot that holds a stale batch of the first log at just the offset that it expects. */
  recycled: [
    ...append(0, 0),
    ...roll(0),
    ...append(0, 0),
    ...roll(0),
    ...append(0, 0),
    ...empty(0),
    ...append(0, 0),
    ...roll(0),
    ...append(0, 0),
    ...empty(0),
    ...append(0, 0),
    ...empty(0),
    ...append(1, 0),
    ...append(1, 0),
    ...append(1, 0),
    ...append(1, 0),
    ...roll(1),
    ...crash("kill"),
    ...append(1, 0),
    ...crash("power"),
  ],
} satisfies Record<string, readonly Action[]>;

export type Scenario = keyof typeof HISTORIES;
export const SCENARIOS = Object.keys(HISTORIES) as Scenario[];

export function scenarioPlan(scenario: Scenario, seed: number): Plan {
  const log = {
    retention: {},
    compaction: undefined,
    segmentMaxAgeMs: 1e12,
    queueAppendsMax: 1000,
    producersMax: 1000,
    producers: 2,
    anonymous: false,
    keys: 0,
  };
  const world: World = {
    ...makePlan(seed, 0).world,
    slotBytes: 12 * 1024,
    slotsMax: 60,
    buffered: false,
    rots: false,
    stale: false,
    uniform: true,
    narrow: true,
    logs: [
      { ...log, name: "log-0" },
      { ...log, name: "log-1" },
    ],
  };
  const ops = HISTORIES[scenario].map((action, at): Op => ({ id: at + 1, ...action }));
  return { seed, world, ops };
}
