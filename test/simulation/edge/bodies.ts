/** What is sent to a stream: values, bodies in each dialect, conditions; and what of it the model takes. */
import type { Random } from "../prng.ts";
import { bytesOf, Core, LINES, offsetText, PATHS } from "./core.ts";
import type { Held, ModelStream } from "./model.ts";
import type { Answer } from "./platform.ts";

const KEYS = ["k1", "k2", "k3", "k4", "schlüssel", "🔑"];

export type Fresh = Omit<Held, "offset">;
export interface Made {
  readonly headers: Record<string, string>;
  readonly body: Uint8Array | undefined;
  readonly records: readonly Fresh[] | "bad";
}

export class Bodies extends Core {
  #names = 0;

  value(random: Random, type: string): { text: string; bytes: Uint8Array } {
    const name = `${this.#names++}`;
    const size = random.chance(0.15) ? random.between(200, 900) : random.int(40);
    const fill = random.pick(["x", "é", "€uro ", "🌊"]).repeat(size).slice(0, size);
    const clean = /[\ud800-\udbff]$/.test(fill) ? fill.slice(0, -1) : fill;
    if (type !== "application/json") return { text: `${name}.${clean};`, bytes: bytesOf(`${name}.${clean};`) };
    const text = random.pick([
      JSON.stringify(`${name}${clean}`),
      `{"n":${name},"v":${JSON.stringify(clean)}}`,
      `1${name}.50`,
      `{"n" : ${name}, "a":[1,[2],{}]}`,
      random.pick(["null", "true", "[]", "{}", "1e400", "123456789012345678901234567890"]),
    ]);
    return { text, bytes: bytesOf(text) };
  }

  fresh(key: string | null, value: Uint8Array | null, headers: Fresh["headers"] = [], timestamp?: number): Fresh {
    return { key, value, headers, timestamp, from: this.now, to: Infinity };
  }

  /** A body in the stream's own type. */
  body(random: Random, type: string): Made {
    const headers = {
      "content-type": random.chance(0.1) && type !== "application/octet-stream" ? `${type}; charset=utf-8` : type,
    };
    if (type !== "application/json") {
      const { bytes } = this.value(random, type);
      return { headers, body: bytes, records: [this.fresh(null, bytes)] };
    }
    if (random.chance(0.05))
      return { headers, body: bytesOf(random.pick(["{", "[1,", "nul", '"a', "[1]x", "[,]"])), records: "bad" };
    if (random.chance(0.03)) return { headers, body: bytesOf("[]"), records: [] };
    const isArray = random.chance(0.6);
    const values = Array.from({ length: isArray ? random.between(1, 5) : 1 }, () => this.value(random, type));
    // A value that is an array would be flattened.
    const alone = values[0]!.text === "[]" ? { text: "0", bytes: bytesOf("0") } : values[0]!;
    const space = random.pick(["", " ", "\n"]);
    const list = isArray ? values : [alone];
    const text = isArray ? `[${values.map((each) => each.text).join(`${space},${space}`)}${space}]` : alone.text;
    return { headers, body: bytesOf(text), records: list.map(({ bytes }) => this.fresh(null, bytes)) };
  }

  /** Mostly one where a stream is, or where none is. */
  path(random: Random, isThere: boolean): string {
    const paths = PATHS.filter((path) => this.model.at.has(path) === isThere);
    return paths.length > 0 && random.chance(0.9) ? random.pick(paths) : random.pick(PATHS);
  }

