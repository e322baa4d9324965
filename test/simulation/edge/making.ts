/** Steps that make streams, and forks of them. */
import type { Random } from "../prng.ts";
import { Bodies, type Fresh } from "./bodies.ts";
import { offsetText, TYPES, urlOf } from "./core.ts";
import { ModelStream } from "./model.ts";

/** Where a new stream begins, and half a message of its source that it has besides. */
interface ForkPoint {
  readonly offset: number;
  readonly prefix?: Uint8Array;
}

/** A PUT. */
export interface Put {
  readonly path: string;
  readonly from: string | undefined;
  readonly headers: Record<string, string>;
  readonly settings: ModelStream["settings"];
  /** The type that it names. */
  readonly type: string | undefined;
  readonly requested: number | undefined;
  readonly sub: number;
  readonly closed: boolean;
  readonly body: Uint8Array | undefined;
  readonly records: readonly Fresh[] | "bad";
  /** When it was sent first. */
  readonly at: number;
}

export class Making extends Bodies {
  async create(random: Random): Promise<void> {
    const path = this.path(random, false);
    await this.observe(path);
    await this.put(random, path, undefined);
  }

  async fork(random: Random): Promise<void> {
    const path = this.path(random, false);
    const from = this.path(random, true);
    await this.observe(path);
    await this.observe(from);
    await this.put(random, path, from);
  }

  settings(random: Random): { headers: Record<string, string>; settings: ModelStream["settings"] } {
    const headers: Record<string, string> = {};
    const life = random.weighted({ none: 10, ttl: 3, at: 2 });
    const ttl = life === "ttl" ? random.pick([60, 300, 3_600, 100_000]) : undefined;
    const expiresAt =
      life === "at" ? new Date(this.now + random.pick([100_000, 900_000, 10_000_000])).toISOString() : undefined;
    if (ttl !== undefined) headers["stream-ttl"] = String(ttl);
    if (expiresAt !== undefined) headers["stream-expires-at"] = expiresAt;
    const kind = random.weighted({ none: 6, records: 2, bytes: 1, seconds: 1 });
    const retention =
      kind === "records"
        ? { records: random.between(1, 40) }
        : kind === "bytes"
          ? { bytes: random.between(1, 4_000) }
          : kind === "seconds"
            ? { seconds: random.between(1, 200) }
            : undefined;
    for (const [name, value] of Object.entries(retention ?? {})) headers[`tidemark-retention-${name}`] = String(value);
    const compaction = random.chance(0.45)
      ? {
          ...(random.chance(0.3) && { lag: random.between(0, 200) }),
          ...(random.chance(0.6) && { tombstones: random.between(0, 300) }),
        }
      : undefined;
    if (compaction) headers["tidemark-compaction"] = "key";
    if (compaction?.lag !== undefined) headers["tidemark-compaction-lag-seconds"] = String(compaction.lag);
    if (compaction?.tombstones !== undefined)
      headers["tidemark-compaction-tombstone-seconds"] = String(compaction.tombstones);
    return { headers, settings: { ttl, expiresAt, retention, compaction } };
  }

  /** Where a fork is to begin, as headers. */
  forkHeaders(
    random: Random,
    from: string | undefined,
    source: ModelStream | undefined,
    headers: Record<string, string>,
  ): { requested: number | undefined; sub: number } {
    let requested: number | undefined;
    let sub = 0;
    if (from !== undefined) {
      headers["stream-forked-from"] = urlOf(from);
      if (source && random.chance(0.7)) {
        requested = random.chance(0.1)
          ? source.end + 1
          : random.chance(0.1)
            ? Math.max(0, source.start - 1)
            : random.between(source.start, source.end);
        headers["stream-fork-offset"] = offsetText(requested);
        if (random.chance(0.5)) {
          sub = random.int(source.isJson ? 4 : 60);
          headers["stream-fork-sub-offset"] = String(sub);
        }
      }
    }
    return { requested, sub };
  }

  async put(random: Random, path: string, from: string | undefined): Promise<void> {
    const known = this.model.at.get(path);
    if (known && !known.deleted && random.chance(0.3)) return this.putAgain(random, known);
    const asked = this.asking(random, path, from);
    const { headers, body } = asked;
    const wanted = this.wanted(asked);
    // Body and stream are two commits: nothing is struck here.
    this.platform.holdsAlarms = from !== undefined;
    const answer = await this.ask("PUT", urlOf(path), headers, body);
    this.platform.holdsAlarms = false;
    if (known) {
      if (known.deleted) return this.status(answer, 409, "PUT where a deleted stream is");
      if (answer.status === 200) this.checkSame(known, headers, from);
      else this.status(answer, 409, "PUT of another stream");
      this.count(`put again ${answer.status}`);
      return;
    }
    if (typeof wanted === "number") {
      if (from !== undefined) this.count(`fork refused ${wanted}`);
      return this.status(answer, wanted, "PUT");
    }
    this.status(answer, 201, "PUT");
    this.reads.describe(this.make(asked, wanted), answer, "PUT");
  }

