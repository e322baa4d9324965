/** The streams that the edge should hold, by path, with records, writers, forks and lives. It knows no HTTP. */
export interface Held {
  readonly offset: number;
  readonly key: string | null;
  readonly value: Uint8Array | null;
  readonly headers: readonly (readonly [string, string | null])[];
  /** Undefined until a read has shown it: then it was the time of the append. */
  timestamp: number | undefined;
  /** Between these times it was appended. */
  readonly from: number;
  to: number;
}

export interface Writer {
  readonly epoch: number;
  readonly seq: number;
}
/** The newest batch of a producer of batches. */
export interface Numbered {
  readonly epoch: number;
  readonly next: number;
  readonly last: { readonly batch: Uint8Array; readonly baseOffset: number };
}
export interface Policy {
  readonly bytes?: number;
  readonly records?: number;
  readonly seconds?: number;
}
export interface Compaction {
  readonly lag?: number;
  readonly tombstones?: number;
}
/** Records that readers may still be shown, by a manifest that is kept for a minute. */
export interface Stale {
  readonly until: number;
  readonly start: number;
  readonly end: number;
  readonly records: readonly Held[];
}

/** One view of a stream that a reader may be shown. */
export interface Shown {
  readonly start: number;
  readonly records: readonly Held[];
}

let made = 0;

export class ModelStream {
  readonly id = ++made;
  records: Held[] = [];
  start = 0;
  end = 0;
  closed = false;
  closedBy: { id: string; epoch: number; seq: number } | undefined;
  readonly writers = new Map<string, Writer>();
  readonly numbered = new Map<number, Numbered>();
  seq: string | undefined;
  readonly forks = new Set<ModelStream>();
  deleted = false;
  /** Its last use is not before, and not after. */
  touchedFrom: number;
  touchedTo: number;
  stale: Stale[] = [];
  seenAlarms = 0;

  constructor(
    readonly path: string,
    readonly type: string,
    readonly settings: {
      readonly ttl: number | undefined;
      readonly expiresAt: string | undefined;
      readonly retention: Policy | undefined;
      readonly compaction: Compaction | undefined;
    },
    readonly fork: { source: ModelStream; offset: number; requested: string | undefined; sub: number } | undefined,
    now: number,
  ) {
    this.touchedFrom = this.touchedTo = now;
  }

  get isJson(): boolean {
    return this.type === "application/json";
  }

  /** When it ends at the earliest, and at the latest. */
  get ends(): readonly [number, number] {
    const { ttl, expiresAt } = this.settings;
    if (expiresAt !== undefined) return [Date.parse(expiresAt), Date.parse(expiresAt)];
    if (ttl === undefined) return [Infinity, Infinity];
    return [this.touchedFrom + ttl * 1000, this.touchedTo + ttl * 1000 * 1.125 + 1];
  }

  add(records: readonly Omit<Held, "offset">[]): void {
    for (const record of records) this.records.push({ ...record, offset: this.end++ });
  }

  /** Its records now, those of a manifest that is kept, and those in the middle of a compaction, from front to back. */
  shown(now: number): Shown[] {
    const there = new Set(this.records.map(({ offset }) => offset));
    const past = this.stale
      .filter(({ until }) => until >= now)
      .flatMap(({ start, records, end }) => {
        // Newer records are shown as well.
        const all = [...records, ...this.records.filter(({ offset }) => offset >= end)];
        const from = (cut: number): Shown => ({
          start,
          records: all.filter(({ offset }) => offset >= cut || there.has(offset)),
        });
        return all.filter(({ offset }) => !there.has(offset)).map(({ offset }) => from(offset));
      });
    return [{ start: this.start, records: this.records }, ...past];
  }

  trim(offset: number): void {
    this.start = Math.max(this.start, offset);
    this.records = this.records.filter((each) => each.offset >= this.start);
  }
}

export class Model {
  readonly at = new Map<string, ModelStream>();
  /** Paths of which nobody may have told the tenant's list that their stream is gone. */
  readonly unsure = new Set<string>();

  /** The stream that clients see. */
  visible(path: string): ModelStream | undefined {
    const found = this.at.get(path);
    return found?.deleted ? undefined : found;
  }

  remove(stream: ModelStream): void {
    this.unsure.delete(stream.path);
    if (stream.forks.size > 0) stream.deleted = true;
    else this.#purge(stream);
  }

  #purge(stream: ModelStream): void {
    this.at.delete(stream.path);
    const source = stream.fork?.source;
    if (!source) return;
    source.forks.delete(stream);
    if (source.deleted && source.forks.size === 0) this.#purge(source);
  }
}
