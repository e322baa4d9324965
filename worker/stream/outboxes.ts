/**
 * The registry of outboxes: what the edge knows of each device's outbox at this log. It never forgets unnoticed,
 * because an outbox that is mistaken for a new one would append its records a second time.
 *
 *   join ──▶ known? the pair (generation, term) must not fall, or FENCED_LEADER
 *            new? a row in the table; or UNKNOWN_OUTBOX
 *   push ──▶ admit ──▶ take ──▶ the log's queue ──▶ the INSERT of the row in which the push ends has its note
 *
 *   on disk   table row    at registration, at a change of leader, when the entry leaves the memory
 *             snapshot     at each seal
 *             note         in the row of the log in which a push ends
 *   in memory entries in use; others are found in their row. After waking: row, then snapshot, then notes; what is
 *             later by (generation, next) counts. An entry leaves the memory only after the transaction that wrote its
 *             row
 *
 * Each entry is held twice: as of the end of the log's queue, by which the next push is judged, and as of what is
 * written, which goes into a snapshot. Nothing here awaits: each call is done in one turn.
 */
import { assert } from "../../src/errors.ts";
import { EdgeError } from "../errors.ts";
import type { OutboxTables } from "../store/outbox-tables.ts";
import {
  type OutboxEntry,
  originsOf,
  type PushNote,
  readOrigins,
  readSnapshot,
  snapshotBytes,
} from "../store/outbox-bytes.ts";
import type { RowBook, RowOrigins } from "../store/row-book.ts";
import { lifeNumber, Lives } from "./lives.ts";
import { type HotOutbox, later, OutboxMemory } from "./outbox-memory.ts";
import { Counted } from "./counted-ranges.ts";
import { Registrations } from "./registrations.ts";

/** Entries in memory, and so in a snapshot, which is one row of 1 MiB. */
export const HOT_MAX = 16_384;
/** Limit of registered outboxes: about 100 MB of the object's 10 GB. */
const REGISTERED_MAX = 1_000_000;
/**
 * Added to the highest known generation after a snapshot was lost, to be above all that it may have held: a copy of a
 * profile raises the generation by one.
 */
const LOST_GENERATIONS = 1_000_000;
/** Signed 32 bits, as in notes and snapshots. */
const GENERATION_MAX = 2 ** 31 - 1;

export interface OutboxBounds {
  /** Entries that were not used for this long are forgotten. Default: never. */
  readonly maxAgeMs?: number | undefined;
  /** Entries that stay in memory after a seal. */
  readonly hotMax?: number;
  readonly registeredMax?: number;
  /** Most outboxes that one owner may register in a day. Default REGISTRATIONS_PER_DAY. */
  readonly registrationsPerDay?: number | undefined;
}

export interface OutboxesOptions extends OutboxBounds {
  readonly tables: OutboxTables;
  readonly crc32c: (bytes: Uint8Array) => number;
  now(): number;
  /** Returns 32 random bits. */
  random(): number;
  /** For a new registry of a log that begins with another log's records: nobody knows who pushed those. */
  readonly forgottenAt?: number;
}

/** A leader that speaks for an outbox. */
export interface Speaker {
  readonly outbox: string;
  readonly generation: number;
  readonly term: number;
  readonly owner: string;
}

export interface Joining extends Speaker {
  readonly registered: boolean;
  readonly first: number;
  readonly mayRegister: boolean;
}

export type JoinRefusal = "UNKNOWN_OUTBOX" | "FENCED_LEADER" | "FORBIDDEN";

export interface JoinVerdict {
  readonly refusal: JoinRefusal | undefined;
  readonly entry: OutboxEntry | undefined;
}

export interface PushAsked {
  readonly expected: number;
  readonly at: number;
  readonly readTo: number | undefined;
  readonly previous: number;
  readonly records: number;
  /** CRC of the last batch. */
  readonly lastCrc: number;
}

/** A push that may be queued, but only in this turn. */
export interface Grant {
  readonly id: string;
  readonly entry: OutboxEntry;
  readonly records: number;
  readonly isNew: boolean;
  readonly isClaim: boolean;
}

export type PushVerdict =
  | { readonly grant: Grant }
  | { readonly repeats: OutboxEntry }
  | { readonly refusal: "UNKNOWN_OUTBOX" | "FENCED_LEADER" | "OUTBOX_CONFLICT" | "FORBIDDEN" };

