/** The operations of a history. Each starts as a client would start it; most still run when the next ones begin. */
import type { Log } from "../../src/log/log.ts";
import type { LogAppendOptions } from "../../src/log/types.ts";
import { decodeBatch } from "../../src/record/record-batch.ts";
import { checkFetched, checkNoSkip, noteRecords } from "./check.ts";
import type { Life, Tail } from "./life.ts";
import type { LogModel } from "./model.ts";
import { Violation } from "./model.ts";
import type { Action, Op } from "./plan.ts";
import { honestRefusals, INFLIGHT_MAX, type Producer, send } from "./producers.ts";
import { makeBatch, type SentBatch } from "./records.ts";
import type { Simulation } from "./simulation.ts";

type Of<T extends Action["type"]> = Extract<Op, { readonly type: T }>;

const WEEK_MS = 7 * 24 * 3_600_000;
/** Records that are late by this much are older than any retention age in the plans. */
const LATE_MS = 30 * 24 * 3_600_000;

export class Actions {
  readonly #sim: Simulation;
  #ids = 0;

  constructor(sim: Simulation) {
    this.#sim = sim;
  }

  async perform(op: Op): Promise<void> {
    const { life, random } = this.#sim;
    switch (op.type) {
      case "append":
        this.#append(op);
        break;
      case "duplicate":
        this.#duplicate(op);
        break;
      case "bad-append":
        this.#badAppend(op);
        break;
      case "new-epoch":
        await this.#newEpoch(op);
        break;
      case "fetch":
        this.#fetch(op);
        break;
      case "tail":
        this.#tail(op);
        break;
      case "abort-tails":
        for (const tail of life.tails) tail.abort.abort();
        break;
      case "resolve":
        this.#resolve(op);
        break;
      case "trim":
      case "roll":
      case "clean":
        this.#change(op);
        break;
      case "advance":
        this.#advance(op.ms);
        break;
      case "fault":
        life.volume.arm(op.kind, op.after);
        break;
      default:
        break;
    }
    if (op.type === "settle" || random.chance(0.2)) await life.settle();
    else await life.steps(random.int(8));
  }

