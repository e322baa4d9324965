/** Reads in every dialect, compared with the model. */
import { isUtf8 } from "node:buffer";
import type { PackingKernel } from "../../../src/kernel/types.ts";
import { Random } from "../prng.ts";
import { bodyOf, numberIn, textOf } from "./answers.ts";
import { BATCHES, type Core, LINES, offsetText, sameBytes, urlOf } from "./core.ts";
import type { Held, ModelStream, Shown } from "./model.ts";
import type { Answer } from "./platform.ts";

const STALE_MS = 60_000;
const RESERVED = new Set(["ds.producer", "ds.seq"]);

const offsetsOf = (all: readonly { readonly offset: number }[]): string => all.map(({ offset }) => offset).join();

export interface Decoded {
  readonly offset: number;
  readonly key: string | null;
  readonly value: Uint8Array | null;
  readonly headers: readonly (readonly [string, string | null])[];
  readonly timestamp: number;
}

export class Reads {
  kernel!: PackingKernel;
  readonly #of: Core;
  /** What an answer with this ETag said, by path and tag. */
  readonly #tags = new Map<string, { readonly body: Uint8Array; readonly offset: string }>();

  constructor(of: Core) {
    this.#of = of;
  }

  describe(stream: ModelStream, answer: Answer, what: string): void {
    const of = this.#of;
    const { ttl, expiresAt } = stream.settings;
    of.header(answer, "stream-next-offset", offsetText(stream.end), what);
    of.header(answer, "tidemark-start-offset", offsetText(stream.start), what);
    of.header(answer, "stream-closed", stream.closed ? "true" : null, what);
    of.header(answer, "stream-ttl", ttl === undefined ? null : String(ttl), what);
    of.header(answer, "stream-expires-at", expiresAt ?? null, what);
  }

