/**
 * A topic's storage for simulations of sync, in memory: what is on the `Disk` outlives a crash, all else is of one
 * opening. It keeps the rules of docs/sync.md in their plainest form, without files, limits or a kernel.
 */
import { TidemarkError } from "../../../src/errors.ts";
import { type BatchHeader, nextOffsetOf, readHeader, stampBaseOffset } from "../../../src/record/format.ts";
import { concat } from "../../../src/record/bytes.ts";
import { splitBatches } from "../../../src/record/record-batch.ts";
import type { OpenTopic, SimDisk, SimStore } from "./storages.ts";
import type { OutboxNote, ReplicaNote, RetractReason } from "../../../src/sync/notes.ts";
import type { Sample } from "../../../src/sync/sync-frames.ts";
import type {
  ClaimLook,
  ClaimStand,
  OutboxRun,
  Range,
  StoreListener,
  TakenTo,
  TopicStore,
} from "../../../src/sync/topic-store.ts";

interface Own {
  readonly at: number;
  readonly next: number;
  readonly bytes: Uint8Array;
  readonly crc: number;
  readonly identity: string;
}

/** A batch of the replica, or a filler. */
interface Kept {
  readonly from: number;
  readonly to: number;
  readonly bytes: Uint8Array | undefined;
}

export interface Disk {
  term: number;
  own: readonly Own[];
  start: number;
  end: number;
  note: OutboxNote;
  replicaNote: ReplicaNote | undefined;
  replica: readonly Kept[];
}

export const newDisk = (): Disk => ({
  term: 0,
  own: [],
  start: 0,
  end: 0,
  note: {
    v: 1,
    url: "http://edge",
    path: "t",
    owner: null,
    stream: null,
    outbox: null,
    generation: 1,
    registered: false,
    first: 0,
    settledIn: 0,
    doubtFrom: 0,
    passed: 0,
    retracted: [],
  },
  replicaNote: undefined,
  replica: [],
});

const identityOf = ({ producerId, producerEpoch, baseSequence, crc }: BatchHeader): string =>
  `${producerId}-${producerEpoch}-${baseSequence}-${crc}`;

export class MemoryTopicStore implements TopicStore {
  readonly topic = "t";
  protected readonly disk: Disk;
  readonly #newId: () => string;
  readonly #pause: () => Promise<void>;
  readonly #listeners = new Set<StoreListener>();
  #settled = new Set<number>();
  readonly #appendedAt = new Map<number, number>();
  #told: TakenTo | undefined;
  toldNext: number | undefined;
  #turn: Promise<unknown> = Promise.resolve();
  /** Its device has crashed: nothing reaches the disk any more, and nobody hears of it. */
  isDead = false;

  constructor(disk: Disk, newId: () => string, pause: () => Promise<void>) {
    this.disk = disk;
    this.#newId = newId;
    this.#pause = pause;
    disk.term++;
    this.look(disk.note.settledIn);
  }

