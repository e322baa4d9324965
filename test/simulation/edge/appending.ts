/** Steps that append, in each dialect, with producers and conditions; and those that close. */
import type { Random } from "../prng.ts";
import type { Fresh } from "./bodies.ts";
import { BATCHES, bytesOf, LINES, offsetText, PATHS, TYPES, urlOf } from "./core.ts";
import { Making } from "./making.ts";
import type { ModelStream } from "./model.ts";
import type { Answer } from "./platform.ts";

const PRODUCERS = ["p1", "p,2", "ü"];

export class Appending extends Making {
  async some(random: Random): Promise<ModelStream | undefined> {
    const path = this.path(random, true);
    const found = await this.observe(path);
    if (found) return found;
    if (random.chance(0.1)) {
      const answer = await this.ask("POST", urlOf(path), { "content-type": "text/plain" }, bytesOf("x"));
      this.status(answer, this.model.at.has(path) ? 410 : 404, "POST where no stream is");
    }
    const other = PATHS.find((each) => this.model.visible(each));
    return other === undefined ? undefined : this.observe(other);
  }

  async append(random: Random, given?: ModelStream): Promise<void> {
    const stream = given ? await this.observe(given.path) : await this.some(random);
    if (!stream) return;
    const made = this.body(random, stream.type);
    const { headers, failing, seq } = this.conditions(random, stream);
    const closing = random.chance(0.02);
    if (closing) headers["stream-closed"] = "true";
    const isOther = random.chance(0.03);
    const type = isOther ? TYPES.find((each) => each !== stream.type)! : made.headers["content-type"]!;
    const answer = await this.ask("POST", urlOf(stream.path), { "content-type": type, ...headers }, made.body);
    const wanted =
      stream.closed || isOther
        ? 409
        : seq !== undefined && stream.seq !== undefined && seq <= stream.seq
          ? 409
          : made.records === "bad" || made.records.length === 0
            ? 400
            : failing;
    if (wanted !== undefined) {
      this.count(`append refused ${wanted}`);
      this.refused(stream, answer, wanted, "append");
      return;
    }
    this.status(answer, 204, "append");
    this.took(stream, made.records as Fresh[], { seq, closing });
    this.appended(stream, answer, "append");
  }

  async lines(random: Random): Promise<void> {
    const stream = await this.some(random);
    if (!stream) return;
    const lines = Array.from({ length: random.between(1, 6) }, () => this.line(random, stream.type));
    const isBad = random.chance(0.05);
    if (isBad)
      lines.splice(random.int(lines.length), 1, {
        text: random.pick(["{", '{"x":1}', "[]", '{"value":"a","valueBase64":"AA=="}']),
        record: this.fresh(null, null),
      });
    const { headers, failing, seq } = this.conditions(random, stream);
    const body = bytesOf(lines.map(({ text }) => `${text}\n`).join(random.pick(["", "\n"])));
    const answer = await this.ask("POST", urlOf(stream.path), { "content-type": LINES, ...headers }, body);
    const wanted = stream.closed
      ? 409
      : seq !== undefined && failing !== undefined && stream.seq !== undefined && seq <= stream.seq
        ? 409
        : isBad
          ? 400
          : failing;
    // A large body is cut before its conditions are looked at.
    const isCutFirst = isBad && wanted === 409 && !stream.closed && answer.status === 400;
    if (wanted !== undefined) return this.refused(stream, answer, isCutFirst ? 400 : wanted, "lines");
    this.status(answer, 204, "lines");
    this.took(
      stream,
      lines.map(({ record }) => record),
      { seq },
    );
    this.appended(stream, answer, "lines");
    this.count("lines appended");
  }