  /** A PUT as it is sent. */
  asking(random: Random, path: string, from: string | undefined): Put {
    const source = from === undefined ? undefined : this.model.at.get(from);
    const { headers, settings } = this.settings(random);
    const type = from !== undefined && source && random.chance(0.9) ? source.type : random.pick(TYPES);
    const saysType = random.chance(from === undefined ? 0.9 : 0.5);
    const actual = saysType ? type : from === undefined ? "application/octet-stream" : (source?.type ?? type);
    const made = random.chance(0.4) ? this.body(random, actual) : undefined;
    const closed = random.chance(0.06);
    if (saysType) headers["content-type"] = made ? made.headers["content-type"]! : type;
    if (closed) headers["stream-closed"] = "true";
    const { requested, sub } = this.forkHeaders(random, from, source, headers);
    const { body, records = [] } = made ?? {};
    return {
      path,
      from,
      headers,
      settings,
      type: saysType ? type : undefined,
      requested,
      sub,
      closed,
      body,
      records,
      at: this.now,
    };
  }

  /** The outcome where no stream is: the status of a refusal, or where the new stream begins. */
  wanted({ from, type, requested, sub, records }: Put): number | ForkPoint {
    const source = from === undefined ? undefined : this.model.at.get(from);
    const point = from === undefined ? { offset: 0 } : this.forkPoint(source, type, requested, sub);
    return typeof point === "number" || records !== "bad" ? point : 400;
  }

  /** The stream that it has made. */
  make({ path, from, headers, settings, type, sub, closed, records, at }: Put, point: ForkPoint): ModelStream {
    const source = from === undefined ? undefined : this.model.at.get(from);
    const inherits = settings.ttl === undefined && settings.expiresAt === undefined ? source?.settings : undefined;
    const stream = new ModelStream(
      path,
      type ?? source?.type ?? "application/octet-stream",
      { ...settings, ttl: settings.ttl ?? inherits?.ttl, expiresAt: settings.expiresAt ?? inherits?.expiresAt },
      source && { source, offset: point.offset, requested: headers["stream-fork-offset"], sub },
      at,
    );
    stream.touchedTo = this.now;
    if (source) {
      stream.records = source.records.filter(({ offset }) => offset < point.offset);
      stream.start = source.start;
      stream.end = point.offset;
      source.forks.add(stream);
      this.count(`fork${sub ? " sub" : ""}${source.fork ? " of fork" : ""}`);
    }
    if (point.prefix) {
      stream.add([{ ...this.fresh(null, point.prefix), from: at }]);
      this.count("fork inside a message");
    }
    stream.add(records as Fresh[]);
    for (const each of stream.records) each.to = Math.min(each.to, this.now);
    stream.closed = closed;
    this.model.at.set(path, stream);
    this.count("created");
    if (settings.ttl !== undefined) this.count("created ttl");
    if (records.length > 0) this.count("created with body");
    if (closed) this.count("created closed");
    return stream;
  }

  /** The same PUT again, or nearly. */
  async putAgain(random: Random, stream: ModelStream): Promise<void> {
    const { settings, fork } = stream;
    const headers: Record<string, string> = { "content-type": stream.type };
    if (settings.ttl !== undefined) headers["stream-ttl"] = String(settings.ttl);
    if (settings.expiresAt !== undefined) headers["stream-expires-at"] = settings.expiresAt;
    if (stream.closed) headers["stream-closed"] = "true";
    if (fork) {
      headers["stream-forked-from"] = urlOf(fork.source.path);
      if (fork.requested !== undefined) headers["stream-fork-offset"] = fork.requested;
      if (fork.sub > 0) headers["stream-fork-sub-offset"] = String(fork.sub);
    }
    let wanted = 200;
    if (random.chance(0.4)) {
      wanted = 409;
      const other = random.int(4);
      if (other === 0) headers["content-type"] = TYPES.find((type) => type !== stream.type)!;
      else if (other === 1) headers["stream-ttl"] = String((settings.ttl ?? 5) + 1);
      else if (other === 2) headers["stream-closed"] = stream.closed ? "false" : "true";
      else headers["tidemark-retention-records"] = "12345";
      if (other === 1) delete headers["stream-expires-at"];
    }
    const answer = await this.ask("PUT", urlOf(stream.path), headers);
    this.status(answer, wanted, "PUT again");
    if (wanted === 200) this.reads.describe(stream, answer, "PUT again");
    this.count(`same put ${wanted}`);
  }

  checkSame(stream: ModelStream, headers: Record<string, string>, from: string | undefined): void {
    const type = (headers["content-type"] ?? (from === undefined ? "application/octet-stream" : stream.type)).split(
      ";",
    )[0];
    if (type !== stream.type || (from ?? undefined) !== stream.fork?.source.path)
      this.fail("PUT of another stream is 200");
    if ((headers["stream-closed"] === "true") !== stream.closed) this.fail("PUT of another stream is 200: closed");
  }

  forkPoint(
    source: ModelStream | undefined,
    type: string | undefined,
    requested: number | undefined,
    sub: number,
  ): ForkPoint | number {
    if (!source) return 404;
    if (source.deleted) return 409;
    if (type !== undefined && type !== source.type) return 409;
    let offset = requested ?? source.end;
    if (offset > source.end || offset < source.start) return 400;
    let left = sub;
    if (source.isJson && offset + sub > source.end) return 400;
    for (const { offset: at, value } of source.records) {
      if (left === 0) break;
      if (at < offset || value === null) continue;
      const size = source.isJson ? 1 : value.length;
      if (left < size) return { offset: at, prefix: value.slice(0, left) };
      left -= size;
      offset = at + 1;
    }
    return left > 0 ? 400 : { offset };
  }
}