interface Queued {
  readonly note: PushNote;
  readonly hot: HotOutbox;
  readonly entry: OutboxEntry;
  /** True if its row of the table is written with it. */
  readonly isNew: boolean;
}

const compare = (a: Pick<Speaker, "generation" | "term">, b: Pick<Speaker, "generation" | "term">): number =>
  a.generation - b.generation || a.term - b.term;

export class Outboxes implements RowBook {
  readonly lives: Lives;
  readonly #options: OutboxesOptions;
  readonly #tables: OutboxTables;
  readonly #memory: OutboxMemory;
  readonly #counted = new Counted();
  #queue: Queued[] = [];
  #forgotten: { at: number; generation: number };
  /** True once somebody has joined this log: then there is a snapshot. */
  #isStarted = false;
  #isLost = false;
  #sealedTo = 0;
  #registered: number | undefined;
  readonly #today: Registrations;

  constructor(options: OutboxesOptions) {
    this.lives = new Lives(options.random);
    this.#options = options;
    this.#tables = options.tables;
    const { hotMax = HOT_MAX, random } = options;
    this.#today = new Registrations(options.now, options.registrationsPerDay);
    this.#memory = new OutboxMemory(options.tables, hotMax, lifeNumber(random() >>> 1, 0));
    this.#forgotten = { at: options.forgottenAt ?? 0, generation: 0 };
  }

  get forgottenAt(): number {
    return this.#forgotten.at;
  }
  /** Number of entries in memory. */
  get count(): number {
    return this.#memory.size;
  }

  // --- opening -----------------------------------------------------------------------------------------------------

  open(sealedTo: number): void {
    this.#sealedTo = sealedTo;
    const bytes = this.#tables.snapshot();
    if (!bytes) return;
    this.#isStarted = true;
    const known = readSnapshot(bytes, this.#options.crc32c);
    this.#isLost = known === undefined;
    if (!known) return;
    this.#forgotten = { at: known.forgottenAt, generation: known.forgottenGeneration };
    this.lives.load(known.lives, known.dropped);
    for (const [id, entry] of known.outboxes) this.#memory.load(id, entry);
    if (known.offset !== sealedTo) this.#catchUp(known.offset, sealedTo);
  }

  /**
   * A version that does not know outboxes has sealed meanwhile. Either the rows before its seal still exist, or what
   * they noted is lost.
   */
  #catchUp(from: number, to: number): void {
    let end = from;
    for (const row of this.#tables.originsBetween(from, to)) {
      if (row.baseOffset !== end) break;
      this.replay(row);
      end = row.nextOffset;
    }
    if (end !== to) this.#isLost = true;
  }

  replay({ origins, writtenAt }: RowOrigins): void {
    if (!origins) return;
    const { lives, pushes } = readOrigins(origins);
    for (const life of lives) this.lives.replay(life);
    for (const note of pushes) {
      this.#counted.add(note.lastOffset + 1 - note.records, note.lastOffset + 1);
      const hot = this.#memory.find(note.id);
      // An outbox's row is written before its first push or with it. If it is missing here, notes were lost.
      if (!hot) {
        this.#isLost = true;
        continue;
      }
      hot.at = hot.written = later(hot.at, entryOf(note, hot.at, writtenAt));
      hot.isSaved = false;
    }
  }

