/**
 * The two notes of a synced topic: what the device remembers of the edge. Each is a field of a log's entry in the
 * catalog, so a note changes in the same commit as its log's start, and both notes change in one commit.
 *
 *   catalog ── entry of "orders-0.out" ── note: OutboxNote      own batches; positions are the log's offsets
 *           ── entry of "orders-0"     ── note: ReplicaNote     the edge's records, at the edge's offsets
 *
 * A note is plain JSON of some 1.5 KiB at most. docs/sync.md says when each field is written and what it means.
 */
import { assert, TidemarkError } from "../errors.ts";
import type { BatchHeader } from "../record/format.ts";
import type { KeptOptions, LinkWishes } from "./topic-options.ts";

/** Which edge log a note speaks of. */
interface EdgeLogNote {
  readonly v: 1;
  readonly url: string;
  readonly path: string;
  /** Whose outbox it is, as the edge's answer to a join said; null until one was answered. */
  readonly owner: string | null;
  /** Id of the edge log's creation; null until a join was answered. */
  readonly stream: string | null;
}

/**
 * Why positions are no longer needed in the outbox although the replica does not show them: they were set aside,
 * discarded, or found by a claim's look at the edge's records below the replica's start.
 */
export type RetractReason = "aside" | "discarded" | "found";
export type RetractedRun = readonly [from: number, to: number, why: RetractReason];
/** Offsets that the edge had removed before this replica had them. */
export type GapRun = readonly [from: number, to: number, why: string];

/**
 * Of an offering after a restore of the edge: `since` is the offset below which edge and kept copy agree, and the kept
 * copy was offered up to `from`.
 */
export interface Offering {
  readonly since: number;
  readonly from: number;
}
/** A producer of own batches, and its first sequence under the outbox id. */
export type OwnProducer = readonly [producerId: number, producerEpoch: number, baseSequence: number];

export interface OutboxNote extends EdgeLogNote {
  /** 16 hex digits; null while none is drawn. */
  readonly outbox: string | null;
  readonly generation: number;
  /** True if a join with this id was answered. */
  readonly registered: boolean;
  /** First position of this id. */
  readonly first: number;
  /** The highest next position that the edge told in this generation, as of this commit. Absent for a new id. */
  readonly next?: number | undefined;
  /** CRC of the batch that ends at `next`. */
  readonly lastCrc?: number | undefined;
  /** A replica offset. Each own batch that lies below it is settled. */
  readonly settledIn: number;
  /** A replica offset. The edge can't have taken any un-settled own batch below it. */
  readonly doubtFrom: number;
  /** One past the highest offset by which a T2 trim was made; 0 if there was none. */
  readonly passed: number;
  readonly retracted: readonly RetractedRun[];
  /** Producers of own batches that were trimmed under this id, the newest PRODUCERS_MAX of them. Absent: none. */
  readonly producers?: readonly OwnProducer[] | undefined;
  /** Positions below were here before the topic became synced. Absent: none were. */
  readonly adopted?: number | undefined;
  /** Set while records that the edge has lost are offered to it again. */
  readonly offering?: Offering | undefined;
  /** What sync() was told of this topic; absent: nothing but defaults. */
  readonly options?: KeptOptions | undefined;
  /**
   * What the next copy's `anew` begins with: a random number, and one more where sync began anew. The log there may
   * have the id of one that had a copy before, and readers must not take this copy for that one. Absent: 0.
   */
  readonly anew?: number | undefined;
  /** Set while sync of the topic ends: the offset in its kept copy at which un-settled batches begin. */
  readonly leaving?: number | undefined;
  /** The same in all topics of a tide. After a crash in the middle of a change one that says "paused" counts. */
  readonly link?: LinkWishes | undefined;
}

export interface ReplicaNote extends EdgeLogNote {
  /** Where this replica begins. */
  readonly from: number;
  /** The life of the edge's log in the newest join or tide whose records were stored; null: none yet. */
  readonly life: string | null;
  readonly gaps: readonly GapRun[];
  /** Below this offset the copy may hold records whose deletion is gone from the edge: it is made anew from there. */
  readonly stale?: number | undefined;
  /** How often the copy was made anew, and sync of the topic began anew before. */
  readonly anew?: number | undefined;
}

/** The name under which readers know the copy: one that was made anew is another one. */
export const copyName = (note: ReplicaNote | undefined): string | null =>
  note?.stream ? note.stream + (note.anew ? `~${note.anew}` : "") : null;

/** Most producers in a note, which are one for each page that wrote to the topic. */
export const PRODUCERS_MAX = 16;

/** The producers of a note once these batches have left the outbox. */
export function withProducers(
  before: readonly OwnProducer[] | undefined,
  trimmed: Iterable<Pick<BatchHeader, "producerId" | "producerEpoch" | "baseSequence">>,
): readonly OwnProducer[] | undefined {
  let all = before;
  for (const { producerId, producerEpoch, baseSequence } of trimmed)
    if (producerId >= 0 && !all?.some(([id, epoch]) => id === producerId && epoch === producerEpoch))
      all = [...(all ?? []), [producerId, producerEpoch, baseSequence] as const].slice(-PRODUCERS_MAX);
  return all;
}