  #parts(at: number): { life: Life; log: Log; model: LogModel } {
    const { life, models } = this.#sim;
    return { life, log: life.logs[at]!, model: models[at]! };
  }

  // --- appends -----------------------------------------------------------------------------------------------------

  #make(
    at: number,
    producer: Producer,
    wish: { records: number; bytes: number; gzip: boolean; baseSequence?: number; epoch?: number; lateMs?: number },
  ): SentBatch {
    const { kernel, clock, random, plan } = this.#sim;
    const { keys, compaction } = plan.world.logs[at]!;
    return makeBatch({
      kernel,
      random,
      producerId: producer.id,
      epoch: wish.epoch ?? (producer.anonymous ? -1 : producer.epoch),
      baseSequence: wish.baseSequence ?? (producer.anonymous ? -1 : producer.nextSequence),
      records: wish.records,
      bytes: wish.bytes,
      keys,
      tombstones: compaction !== undefined,
      uniform: plan.world.uniform,
      gzip: wish.gzip,
      now: clock.ms,
      lateMs: wish.lateMs ?? 0,
      nextId: () => `${at}.${producer.id}.${String(++this.#ids).padStart(4, "0")}`,
    });
  }

  #append(op: Of<"append">): void {
    const { life, log, model } = this.#parts(op.log);
    const producer = this.#sim.producers[op.log]![op.producer]!;
    producer.restart();
    if (producer.refusedAt !== undefined || producer.open >= INFLIGHT_MAX) return;
    const batch = this.#make(op.log, producer, { ...op, lateMs: op.id % 7 === 0 ? LATE_MS : 0 });
    producer.add(batch);
    model.send(batch);
    const options: LogAppendOptions = {
      acks: op.acks,
      ...(op.ifEnd && { ifEnd: log.logEndOffset + (op.ifEnd === "right" ? 0 : 3) }),
    };
    // Which earlier batches may fail is known now; which did fail is known only when this batch is answered.
    const before = honestRefusals(life, producer, model);
    const allowed = (): string[] => [
      ...before,
      ...honestRefusals(life, producer, model, producer.underWay > 1),
      ...(op.ifEnd ? ["OFFSET_CONFLICT"] : []),
    ];
    this.#send(op.log, producer, batch, options, allowed, true);
  }

  #send(
    at: number,
    producer: Producer,
    batch: SentBatch,
    options: LogAppendOptions,
    allowed: () => readonly string[],
    first: boolean,
  ): void {
    const { counters, trace } = this.#sim;
    const { life, log, model } = this.#parts(at);
    counters.add("append");
    life.start("append", () =>
      send({ life, log, model, producer, batch, options, counters, trace, allowed, first, expectDuplicate: undefined }),
    );
  }

  /** Sends the same batch again while the first try is under way or answered: the log must hold it once. */
  #duplicate(op: Of<"duplicate">): void {
    const { life, model } = this.#parts(op.log);
    const producer = this.#sim.producers[op.log]![op.producer]!;
    if (producer.anonymous || producer.refusedAt !== undefined || model.lost.length > 0) return;
    const recent = producer.batches.slice(-INFLIGHT_MAX);
    const batch = recent.find((each) => each.underWay > 0) ?? recent[recent.length - 1 - op.back];
    if (!batch || batch.state === "refused") return;
    this.#send(
      op.log,
      producer,
      batch,
      { acks: op.acks },
      () => honestRefusals(life, producer, model, producer.underWay > 1),
      false,
    );
  }

  /** Appends a bad batch: the log must refuse it, and no read may ever show it. */
  #badAppend(op: Of<"bad-append">): void {
    const { life, log, model } = this.#parts(op.log);
    const producer = this.#sim.producers[op.log]![op.producer]!;
    const last = producer.batches.at(-1);
    // A log may have forgotten the producer. Or it had the last batch in memory only, as `accepted` allows, and found
    // no room for it since. In both cases it can't recognise a wrong sequence.
    const isKept =
      last?.state === "acked" && last.level !== "accepted" && producer.underWay === 0 && model.lost.length === 0;
    const sequenced = isKept && model.plan.producersMax >= model.plan.producers && !producer.anonymous;
    const wish = { records: 1, bytes: 20, gzip: false };
    let batch: SentBatch;
    let codes: string[];
    if (op.fault === "gap" && sequenced) {
      batch = this.#make(op.log, producer, { ...wish, baseSequence: producer.nextSequence + 7 });
      codes = ["OUT_OF_ORDER_SEQUENCE"];
    } else if (op.fault === "stale-epoch" && sequenced && producer.epoch > 0) {
      batch = this.#make(op.log, producer, { ...wish, epoch: producer.epoch - 1 });
      codes = ["FENCED_PRODUCER"];
    } else if (op.fault === "other-bytes" && sequenced) {
      batch = this.#make(op.log, producer, { ...wish, records: last.records.length, baseSequence: last.baseSequence });
      codes = ["SEQUENCE_CONFLICT"];
    } else if (op.fault === "too-large") {
      batch = this.#make(op.log, producer, { records: 8, bytes: 40, gzip: false });
      batch = { ...batch, bytes: grown(batch.bytes, 64 * 1024) };
      codes = ["BATCH_TOO_LARGE", "RECORD_TOO_LARGE", "INVALID_BATCH"];
    } else {
      batch = this.#make(op.log, producer, wish);
      batch.bytes[batch.bytes.length - 1]! ^= 0x10;
      codes = ["INVALID_BATCH"];
    }
    this.#sim.counters.add(`refuse.${op.fault}`);
    life.start("append", async () => {
      try {
        const result = await log.append(batch.bytes, { acks: "accepted" });
        if (!life.dead) throw new Violation("bad-append-accepted", `${op.fault} at ${result.baseOffset}`);
      } catch (error) {
        if (!life.dead)
          this.#sim.trace.add(life.judge(op.fault, error, [...codes, ...honestRefusals(life, producer, model)]).code);
      }
    });
  }

  async #newEpoch(op: Of<"new-epoch">): Promise<void> {
    const producer = this.#sim.producers[op.log]![op.producer]!;
    if (producer.anonymous) return;
    await this.#sim.life.settle();
    if (!this.#sim.life.broken) producer.newEpoch();
  }

  // --- reads -------------------------------------------------------------------------------------------------------

  #fetch(op: Of<"fetch">): void {
    const { life, log, model } = this.#parts(op.log);
    const { random, counters } = this.#sim;
    const isolation = op.committed ? "committed" : "provisional";
    const { logStartOffset: start, logEndOffset: end } = log;
    const from = {
      start,
      end,
      middle: start + random.int(end - start + 1),
      outside: random.chance(0.5) ? end + 3 : start - 1,
    }[op.from];
    counters.add("fetch");
    life.start("fetch", async () => {
      try {
        const fetched = await log.fetch(from, { maxBytes: op.maxBytes, isolation, verify: op.verify });
        if (life.dead) return;
        const limit = op.committed ? log.highWatermark : log.logEndOffset;
        if (!model.plan.compaction) checkNoSkip(fetched.bytes, from);
        for (const bytes of checkFetched(fetched, from, op.maxBytes, limit))
          noteRecords(model, await decodeBatch(this.#sim.kernel, bytes), () => {});
      } catch (error) {
        if (!life.dead)
          this.#judgeRead(life, model, `fetch from ${from}`, error, from < log.logStartOffset || from > end);
      }
    });
  }

  #judgeRead(life: Life, model: LogModel, what: string, error: unknown, outside: boolean): void {
    const damaged = this.#sim.rotten.length > 0 || model.lost.length > 0 || life.volume.readFailed;
    const { code } = life.judge(what, error, [
      ...(outside ? ["OFFSET_OUT_OF_RANGE"] : []),
      ...(damaged ? ["CORRUPT_RANGE"] : []),
    ]);
    this.#sim.trace.add(code);
  }

  /** Starts a reader that waits at the end of the log: it must wake when a record arrives. */
  #tail(op: Of<"tail">): void {
    const { life, log, model } = this.#parts(op.log);
    const from = op.committed ? log.highWatermark : log.logEndOffset;
    const tail: Tail = { log: op.log, from, committed: op.committed, abort: new AbortController(), answered: false };
    life.tails.push(tail);
    this.#sim.counters.add("tail");
    const { signal } = tail.abort;
    log.fetch(from, { wait: true, isolation: op.committed ? "committed" : "provisional", signal }).then(
      async (fetched) => {
        tail.answered = true;
        if (life.dead) return;
        if (fetched.bytes.length === 0)
          life.failure ??= new Violation("tail-empty", `a reader at ${from} was woken for nothing`);
        try {
          for (const bytes of checkFetched(fetched, from, Infinity, log.logEndOffset))
            noteRecords(model, await decodeBatch(this.#sim.kernel, bytes), () => {});
        } catch (error) {
          this.#tailFailed(life, model, tail, error);
        }
      },
      (error: unknown) => {
        tail.answered = true;
        if (!life.dead) this.#tailFailed(life, model, tail, error);
      },
    );
  }

  #tailFailed(life: Life, model: LogModel, tail: Tail, error: unknown): void {
    if (tail.abort.signal.aborted && !(error instanceof Violation)) return;
    try {
      this.#judgeRead(
        life,
        model,
        `reader waiting at ${tail.from}`,
        error,
        tail.from < life.logs[tail.log]!.logStartOffset,
      );
    } catch (violation) {
      life.failure ??= violation;
    }
  }

  #resolve(op: Of<"resolve">): void {
    const { life, log, model } = this.#parts(op.log);
    const { random, clock } = this.#sim;
    const timestamp = clock.ms - random.int(10_000_000);
    const last = random.int(10);
    life.start("resolve", async () => {
      for (const position of [{ timestamp }, { last }, "latest", "earliest"] as const) {
        const low = log.logStartOffset;
        try {
          const offset = await log.resolve(position);
          if (life.dead) return;
          if (!(offset >= low && offset <= log.logEndOffset))
            throw new Violation("position", `${JSON.stringify(position)} is ${offset}, log ${low}…${log.logEndOffset}`);
        } catch (error) {
          if (!life.dead) this.#judgeRead(life, model, "resolve", error, log.logStartOffset > low);
        }
      }
    });
  }

  // --- changes -----------------------------------------------------------------------------------------------------

  #change(op: Of<"trim"> | Of<"roll"> | Of<"clean">): void {
    const { life, log, model } = this.#parts(op.log);
    const { counters, clock, trace, rotten } = this.#sim;
    const work = this.#changeWork(op, log, model);
    counters.add(op.type);
    if (op.type === "clean" && model.plan.compaction)
      life.doing.set("compaction", (life.doing.get("compaction") ?? 0) + 1);
    life.start(op.type, async () => {
      try {
        await work();
        if (!life.dead) trace.add(`${op.type} done`, log.logStartOffset, clock.ms);
      } catch (error) {
        if (life.dead) return;
        const allowed = [
          ...(life.volume.slotsRefused ? ["QUOTA_EXCEEDED"] : []),
          ...(rotten.length > 0 ? ["CORRUPT_RANGE", "STORAGE_FAILED"] : []),
        ];
        trace.add(life.judge(op.type, error, life.volume.readFailed ? [...allowed, "CORRUPT_RANGE"] : allowed).code);
      } finally {
        if (op.type === "clean" && model.plan.compaction)
          life.doing.set("compaction", life.doing.get("compaction")! - 1);
      }
    });
  }

  #changeWork(op: Of<"trim"> | Of<"roll"> | Of<"clean">, log: Log, model: LogModel): () => Promise<void> {
    const { life, counters, clock } = this.#sim;
    if (op.type === "roll") return () => log.roll();
    if (op.type === "trim") {
      const offset = log.logStartOffset + Math.floor(op.part * (log.highWatermark - log.logStartOffset));
      model.trimming(offset);
      return async () => {
        if (op.part === 1) await log.roll();
        await log.trim(offset);
        if (!life.dead) model.trimmed(offset);
      };
    }
    model.seeSegments(log.segments(), clock.ms, life.underWay === 0);
    model.cleaning(clock.ms);
    return async () => {
      const { compacted, retired } = await log.clean();
      if (compacted.segments > 0) counters.add("compacted");
      if (compacted.recordsRemoved > 0) counters.add("compacted.records", compacted.recordsRemoved);
      if (retired.segments > 0) counters.add("retired");
      if (!life.dead) model.cleaning(clock.ms);
    };
  }

  #advance(ms: number): void {
    const { life, models, clock, counters } = this.#sim;
    for (const [at, log] of life.logs.entries()) models[at]!.seeSegments(log.segments(), clock.ms, life.underWay === 0);
    clock.advance(Math.max(ms, -clock.ms));
    if (ms < 0) counters.add("clock.back");
    if (Math.abs(ms) > WEEK_MS) counters.add("clock.jump");
    // A cleaning that is under way may read the clock only now.
    for (const model of models) {
      if (ms < 0) model.wentBack(clock.ms);
      if (life.isDoing("clean")) model.cleaning(clock.ms);
    }
  }
}

/** A batch whose header claims more bytes than any slot holds. */
function grown(bytes: Uint8Array, length: number): Uint8Array {
  const large = new Uint8Array(length);
  large.set(bytes);
  new DataView(large.buffer).setInt32(8, length - 12);
  return large;
}
