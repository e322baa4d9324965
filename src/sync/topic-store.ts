/**
 * How a session sees the storage of its topic: two logs and two notes of one volume. A session decides what is said to
 * the edge and what an answer means. The storage keeps it.
 *
 *   session ──joined, told, receive, gap, granted, leave, retract──▶ TopicStore ──▶ outbox, replica, notes
 *           ◀──unsettledFrom, samples, claimStand, crcEndingAt──────
 *           ◀──appended, drawn, settled, risen, full──────────────── (StoreListener)
 *
 * Positions are offsets of the outbox, offsets are those of the replica and of the edge; both are plain numbers. Each
 * method that returns a promise is durable when it resolves, and they run one after the other in the order of their
 * calls. A rejection without `details.poisoned` has changed nothing; with it the volume must be opened again.
 */
import type { OutboxNote, ReplicaNote, RetractReason } from "./notes.ts";
import type { OwnRun, Sample } from "./sync-frames.ts";

/** [from, to) */
export type Range = readonly [from: number, to: number];

/** Un-settled batches of the outbox that stand back to back, all flushed. */
export interface OutboxRun {
  /** Position of the first record. */
  readonly at: number;
  /** Position behind the last record. */
  readonly next: number;
  /** CRC of the last batch. */
  readonly lastCrc: number;
  /** As the edge takes them: their base offsets are their positions. */
  readonly batches: readonly Uint8Array[];
}

/** What the edge has taken, as an answer of it said: a join's under row 11, an ok, a grant. */
export interface TakenTo {
  readonly next: number;
  /** Offset at the edge of the last record that was taken; -1 if none was. */
  readonly lastOffset: number;
  readonly lastCrc: number;
}

/** Where the edge's records of a claim's look come from, when the replica does not hold them. */
export interface ClaimLook {
  /** As the answer says it: below it lies nothing that was pushed under this outbox. */
  readonly since: number;
  /** The edge's log start, as the newest answer or tide says it. */
  readonly logStartOffset: number;
  /**
   * Whole batches (or their headers of 61 bytes alone) of [max(since, logStartOffset), the replica's start), in order,
   * as they were fetched. Empty where the replica begins at or below `since`.
   */
  readonly fetched: readonly Uint8Array[];
  /** Positions in doubt that a person said to send again; nothing else in doubt is sent. */
  readonly again: readonly Range[];
}

export interface ReceivedFrame {
  /** Whole batches; none where compaction has left no records up to `nextOffset`. */
  readonly bytes: Uint8Array;
  /** Where the follow was before: what is missing from there on is a hole, and what is missing before it was lost. */
  readonly from: number;
  readonly nextOffset: number;
}

export interface ClaimStand {
  /** The watermark below which this device has looked. */
  readonly readTo: number;
  /** Batches that were found at the edge by this look. */
  readonly found: number;
  /** Un-settled batches that are left. 0: leave(). */
  readonly unsettled: number;
  /**
   * Positions of un-settled batches for which nobody can tell whether the edge took them. IN_DOUBT if there are any.
   */
  readonly inDoubt: readonly Range[];
}

export interface OfferLook {
  /** As in ClaimLook, from what `check` said on. */
  readonly fetched: readonly Uint8Array[];
  /** A closed log takes nothing. */
  readonly isClosed: boolean;
  /** In a hole from here on there may have been what a copy of this profile has offered. */
  readonly holesFrom: number;
}

/** Own batches of the kept copy that the edge has lost (offer-again.ts). Methods run in the order of their calls. */
export interface Offers {
  /**
   * Called once, before the first frame, with what `next` is given, from one below the note's `since` on. Resolves with
   * the offset below which the kept copy and the log that stands there agree. It is 0 where the batch before `since` is
   * another one there: the edge has gone back further, or its log was made anew. Then all own records are candidates.
   */
  check(fetched: readonly Uint8Array[]): Promise<number>;
  /**
   * The next frame, for a claim; undefined: nothing is left. All that the edge has lost then stays in the kept copy if
   * the log is closed, or has a hole.
   */
  next(
    look: OfferLook,
    most: { readonly bytes: number; readonly batches: number; readonly records: number },
  ): Promise<OutboxRun | undefined>;
  /** The frame was granted. Durable when it resolves. */
  taken(run: OutboxRun, generation: number): Promise<void>;
  /** The edge never takes this batch of a frame. */
  refused(run: OutboxRun, index: number): void;
  /** Nothing is offered any more. Durable when it resolves. */
  end(): Promise<void>;
  /** Records that went to the edge, and those that stay in the kept copy only. */
  readonly records: number;
  readonly left: number;
}

export interface SettledPositions {
  readonly from: number;
  readonly to: number;
  readonly offset: number;
  /** By a person, so that they are nowhere. */
  readonly isRetracted: boolean;
}

export interface StoreListener {
  /** Batches were flushed to the outbox: its end is `end` now. */
  appended?(end: number): void;
  /** A new outbox id is in the note: join before anything of it is sent. */
  drawn?(outbox: string): void;
  /**
   * Positions were settled or retracted. `offset` is where the first of them is at the edge, -1 if that is not known.
   */
  settled?(runs: readonly SettledPositions[]): void;
  /** The watermark has risen. */
  risen?(watermark: number): void;
  /** The outbox is full, or has room again. */
  full?(isFull: boolean): void;
}