/**
 * Most runs of each kind: a person's, what a claim has found, gaps. Beyond it retract() fails as LIMIT_EXCEEDED, the
 * nearest ones of what was found are noted, and gap() merges the two nearest gaps.
 */
export const RUNS_MAX = 16;

/**
 * The note of a new outbox. Where there are records already, it has an id at once (`outbox`), and they begin at
 * `first`.
 */
export const newOutboxNote = (
  log: { readonly url: string; readonly path: string },
  outbox: string | null,
  first: number,
  options?: KeptOptions,
): OutboxNote => ({
  v: 1,
  ...log,
  ...(options && { options }),
  owner: null,
  stream: null,
  outbox,
  generation: 1,
  registered: false,
  first,
  settledIn: 0,
  doubtFrom: 0,
  passed: 0,
  retracted: [],
});

/**
 * Checks that a log is a synced topic's. INVALID_ARGUMENT if it has no note. UNSUPPORTED_FORMAT if a later version
 * wrote the note: that version must open the topic.
 */
export function checkNoted(note: Readonly<Record<string, unknown>> | undefined, topic: string): void {
  if (!note)
    throw new TidemarkError("INVALID_ARGUMENT", `the topic ${topic} is not synced`, { topic, reason: "local" });
  if (note["v"] !== 1)
    throw new TidemarkError(
      "UNSUPPORTED_FORMAT",
      `the topic ${topic} was synced by a later version: open it with that one`,
      { topic, version: String(note["v"]) },
    );
}

type Run<Why extends string> = readonly [from: number, to: number, why: Why];

/**
 * Merges runs that touch and have the same reason. If more than `most` are left, it goes on with the two nearest ones.
 */
export function mergedRuns<Why extends string>(runs: readonly Run<Why>[], most = Infinity): Run<Why>[] {
  const found: Run<Why>[] = [];
  for (const run of [...runs].sort(([a], [b]) => a - b)) {
    const last = found.at(-1);
    if (last && last[1] >= run[0] && last[2] === run[2])
      found[found.length - 1] = [last[0], Math.max(last[1], run[1]), last[2]];
    else found.push(run);
  }
  while (found.length > most) {
    let nearest = 1;
    for (let i = 2; i < found.length; i++)
      if (found[i]![0] - found[i - 1]![1] < found[nearest]![0] - found[nearest - 1]![1]) nearest = i;
    const [[from, , why], [, to]] = [found[nearest - 1]!, found[nearest]!];
    found.splice(nearest - 1, 2, [from, to, why]);
  }
  return found;
}

/** The fields of a note whose outbox has given up its id. */
export const NO_OUTBOX = { outbox: null, generation: 1, registered: false, producers: undefined } as const;

/** The note when another id is drawn: nothing was told of that one. */
export function noteAtDraw(
  { next: _, lastCrc: __, producers: ___, ...kept }: OutboxNote,
  drawn: Pick<OutboxNote, "outbox" | "first" | "doubtFrom">,
): OutboxNote {
  return { ...kept, ...drawn, generation: 1, registered: false };
}

/**
 * The note's retracted runs with one more, by a person's answer. LIMIT_EXCEEDED if there is no room, but for a run
 * at the front, which can be trimmed at once. What a claim has found is counted by itself.
 */
export function retractedWith({ retracted }: OutboxNote, run: RetractedRun, isFront: boolean): RetractedRun[] {
  const runs = mergedRuns([...retracted, run]);
  if (isFront || runs.filter(([, , why]) => why !== "found").length <= RUNS_MAX) return runs;
  throw new TidemarkError(
    "LIMIT_EXCEEDED",
    `more than ${RUNS_MAX} runs of positions are retracted: answer again once what stands between them is at the edge`,
    { runsMax: RUNS_MAX },
  );
}

/**
 * The note of a catalog entry can be any plain data. Its version and a field of its own show that it is one of ours.
 */
export function asOutboxNote(note: unknown): OutboxNote {
  assert(isNote<OutboxNote>(note, "outbox"), "the log has an outbox's note");
  return note;
}
/** The same for a log of which a later version may have written the note: undefined then. */
export const readableOutboxNote = (note: unknown): OutboxNote | undefined =>
  isNote<OutboxNote>(note, "outbox") ? note : undefined;
export function asReplicaNote(note: unknown): ReplicaNote {
  assert(isNote<ReplicaNote>(note, "life"), "the log has a replica's note");
  return note;
}
const isNote = <N extends EdgeLogNote>(note: unknown, field: string & keyof N): note is N =>
  typeof note === "object" && note !== null && "v" in note && note.v === 1 && field in note;