  get outboxNote(): OutboxNote {
    return this.disk.note;
  }
  get replicaNote(): ReplicaNote | undefined {
    return this.disk.replicaNote;
  }
  get start(): number {
    return this.disk.start;
  }
  get end(): number {
    return this.disk.end;
  }
  get base(): number | undefined {
    return this.disk.replicaNote?.from;
  }
  get watermark(): number {
    return this.disk.replica.at(-1)?.to ?? this.base ?? 0;
  }
  get firstUnsettled(): number {
    return this.#open()[0]?.at ?? this.end;
  }
  get pending() {
    const open = this.#open();
    const records = open.reduce((sum, { at, next }) => sum + next - at, 0);
    return { records, batches: open.length, bytes: open.reduce((sum, { bytes }) => sum + bytes.length, 0) };
  }
  get trimmable() {
    const done = this.disk.own.filter(({ at }) => at < this.firstUnsettled);
    return { batches: done.length, bytes: done.reduce((sum, { bytes }) => sum + bytes.length, 0) };
  }
  get lowestDoubt(): number {
    return Math.min(this.watermark, ...this.#open().map((own) => this.#lower(own)));
  }

  listen(listener: StoreListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  // --- outbox ---

  #isRetracted({ at }: Own): boolean {
    return this.disk.note.retracted.some(([from, to]) => from <= at && at < to);
  }
  /** What a reader is shown: committed, and on top of it provisional. */
  shown(): { readonly committed: Uint8Array; readonly provisional: Uint8Array } {
    return {
      committed: concat(this.disk.replica.flatMap(({ bytes }) => bytes ?? [])),
      provisional: concat(this.#open().map(({ bytes }) => bytes)),
    };
  }
  #open(): Own[] {
    return this.disk.own.filter((own) => !this.#settled.has(own.at) && !this.#isRetracted(own));
  }

  /** One after the other, each durable when it resolves. A dead device's work never ends. */
  #do<T>(work: () => T): Promise<T> {
    const run = this.#turn.then(async () => {
      await this.#pause();
      if (this.isDead) await new Promise<never>(() => undefined);
      return work();
    });
    this.#turn = run.catch(() => undefined);
    return run;
  }

  #tell<K extends keyof StoreListener>(what: K, ...args: Parameters<NonNullable<StoreListener[K]>>): void {
    for (const listener of this.#listeners) (listener[what] as ((...args: unknown[]) => void) | undefined)?.(...args);
  }

  #commit(note: Partial<OutboxNote>): void {
    this.disk.note = { ...this.disk.note, ...note };
  }

  append(batch: Uint8Array): Promise<number> {
    return this.#do(() => {
      const disk = this.disk;
      const hasClaimed = disk.note.generation > 1 && this.#open().length === 0;
      if (disk.note.outbox === null || hasClaimed) this.#draw();
      const at = disk.end;
      stampBaseOffset(batch, at);
      const header = readHeader(batch);
      const own = { at, next: nextOffsetOf(header), bytes: batch, crc: header.crc, identity: identityOf(header) };
      disk.own = [...disk.own, own];
      disk.end = own.next;
      if (this.base !== undefined) this.#appendedAt.set(at, this.watermark);
      this.#tell("appended", disk.end);
      return at;
    });
  }

  #draw(): void {
    const outbox = this.#newId();
    const { end } = this.disk;
    this.trimNow(end);
    const doubtFrom = this.base === undefined ? 0 : this.watermark;
    const fresh = { outbox, generation: 1, registered: false, first: end, next: undefined, lastCrc: undefined };
    this.#commit({ ...fresh, doubtFrom });
    this.#told = undefined;
    this.toldNext = undefined;
    this.#tell("drawn", outbox);
  }

  async crcEndingAt(position: number): Promise<number | undefined> {
    return this.disk.own.find(({ next }) => next === position)?.crc;
  }

  async unsettledFrom(
    position: number,
    most: { readonly bytes: number; readonly batches: number; readonly records: number },
  ): Promise<OutboxRun | undefined> {
    const batches: Own[] = [];
    let bytes = 0;
    for (const own of this.#open()) {
      if (own.at < position) continue;
      const last = batches.at(-1);
      if (last && (own.at !== last.next || bytes + own.bytes.length > most.bytes || batches.length >= most.batches))
        break;
      batches.push(own);
      bytes += own.bytes.length;
    }
    const last = batches.at(-1);
    if (!last) return undefined;
    const copies = batches.map((own) => own.bytes.slice());
    return { at: batches[0]!.at, next: last.next, lastCrc: last.crc, batches: copies };
  }

  // --- what the edge said ---

  joined({ owner, stream }: { readonly owner: string; readonly stream: string }): Promise<void> {
    const { outbox } = this.disk.note;
    return this.#do(() =>
      this.#commit({ owner, stream, registered: outbox !== null && outbox === this.disk.note.outbox }),
    );
  }

  told(told: TakenTo): void {
    this.#told = told;
    this.toldNext = Math.max(this.toldNext ?? 0, told.next);
    this.#settleTold();
  }
  forgetTold(): void {
    this.#told = undefined;
  }

  #settleTold(): void {
    const told = this.#told;
    if (!told || told.lastOffset < 0 || this.watermark <= told.lastOffset) return;
    this.settle(this.disk.own.filter(({ at }) => at < told.next));
  }

  protected settle(owns: readonly Own[]): void {
    const fresh = owns.filter(({ at }) => !this.#settled.has(at));
    for (const { at } of fresh) this.#settled.add(at);
    if (fresh.length > 0)
      this.#tell(
        "settled",
        fresh.map(({ at, next }) => ({ from: at, to: next, offset: -1 })),
      );
  }

  granted({ generation, ...told }: TakenTo & { readonly generation: number }): Promise<void> {
    return this.#do(() => {
      this.#commit({ generation, registered: true, next: told.next, lastCrc: told.lastCrc });
      this.toldNext = undefined;
      this.told(told);
      this.trimNow(this.firstUnsettled);
    });
  }

  leave(): Promise<boolean> {
    return this.#do(() => {
      if (this.#open().length > 0) return false;
      this.trimNow(this.end);
      this.#commit({ outbox: null, registered: false, generation: 1, next: undefined, lastCrc: undefined });
      this.#told = undefined;
      this.toldNext = undefined;
      return true;
    });
  }

  retract(from: number, to: number, why: RetractReason): Promise<void> {
    return this.#do(() => this.#commit({ retracted: [...this.disk.note.retracted, [from, to, why]] }));
  }

  trim(): Promise<void> {
    return this.#do(() => this.trimNow(this.firstUnsettled));
  }

  protected trimNow(to: number): void {
    const disk = this.disk;
    const open = disk.own.filter(({ at }) => at >= to && !this.#settled.has(at));
    const doubtFrom = Math.min(this.watermark, ...open.map((own) => this.#lower(own)));
    let { next, lastCrc } = disk.note;
    const know = (position: number, crc: number): void => {
      if (next === undefined || position > next) [next, lastCrc] = [position, crc];
    };
    if (this.#told) know(this.#told.next, this.#told.lastCrc);
    if (disk.note.generation === 1)
      for (const own of disk.own)
        if (own.at < to && own.at >= disk.note.first && !this.#isRetracted(own)) know(own.next, own.crc);
    const settledIn = Math.min(this.watermark, ...this.#offsetsOf(disk.own.filter(({ at }) => at >= to)));
    disk.own = disk.own.filter(({ at }) => at >= to);
    disk.start = Math.max(disk.start, to);
    this.#commit({
      next,
      lastCrc,
      doubtFrom: Math.max(disk.note.doubtFrom, this.base === undefined ? 0 : doubtFrom),
      settledIn: Math.max(disk.note.settledIn, this.base === undefined ? 0 : settledIn),
      retracted: disk.note.retracted.filter(([, end]) => end > disk.start),
    });
  }

  #offsetsOf(owns: readonly Own[]): number[] {
    const wanted = new Set(owns.filter(({ at }) => this.#settled.has(at)).map(({ identity }) => identity));
    return this.disk.replica
      .filter(({ bytes }) => bytes && wanted.has(identityOf(readHeader(bytes))))
      .map(({ from }) => from);
  }

  // --- replica ---

  async samples(): Promise<Sample[]> {
    const { replica } = this.disk;
    const found: Sample[] = [];
    for (let i = 1; i <= replica.length && found.length < 12; i *= 2) {
      const { from, bytes } = replica.at(-i)!;
      found.push([from, bytes ? readHeader(bytes).crc : null]);
    }
    return found;
  }

  createReplica(from: number): Promise<void> {
    return this.#do(() => {
      const { url, path, owner, stream } = this.disk.note;
      this.disk.replicaNote ??= { v: 1, url, path, owner, stream, from, life: null, gaps: [] };
    });
  }

  beginLife(life: string): Promise<void> {
    return this.#do(() => {
      this.disk.replicaNote = { ...this.disk.replicaNote!, life };
    });
  }

  receive({ bytes, nextOffset }: { readonly bytes: Uint8Array; readonly nextOffset: number }): Promise<void> {
    return this.#do(() => {
      const kept: Kept[] = [];
      let at = this.watermark;
      for (const batch of bytes.length === 0 ? [] : splitBatches(bytes)) {
        const header = readHeader(batch);
        const to = nextOffsetOf(header);
        if (to <= at) continue;
        if (header.baseOffset < at) throw new TidemarkError("DIVERGED", "a batch straddles the end", { offset: at });
        if (to > nextOffset) throw new TidemarkError("INVALID_BATCH", "it goes beyond the frame");
        if (header.baseOffset > at) kept.push({ from: at, to: header.baseOffset, bytes: undefined });
        kept.push({ from: header.baseOffset, to, bytes: batch.slice() });
        at = to;
      }
      if (at < nextOffset) kept.push({ from: at, to: nextOffset, bytes: undefined });
      this.#take(kept);
    });
  }

  #take(kept: readonly Kept[]): void {
    const before = this.watermark;
    this.disk.replica = [...this.disk.replica, ...kept];
    this.look(before);
    this.#settleTold();
    this.#tell("risen", this.watermark);
  }

  /** T1. */
  protected look(from: number): void {
    const seen = this.disk.replica.filter(({ to }) => to > from);
    const shown = new Set(seen.flatMap(({ bytes }) => (bytes ? [identityOf(readHeader(bytes))] : [])));
    this.settle(this.disk.own.filter(({ identity }) => shown.has(identity)));
  }

  gap(to: number, why: string): Promise<Range> {
    return this.#do(() => {
      const from = this.watermark;
      const note = this.disk.replicaNote!;
      this.disk.replicaNote = { ...note, gaps: [...note.gaps, [from, to, why]] };
      this.#take([{ from, to, bytes: undefined }]);
      return [from, to] as const;
    });
  }

  // --- claim ---

  #lower({ at }: Own): number {
    const { doubtFrom } = this.disk.note;
    const appendedAt = this.#appendedAt.get(at);
    return appendedAt === undefined ? doubtFrom : Math.max(doubtFrom, appendedAt);
  }

  claimStand({ logStartOffset, fetched, again }: ClaimLook): Promise<ClaimStand> {
    return this.#do(() => {
      const before = this.#open().length;
      this.look(this.disk.note.settledIn);
      const headers = fetched.map((batch) => readHeader(batch));
      const shown = new Set(headers.map(identityOf));
      this.settle(this.disk.own.filter(({ identity }) => shown.has(identity)));
      const readTo = this.watermark;
      const isCovered = (offset: number): boolean =>
        headers.some((header) => header.baseOffset <= offset && offset < nextOffsetOf(header)) ||
        this.disk.replica.some(({ from, to, bytes }) => bytes !== undefined && from <= offset && offset < to);
      const open = this.#open();
      const inDoubt = open.filter((own) => {
        if (again.some(([from, to]) => from <= own.at && own.at < to)) return false;
        const lower = this.#lower(own);
        if (logStartOffset > lower) return true;
        for (let offset = lower; offset < readTo; offset++) if (!isCovered(offset)) return true;
        return false;
      });
      const ranges = inDoubt.map(({ at, next }) => [at, next] as const);
      return { readTo, found: before - open.length, unsettled: open.length, inDoubt: ranges };
    });
  }
}

export class MemoryDisk implements SimDisk {
  readonly #disk: Disk;
  readonly #Store: typeof MemoryTopicStore;

  /** `Store`: perhaps with a bug planted in it. */
  constructor(Store: typeof MemoryTopicStore, disk = newDisk()) {
    this.#Store = Store;
    this.#disk = disk;
  }
  copy(): MemoryDisk {
    return new MemoryDisk(this.#Store, { ...this.#disk });
  }
  async open({ newId, pause }: OpenTopic): Promise<SimStore> {
    const store = new this.#Store(this.#disk, newId, pause);
    return {
      store,
      term: this.#disk.term,
      append: async (batch) => void (await store.append(batch)),
      shown: async () => store.shown(),
      kill: () => (store.isDead = true),
    };
  }
}
