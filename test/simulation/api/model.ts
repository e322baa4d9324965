/** The records that a topic must hold, as a plain list, and those that may have been removed from it. */
import type { AnyTopic, Kind } from "./kinds.ts";
import type { TopicRecord, TopicSettings, TopicState } from "./api.ts";

export class Failure extends Error {}

export function check(condition: unknown, message: string | (() => string)): asserts condition {
  if (!condition) throw new Failure(typeof message === "string" ? message : message());
}

export function equal(found: unknown, expected: unknown, what: string): void {
  const [a, b] = [show(found), show(expected)];
  if (a === b) return;
  let at = 0;
  while (a[at] === b[at]) at++;
  const part = (text: string): string => text.slice(Math.max(0, at - 60), at + 120);
  throw new Failure(`${what}: found …${part(a)}… instead of …${part(b)}…`);
}

/** Plain text of a value; objects by their sorted fields. */
export function show(value: unknown): string {
  if (value instanceof Uint8Array) return `bytes ${value.length} ${[...value.subarray(0, 40)].join()} ${sum(value)}`;
  if (Array.isArray(value)) return `[${value.map(show).join(", ")}]`;
  if (value instanceof Error) return String(value);
  if (typeof value === "object" && value !== null)
    return `{${Object.keys(value)
      .sort()
      .map((name) => `${JSON.stringify(name)}: ${show((value as Record<string, unknown>)[name])}`)
      .join(", ")}}`;
  return typeof value === "string" ? JSON.stringify(value) : Object.is(value, -0) ? "0" : String(value);
}

const sum = (bytes: Uint8Array): number => bytes.reduce((all, byte) => (Math.imul(all, 31) + byte) | 0, 7);

export type Pairs = readonly (readonly [string, Uint8Array | null])[];

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
const textOf = (bytes: Uint8Array | null): string | null => bytes && decoder.decode(bytes);

/** A record that the log has, or had. */
export interface Known {
  readonly key: Uint8Array | null;
  readonly isTombstone: boolean;
  /** Everything but the timestamp, as text. */
  readonly shown: string;
  readonly timestampMin: number;
  readonly timestampMax: number;
  readonly bytes: number;
  id: string | undefined;
  timestamp: number | undefined;
}

export function shownRecord(value: unknown, key: Uint8Array | null, headers: Pairs, type?: string): string {
  const texts: Record<string, string | null> = Object.create(null) as Record<string, string | null>;
  for (const [name, bytes] of headers) texts[name] = textOf(bytes);
  return show({ value, key: textOf(key), keyBytes: key, headers: texts, raw: headers, type });
}

const shownRead = (record: TopicRecord): string => {
  const { value, key, keyBytes, headers, rawHeaders, type } = record as TopicRecord & { type?: string };
  return show({ value, key, keyBytes, headers, raw: rawHeaders, type });
};

export class TopicModel {
  topic!: AnyTopic;
  exists = false;
  start = 0;
  end = 0;
  records = new Map<number, Known>();
  /** Offsets that compaction has removed. */
  gone = new Set<number>();
  settings: TopicSettings = {};
  /** Given, while the topic does not exist. */
  given: TopicSettings = {};
  wasCompacted = false;
  /** Settings may have been given by a tab before, while the topic did not exist. */
  isUnsure = false;
  /** How often it was made. */
  life = 0;
  state: TopicState | undefined;
  constructor(
    readonly name: string,
    readonly kind: Kind,
  ) {}

  add(record: Known, id?: string): number {
    if (!this.exists) this.make();
    record.id ??= id;
    this.records.set(this.end, record);
    return this.end++;
  }

  make(): void {
    this.exists = true;
    this.settings = this.given;
    this.given = {};
  }

  sure(settings: TopicSettings): void {
    this.settings = settings;
    this.isUnsure = false;
    this.wasCompacted ||= settings.compaction !== undefined && settings.compaction !== false;
  }

