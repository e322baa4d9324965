/**
 * The rules of docs/sync.md that decide, as pure functions: what the edge makes of a join, a push and a claim; what a
 * device makes of an answer; what it may trim; what it must ask about. The small worlds run them, and wrong ones in
 * their place (wrong-rules.ts). Who changes one changes docs/sync.md in the same commit.
 *
 * Positions and offsets are numbers, checksums are compared for equality only. NONE stands for "not known".
 */
import { fellBack, isForeign, mustKnow, type OutboxHeld } from "../../../src/sync/rules.ts";
import {
  doubtFromAtDraw,
  flushesBeforeTrim,
  isCovered,
  lowerBound,
  passedAfter,
  showsBatch,
  trimForTaken,
} from "../../../src/sync/settling.ts";
import { type Entry, NONE } from "./state.ts";

export interface Standing {
  readonly generation: number;
  readonly term: number;
}

/** What a join says of an outbox that the edge may not know. */
export interface Registering {
  readonly registered: boolean;
  readonly first: number;
  readonly firstUnsettled: number;
  /** All that is unsettled was appended in this opening. */
  readonly isFresh: boolean;
}

export interface PushAsked extends Standing {
  readonly expected: number;
  readonly previous: number;
  readonly at: number;
  readonly next: number;
  readonly last: number;
}

/** What a device holds when a join is answered. */
export interface Held {
  readonly first: number;
  readonly start: number;
  readonly end: number;
  readonly noteNext: number;
  readonly noteLast: number;
  readonly toldNext: number;
  /** Checksum of the batch that ends at a position; 0: none ends there. */
  readonly lastAt: (position: number) => number;
  /** Positions that are in the replica although the answer's `next` does not pass them: first generation only. */
  readonly generation: number;
}

/** The edge's memory of how often it was opened, and what a replica says of itself. */
export interface Lineage {
  readonly lives: readonly number[];
  readonly began: readonly number[];
  readonly known: number;
  readonly life: number;
  readonly replicaEnd: number;
  readonly passed: number;
  readonly committed: number;
  /** What the edge has at an offset, and what the replica has; for rules that compare samples. */
  readonly start: number;
  readonly base: number;
  readonly log: readonly number[];
  readonly replica: readonly number[];
  readonly gaps: number;
}

const known = (value: number): number | undefined => (value === NONE ? undefined : value);

/** As the device's own rules (src/sync/rules.ts) take it. */
const heldOf = ({ first, start, end, noteNext, noteLast, toldNext, lastAt }: Held, next: number): OutboxHeld => ({
  first,
  start,
  end,
  noteNext: known(noteNext),
  noteLast,
  toldNext: known(toldNext),
  lastAtNext: lastAt(next) || undefined,
});

const greater = (a: Standing, b: Standing): boolean =>
  a.generation > b.generation || (a.generation === b.generation && a.term > b.term);