  async batches(random: Random): Promise<void> {
    const stream = await this.some(random);
    if (!stream) return;
    const id = random.chance(0.5) ? random.between(1, 3) : undefined;
    const known = id === undefined ? undefined : stream.numbered.get(id);
    const way = known ? random.weighted({ next: 6, repeat: 3, gap: 1, fenced: 1, epoch: 1 }) : "next";
    const expected = random.chance(0.1) ? Math.max(0, stream.end - random.int(2)) : undefined;
    const headers: Record<string, string> = { "content-type": BATCHES };
    if (expected !== undefined) headers["stream-expected-offset"] = offsetText(expected);
    let epoch = known?.epoch ?? 0;
    let seq = known?.next ?? 0;
    if (way === "gap") seq += random.between(1, 3);
    if (way === "fenced") epoch -= 1;
    if (way === "epoch") [epoch, seq] = [epoch + 1, 0];
    if (way === "fenced" && epoch < 0) return;
    const count = way === "repeat" ? 1 : random.between(1, 3);
    const made = Array.from({ length: count }, () => {
      const one = this.batch(
        random,
        stream.type,
        id === undefined ? undefined : { producerId: id, producerEpoch: epoch, baseSequence: seq },
      );
      seq += one.records.length;
      return one;
    });
    const body = way === "repeat" ? known!.last.batch : new Uint8Array(Buffer.concat(made.map(({ bytes }) => bytes)));
    const answer = await this.ask("POST", urlOf(stream.path), headers, body);
    const what = `batches (${way})`;
    this.count(`batches ${way}`);
    if (stream.closed) return this.refused(stream, answer, 409, what);
    if (way === "fenced") return this.status(answer, 403, what);
    if (way === "repeat") {
      this.status(answer, 200, what);
      const { appended } = JSON.parse(Buffer.from(answer.bytes).toString()) as {
        appended: { baseOffset: number; duplicate: boolean }[];
      };
      if (appended[0]!.baseOffset !== known!.last.baseOffset || !appended[0]!.duplicate)
        this.fail(`${what}: ${JSON.stringify(appended)}, expected ${known!.last.baseOffset}`);
      return;
    }
    if (way === "gap" || (expected !== undefined && expected !== stream.end)) return this.status(answer, 409, what);
    this.status(answer, 200, what);
    const base = stream.end;
    this.took(
      stream,
      made.flatMap(({ records }) => records),
    );
    this.header(answer, "stream-next-offset", offsetText(stream.end), what);
    if (id === undefined) return;
    const last = made.at(-1)!;
    stream.numbered.set(id, {
      epoch,
      next: seq,
      last: { batch: last.bytes, baseOffset: stream.end - last.records.length },
    });
    void base;
  }

  /** An append of a producer by name. */
  async produce(random: Random): Promise<void> {
    const stream = await this.some(random);
    if (!stream) return;
    const id = random.pick(PRODUCERS);
    const known = stream.writers.get(id);
    const way = random.weighted({ next: 8, repeat: 3, gap: 1, fenced: 1, epoch: 2, badEpoch: 1 });
    let [epoch, seq] = known ? [known.epoch, known.seq + 1] : [0, 0];
    if (way === "repeat") seq = Math.max(0, seq - random.between(1, 2));
    if (way === "gap") seq += random.between(1, 3);
    if (way === "fenced") epoch--;
    if (way === "epoch") [epoch, seq] = [epoch + 1, 0];
    if (way === "badEpoch") [epoch, seq] = [epoch + 1, random.between(1, 3)];
    if (epoch < 0) return;
    const closing = random.chance(0.03);
    const isLines = random.chance(0.3);
    const made = isLines ? undefined : this.body(random, stream.type);
    const line = isLines ? this.line(random, stream.type) : undefined;
    const headers: Record<string, string> = {
      "content-type": isLines ? LINES : made!.headers["content-type"]!,
      "producer-id": id,
      "producer-epoch": String(epoch),
      "producer-seq": String(seq),
      ...(closing && { "stream-closed": "true" }),
    };
    const body = isLines ? bytesOf(line!.text) : made!.body!;
    const records = isLines ? [line!.record] : made!.records;
    headers["producer-id"] = encodeURIComponent(id);
    const answer = await this.ask("POST", urlOf(stream.path), headers, body);
    this.count(`produce ${way}`);
    this.judgeProduced(stream, { id, epoch, seq }, records, closing, answer);
  }