  forget(): void {
    Object.assign(this, {
      isUnsure: false,
      exists: false,
      start: 0,
      end: 0,
      settings: {},
      given: {},
      wasCompacted: false,
    });
    this.records = new Map();
    this.gone = new Set();
    this.life++;
  }

  /** Offsets of what must be read, from `from` to before `to`. */
  offsets(from = this.start, to = this.end): number[] {
    const found: number[] = [];
    for (let offset = Math.max(from, this.start); offset < Math.min(to, this.end); offset++)
      if (!this.gone.has(offset)) found.push(offset);
    return found;
  }

  /** A record that was read must be this one. */
  same(record: TopicRecord, where: string): void {
    const { offset } = record;
    const known = this.records.get(offset);
    check(known, () => `${where}: ${this.name} has no offset ${offset} of ${this.end}`);
    if (shownRead(record) !== known.shown) equal(shownRead(record), known.shown, `${where}: ${this.name} at ${offset}`);
    const { timestamp } = record;
    known.timestamp ??= timestamp;
    check(
      timestamp === known.timestamp && timestamp >= known.timestampMin && timestamp <= known.timestampMax,
      () => `${where}: ${this.name} at ${offset}: timestamp ${timestamp}, not ${known.timestampMin}`,
    );
    known.id ??= record.id;
    equal(record.id, known.id, `${where}: id at ${offset}`);
    equal(record.provisional, false, `${where}: provisional at ${offset}`);
  }

  /** Records that a read lacks must have been removed by compaction. */
  missing(found: readonly number[], state: TopicState): void {
    const has = new Set(found);
    const sealed = state.segments.findLast((segment) => segment.state === "sealed")?.nextOffset ?? 0;
    const delay = (this.settings.compaction || {}).tombstoneRetentionMs ?? 86_400_000;
    const newest = new Map<string, number>();
    for (const [offset, { key }] of this.records) if (key && offset < sealed) newest.set(show(key), offset);
    for (let offset = this.start; offset < this.end; offset++) {
      if (has.has(offset)) {
        check(!this.gone.has(offset), () => `${this.name}: ${offset} came back`);
        continue;
      }
      if (this.gone.has(offset)) continue;
      const record = this.records.get(offset)!;
      const isOld = record.key !== null && newest.get(show(record.key))! > offset;
      const isDue = record.isTombstone && record.key !== null && delay < 60_000;
      check(
        this.wasCompacted && offset < sealed && (isOld || isDue),
        () => `${this.name}: ${offset} is lost (log ${this.start}-${this.end}, sealed to ${sealed})`,
      );
      this.gone.add(offset);
    }
  }

  segmentsFit(state: TopicState): void {
    const { segments, logStartOffset } = state;
    if (!this.exists) return equal(segments, [], `${this.name}: segments of no topic`);
    let at = segments[0]!.baseOffset;
    check(at <= logStartOffset, () => `${this.name}: segments from ${at}, log from ${logStartOffset}`);
    for (const segment of segments) {
      equal(segment.baseOffset, at, `${this.name}: segments follow each other`);
      at = segment.nextOffset;
      equal(segment.state, segment === segments.at(-1) ? "active" : "sealed", `${this.name}: state of a segment`);
      if (segment.baseOffset < logStartOffset) continue;
      const offsets = this.offsets(segment.baseOffset, segment.nextOffset);
      equal(segment.records, offsets.length, `${this.name}: records of segment ${segment.baseOffset}`);
      const times = offsets.map((offset) => this.records.get(offset)!.timestamp!);
      if (times.length > 0)
        equal(segment.maxTimestamp, Math.max(-1, ...times), `${this.name}: maxTimestamp of ${segment.baseOffset}`);
      check(segment.batches <= segment.records, () => `${this.name}: ${segment.batches} batches`);
    }
    equal(at, this.end, `${this.name}: end of segments`);
  }
}