  /** A condition for an append, and whether it holds. */
  conditions(
    random: Random,
    stream: ModelStream,
  ): { headers: Record<string, string>; failing: number | undefined; seq: string | undefined } {
    const headers: Record<string, string> = {};
    let failing: number | undefined;
    let seq: string | undefined;
    if (random.chance(0.12)) {
      seq = random.chance(0.8) ? `${stream.seq ?? ""}${random.pick(["a", "b", "1"])}` : random.pick(["0", "a", "b,c"]);
      headers["stream-seq"] = seq;
      if (stream.seq !== undefined && seq <= stream.seq) failing = 409;
    }
    if (random.chance(0.12)) {
      const wanted = random.chance(0.7) ? stream.end : Math.max(0, stream.end + random.between(-2, 2));
      headers["stream-expected-offset"] = offsetText(wanted);
      if (wanted !== stream.end) failing ??= 409;
    }
    return { headers, failing, seq };
  }

  line(random: Random, type: string): { text: string; record: Fresh } {
    const key = random.chance(0.8) ? random.pick(KEYS) : null;
    const headers: [string, string | null][] = random.chance(0.3)
      ? [
          ["h", random.pick(["1", "ü", ""])],
          ["2", null],
        ]
      : [];
    const timestamp = random.chance(0.3) ? this.now - random.int(1_000_000) : undefined;
    const members: string[] = [];
    if (key !== null || random.chance(0.3)) members.push(`"key":${JSON.stringify(key)}`);
    if (headers.length > 0) members.push(`"headers":${JSON.stringify(headers)}`);
    if (timestamp !== undefined) members.push(`"timestamp":${timestamp}`);
    let value: Uint8Array | null = null;
    if (random.chance(0.2)) members.push('"value":null');
    else {
      const made = this.value(random, type);
      value = made.bytes;
      if (type === "application/json")
        members.push(`"value":${made.text}${made.text === "null" ? ',"tombstone":false' : ""}`);
      else if (type === "text/plain") members.push(`"value":${JSON.stringify(made.text)}`);
      else members.push(`"valueBase64":"${Buffer.from(made.bytes).toString("base64")}"`);
    }
    return { text: `{${members.join(",")}}`, record: this.fresh(key, value, headers, timestamp) };
  }

  batch(
    random: Random,
    type: string,
    producer?: { producerId: number; producerEpoch: number; baseSequence: number },
  ): { bytes: Uint8Array; records: Fresh[] } {
    const { BatchBuilder } = this.edge;
    const builder = new BatchBuilder(this.reads.kernel);
    const records = Array.from({ length: random.between(1, 5) }, () => {
      const { record } = this.line(random, type);
      const timestamp = record.timestamp ?? this.now;
      return { ...record, timestamp };
    });
    for (const { key, value, headers, timestamp } of records)
      builder.tryAppend({
        key: key === null ? null : bytesOf(key),
        value,
        timestamp,
        headers: headers.map(([name, text]) => [name, text === null ? null : bytesOf(text)] as const) as never,
      });
    return { bytes: builder.build(producer ?? { producerId: -1, producerEpoch: -1, baseSequence: -1 }), records };
  }
  took(
    stream: ModelStream,
    records: readonly Fresh[],
    more: { seq?: string | undefined; closing?: boolean } = {},
  ): void {
    const closedNow = more.closing && !stream.closed;
    stream.add(records);
    for (let i = stream.records.length - records.length; i < stream.records.length; i++)
      stream.records[i]!.to = this.now;
    if (more.seq !== undefined) stream.seq = more.seq;
    if (closedNow) {
      stream.closed = true;
      this.count("closed");
    }
    stream.touchedFrom = stream.touchedTo = this.now;
    this.count("appended");
  }

  refused(stream: ModelStream, answer: Answer, wanted: number, what: string): void {
    this.status(answer, wanted, what);
    if (!stream.closed || wanted !== 409) return;
    this.header(answer, "stream-closed", "true", `${what} to a closed stream`);
    this.header(answer, "stream-next-offset", offsetText(stream.end), `${what} to a closed stream`);
  }
  appended(stream: ModelStream, answer: Answer, what: string): void {
    this.header(answer, "stream-next-offset", offsetText(stream.end), what);
    this.header(answer, "stream-closed", stream.closed ? "true" : null, what);
  }
}