  opened(logEndOffset: number, leaderEpoch: number): void {
    this.lives.opened(leaderEpoch);
    if (!this.#isLost) return;
    const generation = Math.max(
      this.#forgotten.generation,
      this.#tables.highestGeneration(),
      this.#memory.highestGeneration(),
    );
    this.#memory.clear();
    this.#forgotten = {
      at: Math.max(logEndOffset, this.#forgotten.at),
      generation: Math.min(generation + LOST_GENERATIONS, GENERATION_MAX),
    };
    // A device's life is older than this one, and is judged by its epoch.
    this.lives.beginAnew(logEndOffset);
    this.#tables.transaction(() => {
      this.#tables.removeAll();
      this.#save(this.#sealedTo);
    });
  }

  hasCounted(baseOffset: number): boolean {
    return this.#counted.has(baseOffset);
  }

  /** The first join of a log: from here on it keeps lives. */
  start(logEndOffset: number): void {
    if (this.#isStarted) return;
    this.lives.begin(logEndOffset);
    try {
      this.#save(this.#sealedTo);
      this.#isStarted = true;
    } finally {
      this.lives.done(this.#isStarted);
    }
  }

  // --- joining and pushing -----------------------------------------------------------------------------------------

  /** Pushes of this outbox whose commit is not done. */
  queuedOf(id: string): number {
    return this.#memory.queuedOf(id);
  }

  entryOf(id: string): OutboxEntry | undefined {
    return this.#memory.find(id)?.written;
  }

  /** Must be called while nothing of the outbox is queued. Changes are written before it returns. */
  join(joining: Joining, logEndOffset: number): JoinVerdict {
    const { outbox: id, owner, generation, term, registered, first, mayRegister } = joining;
    this.start(logEndOffset);
    const known = this.#memory.find(id);
    if (!known) {
      // A registry that has forgotten once can't tell whether this outbox was ever registered.
      if (registered || this.#forgotten.at > 0) return { refusal: "UNKNOWN_OUTBOX", entry: undefined };
      if (!mayRegister) return { refusal: undefined, entry: undefined };
      this.#checkRoom(owner);
      const seenAt = this.#options.now();
      const fresh = { since: logEndOffset, generation, term, next: first, lastOffset: -1, lastCrc: 0, owner, seenAt };
      this.#tables.save(id, fresh);
      this.#registered!++;
      this.#today.add(owner);
      this.#memory.put(id, { at: fresh, written: fresh, queued: 0, isChecked: true, isSaved: true });
      return { refusal: undefined, entry: fresh };
    }
    assert(known.queued === 0, "at a join nothing of its outbox is queued");
    if (known.at.owner !== owner) return { refusal: "FORBIDDEN", entry: undefined };
    const order = compare(joining, known.at);
    if (order < 0) return { refusal: "FENCED_LEADER", entry: known.at };
    const entry = { ...known.at, generation, term, seenAt: this.#options.now() };
    if (order > 0) this.#tables.save(id, entry);
    // If entries expire by age, the row must get the time of this use. Until then the row is not the same as the
    // entry.
    known.isSaved = order > 0 || (known.isSaved && this.#options.maxAgeMs === undefined);
    known.at = known.written = entry;
    this.#memory.put(id, known);
    return { refusal: undefined, entry };
  }

  /** Judges a push as of the end of the log's queue. `end` is the end of what is committed. */
  admit(speaker: Speaker, push: PushAsked, end: number, logStartOffset: number): PushVerdict {
    const known = this.#memory.find(speaker.outbox)?.at;
    if (known && known.owner !== speaker.owner) return { refusal: "FORBIDDEN" };
    if (push.readTo !== undefined) return this.#claim(speaker, push, push.readTo, known, end, logStartOffset);
    if (!known) return { refusal: "UNKNOWN_OUTBOX" };
    if (compare(speaker, known) !== 0) return { refusal: "FENCED_LEADER" };
    const next = push.at + push.records;
    // A push that leaves positions out must be a claim: copies of the profile must look for those records first.
    if (push.expected === known.next && push.at === known.next && push.previous === known.lastCrc)
      return { grant: this.#grant(speaker.outbox, push, { ...known, next, lastCrc: push.lastCrc }, false) };
    if (next === known.next && push.lastCrc === known.lastCrc) return { repeats: known };
    return { refusal: "OUTBOX_CONFLICT" };
  }

  /**
   * A claim is granted and applied in one step. If it only fenced others, two copies could fence each other for ever.
   */
  #claim(
    { outbox: id, generation: own, term, owner }: Speaker,
    push: PushAsked,
    readTo: number,
    known: OutboxEntry | undefined,
    end: number,
    logStartOffset: number,
  ): PushVerdict {
    const mustHaveRead = known ? known.lastOffset + 1 : this.#forgotten.at;
    // A device that has read beyond the log's end knows another past of this log.
    if (readTo < mustHaveRead || readTo > end) return { refusal: "OUTBOX_CONFLICT" };
    if (!known) this.#checkRoom(owner);
    const generation = Math.max(own, known?.generation ?? this.#forgotten.generation) + 1;
    if (generation > GENERATION_MAX)
      throw new EdgeError("LIMIT_EXCEEDED", "this outbox has used up all its generations", {
        generationMax: GENERATION_MAX,
      });
    const since = known?.since ?? logStartOffset;
    const next = push.at + push.records;
    const entry = { since, generation, term, next, lastOffset: -1, lastCrc: push.lastCrc, owner, seenAt: 0 };
    return { grant: this.#grant(id, push, entry, !known, true) };
  }

  #grant(id: string, { records }: PushAsked, entry: OutboxEntry, isNew: boolean, isClaim = false): Grant {
    return { id, entry: { ...entry, seenAt: this.#options.now() }, records, isNew, isClaim };
  }

  /** The batches of a granted push were queued in this turn. Their commit calls `through`. */
  take({ id, entry: granted, records, isNew }: Grant, lastOffset: number): { entry: OutboxEntry; through: () => void } {
    const entry = { ...granted, lastOffset };
    const { next, generation, term, lastCrc: crc } = entry;
    const hot = this.#memory.find(id) ?? unwritten(entry);
    hot.at = entry;
    hot.queued++;
    hot.isSaved = false;
    this.#memory.put(id, hot);
    if (isNew) this.#registered!++;
    if (isNew) this.#today.add(entry.owner);
    this.#queue.push({ note: { id, next, lastOffset, generation, term, crc, records }, hot, entry, isNew });
    return { entry, through: () => void hot.queued-- };
  }

  #checkRoom(owner: string): void {
    this.#today.check(owner);
    const { registeredMax = REGISTERED_MAX } = this.#options;
    this.#registered ??= this.#tables.count();
    if (this.#registered >= registeredMax)
      throw new EdgeError(
        "LIMIT_EXCEEDED",
        `this log knows ${registeredMax} outboxes, and takes no more: unused ones are forgotten in time`,
        { outboxesMax: registeredMax },
      );
  }

  // --- with the rows -----------------------------------------------------------------------------------------------

  needsTransaction(nextOffset: number): boolean {
    return this.#queue.some(({ note, isNew }) => isNew && note.lastOffset < nextOffset);
  }

  notes(baseOffset: number, nextOffset: number): Uint8Array | null {
    const life = this.lives.at(baseOffset);
    const behind = this.#queue.findIndex(({ note }) => note.lastOffset >= nextOffset);
    const ending = this.#queue.splice(0, behind < 0 ? this.#queue.length : behind);
    for (const { hot, entry, note, isNew } of ending) {
      hot.written = entry;
      if (isNew) this.#tables.save(note.id, entry);
    }
    return originsOf(
      life,
      ending.map(({ note }) => note),
    );
  }

  seal(nextOffset: number): void {
    this.#sealedTo = nextOffset;
    if (!this.#isStarted) return;
    this.#forgetOld(nextOffset);
    this.#memory.spill();
    this.#save(nextOffset);
  }

  done(isThrough: boolean): void {
    this.#memory.done(isThrough);
    this.lives.done(isThrough);
  }

  #save(offset: number): void {
    const snapshot = {
      offset,
      forgottenAt: this.#forgotten.at,
      forgottenGeneration: this.#forgotten.generation,
      lives: this.lives.all,
      dropped: this.lives.dropped,
      outboxes: this.#memory.written(),
    };
    this.#tables.saveSnapshot(snapshotBytes(snapshot, this.#options.crc32c));
  }

  #forgetOld(nextOffset: number): void {
    const { maxAgeMs, now } = this.#options;
    if (maxAgeMs === undefined) return;
    this.#memory.forget(now() - maxAgeMs, ({ generation }) => {
      this.#forgotten = { at: nextOffset, generation: Math.max(this.#forgotten.generation, generation) };
      this.#registered = undefined;
    });
  }
}

const unwritten = (at: OutboxEntry): HotOutbox => ({
  at,
  written: undefined,
  queued: 0,
  isChecked: true,
  isSaved: false,
});

const entryOf = (note: PushNote, { since, owner }: OutboxEntry, seenAt: number): OutboxEntry => ({
  since,
  owner,
  seenAt,
  generation: note.generation,
  term: note.term,
  next: note.next,
  lastOffset: note.lastOffset,
  lastCrc: note.crc,
});