export const RULES = {
  // ---- the edge ----

  /** `next` of the entry that an unknown id gets; undefined: UNKNOWN_OUTBOX. */
  register: ({ registered, first }: Registering, forgottenAt: number): number | undefined =>
    !registered && forgottenAt === 0 ? first : undefined,

  /** What an entry's standing becomes by a join; undefined: FENCED_LEADER. */
  raise: (entry: Standing, asked: Standing): Standing | undefined => (greater(entry, asked) ? undefined : asked),

  /** Of a push: its session's standing is the entry's, or it is FENCED_LEADER. */
  isFenced: (entry: Standing, asked: Standing): boolean =>
    entry.generation !== asked.generation || entry.term !== asked.term,

  /** A plain push continues the chain. */
  continues: (entry: Entry, push: PushAsked): boolean =>
    push.expected === entry.next && push.at === entry.next && push.previous === entry.last,

  /** `next` behind a frame: it moves by records, whatever batches they are in. */
  nextAfter: (at: number, records: number, _batches: number): number => at + records,

  isRepeat: (entry: Entry, push: PushAsked): boolean => push.next === entry.next && push.last === entry.last,

  /** Who has read more than there is speaks of another past of the log. */
  grants: (entry: Entry, readTo: number, forgottenAt: number, committed: number): boolean =>
    readTo <= committed &&
    (entry.known ? entry.lastOffset === NONE || readTo > entry.lastOffset : readTo >= forgottenAt),

  grantedGeneration: (entry: Entry, claimers: number, forgottenGeneration: number): number =>
    Math.max(claimers, entry.known ? entry.generation : forgottenGeneration) + 1,

  /** `since` of the entry behind a grant; `takenAt`: where its batches stand. */
  grantedSince: (entry: Entry, logStart: number, _takenAt: number): number => (entry.known ? entry.since : logStart),

  /** `since` as answers say it. */
  toldSince: (since: number, isKnown: boolean, forgottenAt: number, logStart: number, _isRefused: boolean): number =>
    isKnown && forgottenAt === 0 ? since : logStart,

  /** Answers speak of what is committed. */
  told: <T>(committed: T, _queued: T): T => committed,

  forgottenAtAfter: (committed: number): number => committed,
  forgottenGenerationAfter: (before: number, generation: number): number => Math.max(before, generation),

  wentBack({ lives, began, known, life, replicaEnd, passed, committed }: Lineage): boolean {
    const end = Math.max(replicaEnd, passed);
    if (end > committed) return true;
    if (life === 0) return false;
    const at = lives.indexOf(life);
    return at < 0 || (at + 1 < known && end > began[at + 1]!);
  },

  /** Of two sources of an entry on waking: which `next` counts, and which term. */
  merge(one: Entry, other: Entry): Entry {
    if (!one.known) return other;
    if (!other.known) return one;
    const isNewer =
      other.generation > one.generation || (other.generation === one.generation && other.next >= one.next);
    const [newer, older] = isNewer ? [other, one] : [one, other];
    return newer.generation === older.generation ? { ...newer, term: Math.max(newer.term, older.term) } : newer;
  },
  /** A join that raises the standing writes the entry's row before its answer. */
  raiseIsDurable: (): boolean => true,
  /** An entry leaves memory in the transaction that writes its row. */
  evictionWritesRow: (): boolean => true,
  /** A snapshot holds what is written, not what is queued. */
  snapshotOf: (written: readonly Entry[], _queued: readonly Entry[]): readonly Entry[] => written,

  // ---- the device, when a join is answered ----

  /** What earlier connections told of "taken" goes with them. */
  keepsTaken: (): boolean => false,
  /** Answers of another row than 11 settle nothing. */
  refusalsSettle: (): boolean => false,
  /** Row 5a. */
  mustKnow,

  /** Rows 6 and 7. */
  isForeign: (held: Held, next: number, last: number): boolean => isForeign(heldOf(held, next), next, last),

  /** Row 8. */
  fellBack: (held: Held, next: number): boolean => fellBack(heldOf(held, next), next),

  /** An answer counts for the id that asked. */
  answersFormerIds: (): boolean => false,
  /** An answer counts in the connection on which it was asked. */
  answersFormerConnections: (): boolean => false,

  // ---- settling ----

  showsBatch,

  settlesAtOk: (): boolean => false,

  trimForTaken,
  flushesBeforeTrim,
  passedAfter,

  settledInAtFirst: (_base: number): number => 0,
  doubtFromAtDraw,

  // ---- claim ----

  /** Below this offset a position can't have been taken. */
  lower: (note: { doubtFrom: number; settledIn: number; base: number }, appendedAt: number): number =>
    lowerBound(note.doubtFrom, appendedAt === NONE ? undefined : appendedAt),
  /** Up to here a claimer looks. */
  reach: (readTo: number, _toldAtJoin: number): number => readTo,
  isCovered,
  /** Positions that `retry` stands for, of those in doubt. */
  sentAgain: (named: number, _inDoubt: number): number => named,

  /** What a leaving and a grant make durable. */
  leavingTrims: (): boolean => true,
  grantTrims: (): boolean => true,
  /** What fetched headers have shown behind an un-settled position can't be trimmed: the grant's commit notes it. */
  grantNotesFound: (): boolean => true,
  /** A plain push that would leave positions out is a claim. */
  skippingClaims: (): boolean => true,
} as const;

type Widened<F> = F extends (...args: infer A) => infer R ? (...args: A) => R : never;
export type Rules = { readonly [Name in Exclude<keyof typeof RULES, "told">]: Widened<(typeof RULES)[Name]> } & {
  readonly told: <T>(committed: T, queued: T) => T;
};