  #gone(path: string, answer: Answer, what: string): void {
    this.#of.status(answer, this.#of.model.at.has(path) ? 410 : 404, `${what} where no stream is`);
  }

  async head(path: string): Promise<void> {
    const of = this.#of;
    const stream = of.model.visible(path);
    const answer = await of.ask("HEAD", urlOf(path));
    if (!stream) return this.#gone(path, answer, "HEAD");
    of.status(answer, 200, "HEAD");
    const start = numberIn(answer.headers.get("tidemark-start-offset"));
    if (start > stream.start) this.#retired(stream, start);
    this.describe(stream, answer, "HEAD");
  }

  /** Retention may have been quicker than a trim. */
  overtaken(stream: ModelStream, answer: Answer): void {
    const start = numberIn(answer.headers.get("tidemark-start-offset"));
    if (start > stream.start) this.#retired(stream, start);
  }

  #stale(stream: ModelStream): void {
    stream.stale.push({
      until: this.#of.now + STALE_MS,
      start: stream.start,
      end: stream.end,
      records: stream.records,
    });
  }

  /** Retention has removed what is before `start`. */
  #retired(stream: ModelStream, start: number): void {
    const of = this.#of;
    const { retention } = stream.settings;
    if (!retention) return of.fail(`records before ${start} are gone, and nothing removes them`);
    if (stream.forks.size > 0) return of.fail(`retention removed records before ${start} of a stream that forks read`);
    const own = stream.records.filter(({ offset }) => offset >= start);
    const gone = stream.records.filter(({ offset }) => offset < start);
    if (retention.records !== undefined && own.length < retention.records)
      of.fail(`retention of ${retention.records} records left ${own.length}`);
    const limit = of.now - (retention.seconds ?? 0) * 1_000;
    const first = stream.fork?.offset ?? 0;
    if (retention.seconds !== undefined && gone.some(({ offset, from }) => offset >= first && from > limit))
      of.fail("retention removed what is younger");
    of.count(`retention ${Object.keys(retention)[0]}`);
    this.#stale(stream);
    stream.trim(start);
  }

  /** The records that the object itself holds: no manifest counts for a live read. */
  async #truth(stream: ModelStream): Promise<Decoded[]> {
    const of = this.#of;
    const found: Decoded[] = [];
    for (let at = stream.start; at < stream.end;) {
      const answer = await of.ask("GET", `${urlOf(stream.path)}?offset=${offsetText(at)}&live=long-poll`, {
        accept: BATCHES,
      });
      if (answer.status === 410) {
        // Retention was quicker.
        await this.head(stream.path);
        if (stream.start <= at) of.fail(`truth: 410 at ${at}`);
        at = stream.start;
        continue;
      }
      of.status(answer, [200, 204], "truth");
      stream.touchedFrom = stream.touchedTo = of.now;
      const next = numberIn(answer.headers.get("stream-next-offset"));
      if (next <= at) of.fail(`a read at ${at} goes no further`);
      found.push(...(await this.decode(answer.bytes)).filter(({ offset }) => offset >= at && offset < next));
      at = next;
    }
    return found.filter(({ offset }) => offset >= stream.start);
  }

  async decode(bytes: Uint8Array): Promise<Decoded[]> {
    const { splitBatches, decodeBatch } = this.#of.edge;
    const all: Decoded[] = [];
    for (const each of splitBatches(bytes)) {
      const batch = await decodeBatch(this.kernel, each);
      for (let i = 0; i < batch.count; i++) {
        const key = batch.keyAt(i);
        all.push({
          offset: batch.offsetAt(i),
          key: key && textOf(key),
          value: batch.valueAt(i)?.slice() ?? null,
          headers: batch
            .headersAt(i)
            .filter(([name]) => !RESERVED.has(name))
            .map(([name, value]) => [name, value && textOf(value)] as const),
          timestamp: batch.timestampAt(i),
        });
      }
    }
    return all;
  }

  /** Takes over what compaction has removed since. */
  async reconcile(stream: ModelStream): Promise<void> {
    const of = this.#of;
    const alarms = of.platform.logOf(stream.path)?.alarms ?? 0;
    stream.stale = stream.stale.filter(({ until }) => until >= of.now);
    if (alarms === stream.seenAlarms) return;
    stream.seenAlarms = alarms;
    const { compaction } = stream.settings;
    if (!compaction) return;
    const found = await this.#truth(stream);
    const there = new Set(found.map(({ offset }) => offset));
    const gone = stream.records.filter(({ offset }) => !there.has(offset));
    if (gone.length === 0) return this.#compare(stream, found, stream.records, stream.start, stream.end, "truth");
    const newest = new Map(stream.records.map((each) => [each.key, each.offset]));
    const first = stream.fork?.offset ?? 0;
    for (const { offset, key, value, to } of gone) {
      const isSuperseded = key !== null && newest.get(key)! > offset;
      const keeps = (compaction.tombstones ?? 86_400) * 1_000;
      const isOver = key !== null && value === null && of.now >= to + keeps && !stream.fork;
      const isYoung = of.now < to + (compaction.lag ?? 0) * 1_000;
      if (offset < first || isYoung || (!isSuperseded && !isOver))
        of.fail(
          `compaction removed ${offset} (key ${key}, ${value === null ? "a tombstone" : "a value"}) of ${stream.path}`,
        );
      of.count(isSuperseded ? "compacted" : "tombstone removed");
    }
    this.#stale(stream);
    stream.records = stream.records.filter(({ offset }) => there.has(offset));
    this.#compare(stream, found, stream.records, stream.start, stream.end, "truth");
  }

  /** The records of [from, to) as they were read, and as they should be. */
  #compare(
    stream: ModelStream,
    found: readonly Decoded[],
    records: readonly Held[],
    from: number,
    to: number,
    what: string,
  ): void {
    const why = this.differs(found, records, from, to);
    if (why !== undefined) this.#of.fail(`${what} of ${stream.path} in ${from}…${to}: ${why}`);
  }

  differs(found: readonly Decoded[], records: readonly Held[], from: number, to: number): string | undefined {
    const wanted = records.filter(({ offset }) => offset >= from && offset < to);
    if (found.length !== wanted.length || found.some(({ offset }, i) => offset !== wanted[i]!.offset))
      return `offsets ${offsetsOf(found)}, expected ${offsetsOf(wanted)}`;
    for (const [i, { offset, key, value, headers, timestamp }] of found.entries()) {
      const held = wanted[i]!;
      if (key !== held.key) return `key of ${offset} is ${key}, expected ${held.key}`;
      if (value === null || held.value === null ? value !== held.value : !sameBytes(value, held.value))
        return `value of ${offset} is ${value && textOf(value)}, expected ${held.value && textOf(held.value)}`;
      if (JSON.stringify(headers) !== JSON.stringify(held.headers))
        return `headers of ${offset} are ${JSON.stringify(headers)}`;
      if (held.timestamp === undefined && timestamp >= held.from && timestamp <= held.to) held.timestamp = timestamp;
      if (timestamp !== held.timestamp)
        return `time of ${offset} is ${timestamp}, expected ${held.timestamp ?? `${held.from}…${held.to}`}`;
    }
    return undefined;
  }

  /** Asks, and takes over what alarms did meanwhile. */
  async #ask(stream: ModelStream | undefined, target: string, headers: Record<string, string>): Promise<Answer> {
    const of = this.#of;
    const started = of.now;
    const answer = await of.ask("GET", target, headers);
    if (!stream) return answer;
    if (answer.status < 400) stream.touchedFrom = started;
    const host = of.platform.logOf(stream.path)!;
    stream.touchedTo = of.now;
    if (host.alarms === stream.seenAlarms && !host.isInAlarm) return answer;
    while (host.isInAlarm) await of.platform.pass(5);
    await this.head(stream.path);
    await this.reconcile(stream);
    return answer;
  }

  /** One of what a reader may be shown fits; else the reason of the first. */
  fits(stream: ModelStream, what: string, check: (shown: Shown) => string | undefined): Shown {
    let first: string | undefined;
    for (const shown of stream.shown(this.#of.now)) {
      const why = check(shown);
      if (why === undefined) return shown;
      first ??= why;
    }
    return this.#of.fail(`${what} of ${stream.path}: ${first}`);
  }

  place(random: Random, stream: ModelStream | undefined): string {
    if (!stream) return random.pick(["-1", offsetText(0), "now"]);
    const some = random.weighted({ start: 3, number: 6, edge: 2, now: 1 });
    if (some === "start") return "-1";
    if (some === "now") return "now";
    if (some === "number") return offsetText(random.between(stream.start, stream.end));
    const { fork } = stream;
    return offsetText(
      Math.max(
        0,
        random.pick([
          stream.start - 1,
          stream.start,
          stream.end - 1,
          stream.end,
          stream.end + 1,
          ...(fork ? [fork.offset - 1, fork.offset] : []),
        ]),
      ),
    );
  }

  async one(random: Random, path: string): Promise<void> {
    const way = random.weighted({ plain: 4, batches: 3, lines: 4, tagged: 2, whole: 1 });
    if (way === "plain") return this.plain(random, path);
    if (way === "batches") return this.batches(random, path);
    if (way === "lines") return this.lines(random, path);
    if (way === "tagged") return this.tagged(random, path);
    return this.whole(path);
  }

  /** Where a read at this place begins, or why it is refused. */
  from(stream: ModelStream, shown: Shown, place: string, answer: Answer): number | string | undefined {
    const from = place === "-1" ? shown.start : place === "now" ? stream.end : numberIn(place);
    const wanted = from > stream.end ? 416 : from < shown.start ? 410 : undefined;
    if (wanted === undefined)
      return [200, 304, 204].includes(answer.status) ? from : `status ${answer.status} at ${from}`;
    if (answer.status !== wanted) return `status ${answer.status} at ${from}, expected ${wanted}`;
    const next = numberIn(answer.headers.get("stream-next-offset"));
    this.#of.count(`read ${wanted}`);
    return next === (wanted === 410 ? shown.start : stream.end) ? undefined : `${wanted} says ${next}`;
  }

  /** Why the headers of an answer to a read are wrong. */
  headers(stream: ModelStream, answer: Answer, from: number): string | undefined {
    const next = numberIn(answer.headers.get("stream-next-offset"));
    const isAtEnd = next === stream.end;
    if (numberIn(answer.headers.get("tidemark-from-offset")) !== from)
      return `it begins at ${answer.headers.get("tidemark-from-offset")}, expected ${from}`;
    if (!(next > from || (next === from && from === stream.end)) || next > stream.end) return `next is ${next}`;
    if ((answer.headers.get("stream-up-to-date") === "true") !== isAtEnd)
      return `up-to-date is ${answer.headers.get("stream-up-to-date")} at ${next}`;
    if ((answer.headers.get("stream-closed") === "true") !== (isAtEnd && stream.closed))
      return `closed is ${answer.headers.get("stream-closed")} at ${next}`;
    return undefined;
  }

  async plain(random: Random, path: string, place?: string, tag?: string): Promise<void> {
    const of = this.#of;
    const stream = of.model.visible(path);
    const where = place ?? this.place(random, stream);
    const query = where === "-1" && random.chance(0.5) ? "" : `?offset=${where}`;
    const answer = await this.#ask(stream, `${urlOf(path)}${query}`, tag === undefined ? {} : { "if-none-match": tag });
    if (!stream) return this.#gone(path, answer, "GET");
    of.count("read plain");
    let body = answer.bytes;
    if (answer.status === 304) {
      of.count("read 304");
      body = this.#tags.get(`${path} ${tag}`)!.body;
    }
    this.fits(stream, `GET ${where}`, (shown) => {
      const from = this.from(stream, shown, where, answer);
      if (typeof from !== "number") return from;
      const why = this.headers(stream, answer, from);
      if (why !== undefined) return why;
      const next = numberIn(answer.headers.get("stream-next-offset"));
      const wanted = bodyOf(stream, shown.records, from, next);
      if (!sameBytes(wanted, body))
        return `${from}…${next} is ${textOf(body).slice(0, 200)}, expected ${textOf(wanted).slice(0, 200)}`;
      if (answer.headers.get("content-type")?.split(";")[0] !== stream.type)
        return `type ${answer.headers.get("content-type")}`;
      return undefined;
    });
    const etag = answer.headers.get("etag");
    if (where === "now" ? etag !== null : answer.status === 200 && etag === null)
      of.fail(`ETag ${etag} of a read at ${where}`);
    if (etag === null) return;
    const known = this.#tags.get(`${path} ${etag}`);
    if (known && !sameBytes(known.body, body)) of.fail(`two bodies with the ETag ${etag}`);
    this.#tags.set(`${path} ${etag}`, { body, offset: where });
  }

  /** A read whose client has an earlier answer. */
  async tagged(random: Random, path: string): Promise<void> {
    const known = [...this.#tags].filter(([name]) => name.startsWith(`${path} `));
    if (known.length === 0) return this.plain(random, path);
    const [name, { offset }] = random.pick(known.slice(-6));
    await this.plain(random, path, offset, name.slice(path.length + 1));
  }

  async batches(random: Random, path: string): Promise<void> {
    const of = this.#of;
    const stream = of.model.visible(path);
    const where = this.place(random, stream);
    const answer = await this.#ask(stream, `${urlOf(path)}?offset=${where}`, { accept: BATCHES });
    if (!stream) return this.#gone(path, answer, "GET of batches");
    of.count("read batches");
    const decoded = answer.status === 200 ? await this.decode(answer.bytes) : [];
    this.fits(stream, `batches ${where}`, (shown) => {
      const from = this.from(stream, shown, where, answer);
      if (typeof from !== "number") return from;
      const why = this.headers(stream, answer, from);
      if (why !== undefined) return why;
      const next = numberIn(answer.headers.get("stream-next-offset"));
      const ends = decoded.filter(({ offset }) => offset >= next && offset >= from);
      if (ends.some(({ offset }) => !shown.records.some((each) => each.offset === offset)))
        return "records behind the end";
      return this.differs(
        decoded.filter(({ offset }) => offset >= from && offset < next),
        shown.records,
        from,
        next,
      );
    });
  }

  /** The whole stream, page by page. */
  async whole(path: string): Promise<void> {
    const of = this.#of;
    const stream = await of.observe(path);
    if (!stream) return;
    const random = new Random(0);
    for (let at = stream.start, pages = 0; at < stream.end && pages < 300; pages++) {
      if (of.model.visible(path) !== stream) return;
      if (at < stream.start) at = stream.start;
      await this.plain(random, path, offsetText(at));
      const next = /stream-next-offset: (\d+)/.exec(
        of.trace.findLast((line) => line.includes(" GET ") && line.includes("→ 200")) ?? "",
      )?.[1];
      at = Math.max(at + 1, Number(next));
    }
    of.count("read whole");
  }

  /** Pages of one answer may be of different ages: these records, and those that were shown beside them. */
  #mixed(stream: ModelStream, records: readonly Held[], lines: readonly string[]): readonly Held[] {
    if (stream.stale.length === 0) return records;
    const shown = new Set(lines.map((line) => (JSON.parse(line) as { offset: number }).offset));
    const all = new Map(
      stream.shown(this.#of.now).flatMap((each) => each.records.map((held) => [held.offset, held] as const)),
    );
    const now = new Set(stream.records);
    return [...all.values()]
      .filter((held) => shown.has(held.offset) || now.has(held))
      .sort((a, b) => a.offset - b.offset);
  }

  #lineOf(stream: ModelStream, line: string, held: Held): string | undefined {
    const found = JSON.parse(line) as {
      offset: number;
      timestamp: number;
      key: string | null;
      headers: object;
      value?: unknown;
      valueBase64?: string;
    };
    if (found.offset !== held.offset) return `offset ${found.offset}, expected ${held.offset}`;
    if (found.key !== held.key) return `key ${found.key}`;
    const pairs = Array.isArray(found.headers) ? found.headers : Object.entries(found.headers);
    if (JSON.stringify(pairs) !== JSON.stringify(held.headers)) return `headers ${JSON.stringify(found.headers)}`;
    held.timestamp ??= found.timestamp >= held.from && found.timestamp <= held.to ? found.timestamp : undefined;
    if (found.timestamp !== held.timestamp) return `time ${found.timestamp}`;
    const value = held.value && textOf(held.value).replaceAll(/[\n\r]/g, " ");
    const end =
      value === null
        ? '"value":null}'
        : stream.isJson
          ? `"value":${value}${value === "null" ? ',"tombstone":false' : ""}}`
          : stream.type === "text/plain" && isUtf8(held.value!)
            ? `"value":${JSON.stringify(value)}}`
            : `"valueBase64":"${Buffer.from(held.value!).toString("base64")}"}`;
    return line.endsWith(end) ? undefined : `line ${line}, expected … ${end}`;
  }

  async lines(random: Random, path: string): Promise<void> {
    const of = this.#of;
    const stream = of.model.visible(path);
    const kind = random.weighted({ offset: 5, last: 3, earliest: 3, latest: 1, time: 3 });
    const some = stream && stream.records.length > 0 ? random.pick(stream.records) : undefined;
    const time = some?.timestamp === undefined ? of.now - random.int(200_000) : some.timestamp + random.between(-1, 1);
    const n = random.between(1, 12);
    const where = stream
      ? random.pick([
          random.between(stream.start, stream.end),
          stream.start,
          stream.end,
          stream.end + 1,
          Math.max(0, stream.start - 1),
        ])
      : 0;
    const from =
      kind === "offset"
        ? String(where)
        : kind === "last"
          ? `-${n}`
          : kind === "time"
            ? new Date(time).toISOString()
            : kind;
    const limit = random.chance(0.3) ? random.between(1, 6) : undefined;
    const key = random.chance(0.3) ? random.pick(["k1", "k2", "🔑", "none"]) : undefined;
    const parameters = {
      from,
      ...(limit !== undefined && { limit: String(limit) }),
      ...(key !== undefined && { key }),
    };
    const query = new URLSearchParams(parameters).toString();
    const answer = await this.#ask(stream, `${urlOf(path)}?${query}`, random.chance(0.5) ? { accept: LINES } : {});
    if (!stream) return this.#gone(path, answer, "lines");
    of.count(`read lines ${kind}${key === undefined ? "" : " key"}${limit === undefined ? "" : " limit"}`);
    if (kind === "time" && stream.records.some(({ timestamp }) => timestamp === undefined)) return;
    // Retention may be quicker than the next page: the last line says so.
    const isCut = stream.stale.length > 0 && textOf(answer.bytes).includes('{"error":{"code":"OFFSET_OUT_OF_RANGE"');
    if (isCut) return of.count("read lines cut by retention");
    this.fits(stream, `lines ${query}`, (shown) => {
      const { start, records } = shown;
      const { end } = stream;
      const begin =
        kind === "offset"
          ? where
          : kind === "last"
            ? Math.max(start, end - n)
            : kind === "earliest"
              ? start
              : kind === "latest"
                ? end
                : (records.find(({ timestamp }) => timestamp! >= time)?.offset ?? end);
      const refused = this.from(stream, shown, offsetText(begin), answer);
      if (typeof refused !== "number") return refused;
      const lines = textOf(answer.bytes).split("\n").slice(0, -1);
      const wanted = this.#mixed(stream, records, lines)
        .filter(({ offset, key: own }) => offset >= begin && (key === undefined || own === key))
        .slice(0, limit);
      if (lines.length !== wanted.length)
        return `${lines.length} lines, expected ${wanted.length} from ${begin} on: ${lines.join().slice(0, 300)}`;
      for (const [i, line] of lines.entries()) {
        const why = this.#lineOf(stream, line, wanted[i]!);
        if (why !== undefined) return why;
      }
      if (limit === undefined && numberIn(answer.headers.get("stream-next-offset")) !== Math.max(begin, end))
        return `next ${answer.headers.get("stream-next-offset")}`;
      return undefined;
    });
  }
}
