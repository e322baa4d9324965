/** Imports of Kafka's segments into empty streams, whole or with the power cut in their middle. */
import type { Random } from "../prng.ts";
import { numberIn } from "./answers.ts";
import type { Appending } from "./appending.ts";
import { bytesOf, urlOf } from "./core.ts";
import type { Cuts, Sent, StruckAnswer } from "./cuts.ts";
import { tablesOf } from "./leftovers.ts";
import type { Held, ModelStream } from "./model.ts";

const BEGIN = "application/vnd.tidemark.import+json";
const PIECE = "application/vnd.tidemark.import-piece";
const IDLE_MS = 24 * 3_600_000;

interface Standing {
  readonly import: string;
  readonly file: number;
  readonly position: number;
  readonly done: boolean;
}

export class Imports {
  readonly #of: Appending;
  readonly #cuts: Cuts;

  constructor(of: Appending, cuts: Cuts) {
    this.#of = of;
    this.#cuts = cuts;
  }

  /** Segments of a stream of this type, in one file or two. */
  #files(random: Random, type: string): { records: Held[]; files: Buffer[] } {
    const of = this.#of;
    let offset = random.int(50);
    const records: Held[] = [];
    const parts: Uint8Array[] = [];
    for (let i = random.between(1, 12); i > 0; i--) {
      const { bytes, records: own } = of.batch(random, type);
      of.edge.stampBaseOffset(bytes, offset);
      parts.push(bytes);
      for (const each of own) records.push({ ...each, offset: offset++ });
      if (random.chance(0.4)) offset += random.int(6);
    }
    const cut = random.int(parts.length);
    const files = [parts.slice(0, cut), parts.slice(cut)]
      .filter((each) => each.length > 0)
      .map((each) => Buffer.concat(each));
    return { records, files };
  }

  async one(random: Random, isStruck: boolean): Promise<void> {
    const of = this.#of;
    const stream = await of.some(random);
    if (!stream) return;
    const { records, files } = this.#files(random, stream.type);
    const target = urlOf(stream.path);
    const asked = { files: files.map((file, i) => ({ name: `${i}.log`, bytes: file.length })) };
    const begin: Sent = {
      method: "POST",
      target,
      headers: { "content-type": BEGIN },
      body: bytesOf(JSON.stringify(asked)),
    };
    if (stream.closed || stream.fork || stream.end > 0) {
      const answer = await this.#ask(random, stream, begin, false);
      of.count("import refused");
      return stream.closed
        ? of.refused(stream, answer, 409, "import")
        : of.status(answer, 400, "import into a stream that is filled");
    }
    const ask = (sent: Sent): Promise<StruckAnswer> => this.#ask(random, stream, sent, isStruck);
    let answer = await ask(begin);
    let sent = begin;
    for (let tries = 0; ; tries++) {
      if (tries > 200) return of.fail("an import does not end");
      if (answer.status === 503) {
        // Nobody knows how far it is: the sender asks, or sends the same again.
        if (await this.#isTaken(stream, records)) of.count("import is taken behind a cut");
        if (random.chance(0.5)) sent = begin;
        answer = await ask(sent);
        continue;
      }
      of.status(answer, 200, "import");
      const standing = JSON.parse(Buffer.from(answer.bytes).toString()) as Standing;
      if (standing.done) break;
      if (stream.end > 0) return of.fail("an import that was taken is not done");
      if (isStruck && random.chance(0.03)) return this.#giveUp(stream);
      if (random.chance(0.2)) await of.reads.one(random, stream.path);
      if (random.chance(0.2)) of.platform.logOf(stream.path)!.evict();
      sent = this.#piece(random, target, files, standing);
      answer = await ask(sent);
    }
    this.#take(stream, records);
    of.count(isStruck ? "imported through cuts" : "imported");
    if (isStruck) await of.reads.whole(stream.path);
  }

  async #ask(random: Random, stream: ModelStream, sent: Sent, isStruck: boolean): Promise<StruckAnswer> {
    const of = this.#of;
    const answer =
      isStruck && random.chance(0.6)
        ? await this.#cuts.strike(random, [of.platform.hostOf(stream.path)], sent)
        : { ...(await of.ask(sent.method, sent.target, sent.headers, sent.body)), isCut: false };
    stream.touchedTo = of.now;
    if (answer.status === 503 && !answer.isCut) of.fail("import: 503 without a cut");
    return answer;
  }

  #piece(random: Random, target: string, files: readonly Buffer[], at: Standing): Sent {
    const file = files[at.file]!;
    const needed = file.readInt32BE(at.position + 8) + 12;
    const size = random.chance(0.5) ? file.length : random.between(needed, needed + 600);
    return {
      method: "POST",
      target: `${target}?import=${at.import}&file=${at.file}&position=${at.position}`,
      headers: { "content-type": PIECE },
      body: new Uint8Array(file.subarray(at.position, at.position + size)),
    };
  }

  /** All of it is there, or nothing. */
  async #isTaken(stream: ModelStream, records: Held[]): Promise<boolean> {
    const of = this.#of;
    if (stream.end > 0) return true;
    const head = await of.ask("HEAD", urlOf(stream.path));
    of.status(head, 200, "HEAD in an import");
    if (numberIn(head.headers.get("stream-next-offset")) === 0) return false;
    this.#take(stream, records);
    of.reads.describe(stream, head, "HEAD behind an import");
    return true;
  }

  #take(stream: ModelStream, records: Held[]): void {
    if (stream.end > 0) return;
    stream.records = records;
    for (const each of records) each.to = this.#of.now;
    stream.start = records[0]!.offset;
    stream.end = records.at(-1)!.offset + 1;
    stream.touchedFrom = stream.touchedTo = this.#of.now;
  }

  /** Nothing of it is left a day later. */
  async #giveUp(stream: ModelStream): Promise<void> {
    const of = this.#of;
    of.count("import given up");
    await of.platform.pass(IDLE_MS + 60_000);
    const left = tablesOf(of.platform, stream.path).filter((name) => name.startsWith("incoming"));
    if (left.length > 0) of.fail(`an import that was given up has left ${left.join()}`);
  }
}