  judgeProduced(
    stream: ModelStream,
    producer: { id: string; epoch: number; seq: number },
    records: readonly Fresh[] | "bad",
    closing: boolean,
    answer: Answer,
  ): void {
    const { id, epoch, seq } = producer;
    const known = stream.writers.get(id);
    if (stream.closed) {
      const { closedBy } = stream;
      const isSame = closing && closedBy && closedBy.id === id && closedBy.epoch === epoch && closedBy.seq === seq;
      if (isSame) this.count("close repeated");
      return isSame ? this.status(answer, 204, "repeated close") : this.refused(stream, answer, 409, "produce");
    }
    if (known && epoch < known.epoch) {
      this.status(answer, 403, "fenced");
      return this.header(answer, "producer-epoch", String(known.epoch), "fenced");
    }
    if (!known || epoch > known.epoch) {
      if (seq !== 0) return this.status(answer, known ? 400 : 409, "new epoch");
    } else if (seq <= known.seq) {
      this.status(answer, 204, "repeat");
      this.header(answer, "producer-seq", String(known.seq), "repeat");
      this.header(answer, "stream-next-offset", offsetText(stream.end), "repeat");
      stream.touchedTo = this.now;
      return this.count("repeated");
    } else if (seq > known.seq + 1) {
      this.status(answer, 409, "gap");
      this.header(answer, "producer-expected-seq", String(known.seq + 1), "gap");
      return this.header(answer, "producer-received-seq", String(seq), "gap");
    }
    if (records === "bad" || records.length === 0) return this.status(answer, 400, "produce");
    this.status(answer, 200, "produce");
    this.took(stream, records, { closing });
    stream.writers.set(id, { epoch, seq });
    if (closing) stream.closedBy = producer;
    this.appended(stream, answer, "produce");
    this.header(answer, "producer-seq", String(seq), "produce");
  }

  /** Appends that don't wait for each other. */
  async burst(random: Random): Promise<void> {
    const stream = await this.some(random);
    if (!stream || stream.closed) return;
    const all = Array.from({ length: random.between(2, 12) }, () => {
      const { bytes, text } = this.value(random, "text/plain");
      const own = stream.isJson ? bytesOf(JSON.stringify(text)) : bytes;
      return own.length > 350 ? bytesOf("1") : own;
    });
    const { platform } = this;
    const answers = await platform.settled(
      Promise.all(
        all.map((body) => platform.request("POST", urlOf(stream.path), { "content-type": stream.type }, body)),
      ),
    );
    this.took(
      stream,
      all.map((bytes) => this.fresh(null, bytes)),
    );
    for (const each of stream.records.slice(-all.length)) Object.assign(each, { from: this.now - 1_000 });
    const ends = answers.map(({ headers }) => headers.get("stream-next-offset"));
    const first = stream.end - all.length;
    answers.forEach(({ status }, i) => {
      if (status !== 204 || ends[i] !== offsetText(first + i + 1)) this.fail(`burst ${i}: ${status} ${ends[i]}`);
    });
    this.trace.push(`burst of ${all.length} to ${stream.path}`);
    this.count("burst");
  }

  async close(random: Random): Promise<void> {
    const stream = await this.some(random);
    if (!stream) return;
    const headers: Record<string, string> = { "stream-closed": "true" };
    const isGood = random.chance(0.6);
    if (!isGood) headers["stream-expected-offset"] = offsetText(stream.end + 1);
    const answer = await this.ask("POST", urlOf(stream.path), headers);
    if (!stream.closed && !isGood) return this.status(answer, 409, "close at another end");
    this.status(answer, 204, "close");
    if (!stream.closed) this.count("closed alone");
    if (!stream.closed) stream.touchedFrom = this.now;
    stream.touchedTo = this.now;
    stream.closed = true;
    this.appended(stream, answer, "close");
  }
}
