/**
 * What a page does until it is struck:
 *
 *   two writers on "orders", one on each other topic   single appends and batches, `written` and `flushed`,
 *                                                      some pipelined
 *   a follower on each topic                           reads what arrives
 *   a reader                                           seeks somewhere and reads a stretch
 *   the keeper                                         rolls, retention, compaction, trims, each reported beforehand
 */
import { type Tide, TidemarkError, type Topic } from "../../../src/browser/index.ts";
import { Random } from "../../simulation/prng.ts";
import {
  type Audit,
  type Moment,
  type PageConfig,
  type SentRecord,
  TOPICS,
  type TopicName,
  WINDOW_RECORDS,
} from "../events.ts";
import { recordOf, valueOf } from "./records.ts";
import type { Wire } from "./wire.ts";

type Bytes = Topic<Uint8Array>;

const SETTINGS = {
  orders: {},
  window: { retention: { maxRecords: WINDOW_RECORDS } },
  latest: { compaction: { tombstoneRetentionMs: 0 }, codec: "gzip" },
  trimmed: {},
} as const;
/** A few batches of this size fill a slot of 64 KiB. */
const BATCH_BYTES = 16 * 1024;
const PIPELINE = 4;
const KEYS = 40;
const VALUES_PER_LIFE = 1_000_000;
/** Error codes that a correct log may answer with in this workload. */
const REFUSALS = new Set(["CLOSED", "BACKPRESSURE"]);

const codeOf = (thrown: unknown): string =>
  thrown instanceof TidemarkError ? thrown.code : ((thrown as { code?: string }).code ?? String(thrown));
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

export class Workload {
  readonly #topics: Record<TopicName, Bytes>;
  readonly #stopped = new AbortController();
  readonly #tasks: Promise<unknown>[] = [];
  #sent = 0;

  constructor(
    tide: Tide,
    readonly config: PageConfig,
    readonly wire: Wire,
  ) {
    this.#topics = topicsOf(tide);
  }