export interface TopicStore {
  readonly topic: string;
  readonly outboxNote: OutboxNote;
  /** Undefined until createReplica(). */
  readonly replicaNote: ReplicaNote | undefined;
  /** Returns a function that removes the listener. */
  listen(listener: StoreListener): () => void;

  // --- outbox ---

  readonly start: number;
  /** One past the last flushed position. */
  readonly end: number;
  /** `end` if everything is settled. */
  readonly firstUnsettled: number;
  readonly pending: { readonly records: number; readonly batches: number; readonly bytes: number };
  /** The highest `next` that was told in this opening and generation; undefined: none. For row 8. */
  readonly toldNext: number | undefined;
  /** CRC of the batch that ends at this position; undefined where none does, or where it is trimmed. */
  crcEndingAt(position: number): Promise<number | undefined>;
  /**
   * The first un-settled batches from `position` on, as many as fit (one at least), up to the next settled or retracted
   * one. `at` > `position` means that positions would be left out: that is a claim. Undefined: nothing is left to send.
   * CORRUPT_RANGE {from, to} where the outbox is rotten.
   */
  unsettledFrom(
    position: number,
    most: { readonly bytes: number; readonly batches: number; readonly records: number },
  ): Promise<OutboxRun | undefined>;

  /**
   * The first own batches of a run, up to a MiB or one batch, as they stand at the edge: with their offsets. Undefined
   * if these are not here any more, or damaged.
   */
  ownBytes(run: OwnRun): Promise<Uint8Array | undefined>;

  // --- what the edge said ---

  /**
   * A join was answered, and nothing is pushed before this resolves: owner and stream are in the note then, and
   * `registered` if the answer was fine and there is an id. No commit where the note says so already.
   */
  joined(answer: { readonly owner: string; readonly stream: string; readonly isFine: boolean }): Promise<void>;
  /**
   * The edge has told this in this connection, in a join's answer under row 11 or in an ok. Settles by T2 what the
   * watermark has passed.
   */
  told(told: TakenTo): void;
  /** Called when a join begins or the connection has ended: what was told before does not count any more. */
  forgetTold(): void;
  /**
   * Takes a granted claim, in one commit: generation, `registered`, `next`, `lastCrc`, and the trim of what the claim's
   * look has found. Also does what told() does.
   */
  granted(grant: TakenTo & { readonly generation: number }): Promise<void>;
  /**
   * Gives up the id in one commit: the log start becomes the end, and the note has no id. The next append draws one.
   * False if something was appended since the look and is un-settled; then nothing has changed.
   */
  leave(): Promise<boolean>;
  /**
   * T3. The note says so before this resolves: only then may a promise be rejected, and does an aside record count.
   * LIMIT_EXCEEDED if the note has no room for another run; after the next trim it may have.
   */
  retract(from: number, to: number, why: RetractReason): Promise<void>;
  /** Takes settled positions off the outbox's front. Does nothing where there are none. */
  trim(): Promise<void>;
  /** What is settled and not trimmed. From 1 MiB or 4,096 batches on it is trimmed without being asked for. */
  readonly trimmable: { readonly batches: number; readonly bytes: number };

  // --- replica ---

  /** Where the replica begins; undefined while there is none. */
  readonly base: number | undefined;
  /** Its flushed end; 0 while there is none. A follow goes on here. */
  readonly watermark: number;
  /** For a join: from the end backwards, at distances that double. Fillers have null. */
  samples(): Promise<Sample[]>;
  /**
   * An empty replica, made together with its note. Does nothing where there is one. `from` is where a batch of the edge
   * begins, or the log's end: else the first batch would straddle it.
   */
  createReplica(from: number): Promise<void>;
  /**
   * The edge has removed tombstones below this offset, as a join's answer says. If the copy ends before it, the note
   * says from then on that the copy is stale (renewing.ts).
   */
  missed(tombstonesTo: number | undefined): Promise<void>;
  /**
   * Called before the first frame of another life of the edge's log is received, and before a gap that it told of is
   * filled. Makes no commit if the note says so already.
   */
  beginLife(life: string): Promise<void>;
  /**
   * Stores what a follow delivered. Calls that wait share one flush. Each resolves once the watermark is at
   * `nextOffset`. T2's trim is made before the end passes what was told. Nothing of a frame is stored if it fails.
   * INVALID_BATCH: a batch does not tile, its checksum is wrong, or offsets fall or go beyond `nextOffset`. DIVERGED
   * {offset}: a batch straddles the replica's end. OFFSET_OUT_OF_RANGE: `from` is behind the replica's end, because a
   * frame before was refused. QUOTA_EXCEEDED: the device is full, and the same frame may come again.
   */
  receive(delivered: ReceivedFrame): Promise<void>;
  /**
   * The edge's log begins at `to`, above the watermark. Applies T2's trim, then writes the note, then the filler.
   * Returns [from, to).
   */
  gap(to: number, why: string): Promise<Range>;

  // --- claim ---

  /** What an edge that was put back has lost, and what is offered to it again; undefined: nothing. */
  offers(): Promise<Offers | undefined>;
  /** The lowest offset at which an un-settled batch may have been taken; the watermark where nothing is un-settled. */
  readonly lowestDoubt: number;
  /**
   * Looks for own batches up to the watermark, and says what may be claimed. It is called anew for each try, and writes
   * nothing.
   */
  claimStand(look: ClaimLook): Promise<ClaimStand>;
}
