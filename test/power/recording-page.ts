/**
 * Runs a seeded history in a page, by the public API: appends with every level of acks, rolls, trims, retention and
 * compaction. A life ends by close() or by a simulated kill. The seed decides which calls are made; how they interleave
 * inside the worker depends on the browser.
 */
import { open, type Tide, type Topic, type TopicOptions } from "../../src/browser/index.ts";
import { Random } from "../simulation/prng.ts";
import type { HistoryOptions } from "./history.ts";
import type { Ending } from "./trace.ts";

const TOPICS: readonly (readonly [string, TopicOptions<string>])[] = [
  ["plain", { serializer: "text", retention: { maxRecords: 500 } }],
  ["keyed", { serializer: "text", compaction: true }],
];

const OPS = { append: 40, burst: 20, batch: 12, big: 4, roll: 4, clean: 5, trim: 4, settle: 8, read: 3 };

class History {
  readonly #random: Random;
  readonly #options: HistoryOptions;
  #records = 0;
  #underWay: Promise<unknown>[] = [];
  #worker: Worker | undefined;

  constructor(options: HistoryOptions) {
    this.#options = options;
    this.#random = new Random(options.seed);
  }

  async run(): Promise<void> {
    for (const ending of this.#options.endings) await this.#live(ending);
  }

  async #live(ending: Ending): Promise<void> {
    const { name, engine, slotBytes, ops, endings, marks } = this.#options;
    const worker = () => {
      this.#worker = new Worker(marks ? "/worker.js?marks" : "/worker.js", { type: "module" });
      this.#worker.addEventListener("error", (event) => reportError(new Error(`worker: ${event.message}`)));
      return this.#worker;
    };
    const tide = await open(name, { engine, segmentBytes: slotBytes, kernel: "/kernel.wasm", worker });
    const closed = new Promise<void>((resolve) => tide.on(({ type }) => type === "closed" && resolve()));
    const topics = TOPICS.map(([topic, options]) => tide.topic(topic, options));
    for (let op = 0; op < ops / endings.length; op++) await this.#step(this.#random.pick(topics));
    if (ending === "killed") {
      await this.#kill();
      await closed;
    } else {
      await this.#settle();
      await tide.close();
    }
    this.#underWay = [];
    await free(tide);
  }

  async #step(topic: Topic<string>): Promise<void> {
    const random = this.#random;
    const op = random.weighted(OPS);
    const acks = random.pick(["flushed", "flushed", "written", "accepted"] as const);
    if (op === "append") await this.#start(topic.append(this.#record(), { acks }));
    else if (op === "burst")
      for (let left = random.between(2, 12); left > 0; left--)
        void this.#start(
          topic.append(this.#record(), { acks: random.pick(["flushed", "written", "accepted"] as const) }),
        );
    else if (op === "batch")
      await this.#start(
        topic.appendBatch(
          Array.from({ length: random.between(2, 20) }, () => this.#record()),
          { acks },
        ),
      );
    else if (op === "big") void this.#start(topic.append(this.#record(random.between(8_000, 24_000)), { acks }));
    else if (op === "roll") void this.#start(topic.roll());
    else if (op === "clean") void this.#start(topic.clean());
    else if (op === "settle") await this.#settle();
    else if (op === "read") for await (const _ of topic.read({ from: { last: 20 } }));
    else await this.#trim(topic);
  }

  async #trim(topic: Topic<string>): Promise<void> {
    const { logStartOffset, highWatermark } = await topic.state();
    // Seldom all of it, since the log's start would then lie in the active segment.
    const share = this.#random.chance(0.2) ? 1 : 0.4;
    void this.#start(
      topic.trim(logStartOffset + this.#random.int(Math.floor((highWatermark - logStartOffset) * share) + 1)),
    );
  }

  /** A record with a unique value, which contains the seed and the record's number. */
  #record(bytes = this.#random.chance(0.1) ? this.#random.between(1000, 4000) : this.#random.between(10, 300)) {
    const random = this.#random;
    const id = `r${this.#options.seed}-${this.#records++}-`;
    const key = random.chance(0.9) ? `k${random.int(30)}` : null;
    if (key !== null && random.chance(0.05)) return { key, value: null };
    const value = id + String.fromCharCode(97 + random.int(26)).repeat(bytes);
    return random.chance(0.2) ? { key, value, headers: { of: id } } : { key, value };
  }

  /** Keeps a call under way. After a kill it rejects with CLOSED or OUTCOME_UNKNOWN, which is no failure here. */
  #start<T>(promise: Promise<T>): Promise<unknown> {
    const safe = promise.catch((thrown: unknown) => thrown);
    this.#underWay.push(safe);
    return safe;
  }

  async #settle(): Promise<void> {
    const failed = (await Promise.all(this.#underWay)).find((result) => result instanceof Error);
    if (failed) throw failed;
    this.#underWay = [];
  }

  async #kill(): Promise<void> {
    const orders = new BroadcastChannel("recorder");
    const dead = new Promise((resolve) => (orders.onmessage = resolve));
    orders.postMessage("die");
    await dead;
    orders.close();
    this.#worker!.terminate();
  }
}

/** Resolves when the page's lock on the tide's name is free: the browser releases it a little after the tide's end. */
async function free({ name }: Tide): Promise<void> {
  await navigator.locks.request(`tidemark:${name}`, () => undefined);
}

(globalThis as typeof globalThis & { record: unknown }).record = (options: HistoryOptions) =>
  new History(options).run();
document.title = "ready";