  start(): void {
    const random = (task: number): Random => new Random(this.config.seed, this.config.life, task);
    const writers: TopicName[] = ["orders", ...TOPICS];
    writers.forEach((topic, i) => this.#run(`writer-${i}`, (name) => this.#write(name, topic, random(i))));
    TOPICS.forEach((topic, i) => this.#run(`follower-${topic}`, (name) => this.#follow(name, topic, random(20 + i))));
    this.#run("reader", (name) => this.#read(name, random(40)));
    this.#run("keeper", () => this.#keep(random(41)));
  }

  /** Resolves when every task has ended and every call was answered. */
  async stop(): Promise<void> {
    this.#stopped.abort(Object.assign(new Error("the work is over"), { code: "CLOSED" }));
    await this.settled();
  }
  async settled(): Promise<void> {
    await Promise.all(this.#tasks);
  }

  #run(name: string, task: (process: string) => Promise<void>): void {
    const process = `${name}/${this.config.life}`;
    const done = task(process).catch((thrown: unknown) => {
      const expected = REFUSALS.has(codeOf(thrown)) || codeOf(thrown) === "OUTCOME_UNKNOWN";
      return expected ? undefined : this.wire.tell({ type: "problem", text: `${process}: ${String(thrown)}` });
    });
    this.#tasks.push(done);
  }

  // --- writers -------------------------------------------------------------------------------------------------------

  async #write(process: string, topic: TopicName, random: Random): Promise<void> {
    const underWay = new Set<Promise<void>>();
    while (!this.#stopped.signal.aborted) {
      const acks = random.chance(0.4) ? "written" : "flushed";
      const single = random.chance(0.3);
      const filler = random.int(random.pick([20, 200, 900]));
      const records = Array.from({ length: random.between(1, random.pick([1, 8, 40])) }, () =>
        this.#record(topic, random),
      );
      // The history has one operation per append call. All of them are in the ledger before the first call.
      const parts = single ? records.map((record) => [record]) : [records];
      const ops = parts.map(
        (part) =>
          ({ type: "append", id: this.wire.id(), at: this.wire.tick(), process, topic, acks, records: part }) as const,
      );
      await Promise.all(ops.map((op) => this.wire.tell(op)));
      for (const { id, records: sent } of ops) {
        const done: Promise<void> = this.#append(id, topic, sent, {
          acks,
          filler,
          single,
          late: random.between(20, 80),
        }).finally(() => underWay.delete(done));
        underWay.add(done);
      }
      if (underWay.size >= PIPELINE) await Promise.race(underWay);
    }
    await Promise.all(underWay);
  }

  #record(topic: TopicName, random: Random): SentRecord {
    const value = this.config.life * VALUES_PER_LIFE + ++this.#sent;
    if (topic !== "latest") return [value, null, 0];
    return [value, `k${random.int(KEYS)}`, random.chance(0.1) ? 1 : 0];
  }

  async #append(
    id: number,
    topic: TopicName,
    records: readonly SentRecord[],
    how: { acks: "written" | "flushed"; filler: number; single: boolean; late: number },
  ): Promise<void> {
    const { acks, filler, single, late } = how;
    if (this.config.earlyAck) {
      void this.wire.tell({ type: "done", id, at: this.wire.tick(), outcome: "ok" });
      await pause(late);
    }
    const inputs = records.map((record) => recordOf(record, filler));
    try {
      const log = this.#topics[topic];
      const { offset, duplicate } = await (single
        ? log.append(inputs[0]!, { acks })
        : log.appendBatch(inputs, { acks }));
      const offsets = records.map((_, i) => offset - records.length + 1 + i);
      if (this.config.earlyAck) return;
      await this.wire.tell({
        type: "done",
        id,
        at: this.wire.tick(),
        outcome: "ok",
        offsets,
        ...(duplicate && { duplicates: records.length }),
      });
    } catch (thrown) {
      const code = codeOf(thrown);
      if (code === "CLOSED") this.#stopped.abort(thrown);
      if (this.config.earlyAck) return;
      await this.wire.tell({
        type: "done",
        id,
        at: this.wire.tick(),
        outcome: code === "OUTCOME_UNKNOWN" ? "info" : "fail",
        code,
      });
      if (code !== "OUTCOME_UNKNOWN" && !REFUSALS.has(code))
        await this.wire.tell({ type: "problem", text: `append to ${topic}: ${String(thrown)}` });
    }
  }

  // --- readers -------------------------------------------------------------------------------------------------------

  async #follow(process: string, topic: TopicName, random: Random): Promise<void> {
    while (!this.#stopped.signal.aborted) {
      const from = random.pick(["earliest", "latest", { last: 50 }] as const);
      await this.#stretch(
        process,
        topic,
        { from, follow: true, maxBytes: random.pick([1, 4096, 65_536]) },
        random.between(10, 500),
      );
    }
  }

  async #read(process: string, random: Random): Promise<void> {
    while (!this.#stopped.signal.aborted) {
      const topic = random.pick(TOPICS);
      const { logStartOffset, highWatermark } = await this.#topics[topic].state();
      const from = random.chance(0.5)
        ? random.between(logStartOffset, highWatermark)
        : { timestamp: Date.now() - random.int(3000) };
      await this.#stretch(process, topic, { from, maxBytes: random.pick([1, 4096]) }, random.between(1, 10));
      await pause(random.int(20));
    }
  }

  /** Reads some batches from a random offset; each batch is a poll in the history. */
  async #stretch(
    process: string,
    topic: TopicName,
    options: {
      from: number | "earliest" | "latest" | { last: number } | { timestamp: number };
      follow?: boolean;
      maxBytes: number;
    },
    batches: number,
  ): Promise<void> {
    const from = this.wire.tick();
    await this.wire.tell({ type: "assign", at: from, process, topic });
    try {
      for await (const batch of this.#topics[topic].readBatches({ ...options, signal: this.#stopped.signal })) {
        const records = [...batch];
        // Batches are fetched ahead, so a poll may have begun at any time since the stretch began.
        await this.wire.tell({
          type: "poll",
          from,
          at: this.wire.tick(),
          process,
          topic,
          wholeLog: false,
          offsets: records.map(({ offset }) => offset),
          values: records.map(valueOf),
        });
        if (--batches === 0) return;
      }
    } catch (thrown) {
      // A trim or retention may remove the record that the reader asks for.
      const gone = codeOf(thrown) === "OFFSET_OUT_OF_RANGE" && (topic === "window" || topic === "trimmed");
      if (!gone) throw thrown;
    }
  }

  /** Reads the whole log as one poll. */
  async readAll(topic: TopicName): Promise<number> {
    const from = this.wire.tick();
    const offsets: number[] = [];
    const values: (number | string)[] = [];
    for await (const record of this.#topics[topic].read({ maxBytes: 256 * 1024 })) {
      offsets.push(record.offset);
      values.push(valueOf(record));
    }
    await this.wire.tell({
      type: "poll",
      from,
      at: this.wire.tick(),
      process: `auditor/${this.config.life}/${from}`,
      topic,
      wholeLog: true,
      offsets,
      values,
    });
    return offsets.length;
  }

  // --- the keeper ----------------------------------------------------------------------------------------------------

  async #keep(random: Random): Promise<void> {
    for (let turn = random.int(4); !this.#stopped.signal.aborted; turn++) {
      await pause(random.between(5, 40));
      const moment = (["roll", "retention", "compaction", "trim"] as const)[turn % 4]!;
      if (moment === "roll") await this.#told(moment, () => this.#topics[random.pick(TOPICS)].roll());
      else await this[moment](random);
    }
  }

  async retention(): Promise<void> {
    const { logStartOffset, highWatermark, segments } = await this.#topics.window.state();
    if (highWatermark - logStartOffset < WINDOW_RECORDS * 1.2 || segments.length < 2) return;
    await this.#told("retention", async () => ({ retired: (await this.#topics.window.clean()).retired.segments }));
  }

  async compaction(): Promise<void> {
    await this.#topics.latest.roll();
    await this.#told("compaction", async () => ({ compacted: (await this.#topics.latest.clean()).compacted.segments }));
  }

  async trim(random: Random): Promise<void> {
    const { logStartOffset, highWatermark } = await this.#topics.trimmed.state();
    if (highWatermark - logStartOffset < 100) return;
    const to = random.between(logStartOffset + 1, highWatermark);
    const id = this.wire.id();
    await this.wire.tell({ type: "trim", id, at: this.wire.tick(), topic: "trimmed", to });
    try {
      await this.#told("trim", () => this.#topics.trimmed.trim(to));
      await this.wire.tell({ type: "done", id, at: this.wire.tick(), outcome: "ok" });
    } catch (thrown) {
      // After an error the operation may have been done or not: its outcome is unknown.
      await this.wire.tell({ type: "done", id, at: this.wire.tick(), outcome: "info", code: codeOf(thrown) });
      throw thrown;
    }
  }

  async #told(moment: Moment, work: () => Promise<{ retired?: number; compacted?: number } | void>): Promise<void> {
    const id = this.wire.id();
    await this.wire.tell({ type: "begin", id, moment });
    const did = await work();
    await this.wire.tell({ type: "end", id, moment, ...did });
  }

  async shape(): Promise<Pick<Audit, "segments" | "cuts" | "scannedBytes" | "clean">> {
    const states = await Promise.all(TOPICS.map((topic) => this.#topics[topic].state()));
    for (const { name, quarantined } of states) {
      for (const { from, to, reason } of quarantined)
        await this.wire.tell({ type: "problem", text: `${name}: offsets ${from} to ${to} are quarantined: ${reason}` });
    }
    return {
      segments: states.reduce((sum, { segments }) => sum + segments.length, 0),
      cuts: states.filter(({ recovery }) => recovery.cut).length,
      clean: states.every(({ recovery }) => recovery.cleanShutdown),
      scannedBytes: states.reduce((sum, { recovery }) => sum + recovery.scannedBytes, 0),
    };
  }
}

function topicsOf(tide: Tide): Record<TopicName, Bytes> {
  const options = { serializer: "bytes", batchBytes: BATCH_BYTES } as const;
  return Object.fromEntries(
    TOPICS.map((name) => [name, tide.topic<Uint8Array>(name, { ...options, ...SETTINGS[name] })]),
  ) as Record<TopicName, Bytes>;
}
