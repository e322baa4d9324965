/**
 * Runs one history, from an empty disk to the last check. It does what the plan says: opens, operations, ends of lives.
 * After each open everything is read and compared with the model.
 *
 *   open ─► check ─► re-send ─► operations … ─► crash or close ─► (rot) ─► open ─► …
 *     └── a crash inside: open again
 */
import { TidemarkError } from "../../src/errors.ts";
import type { Kernel } from "../../src/kernel/types.ts";
import { Log } from "../../src/log/log.ts";
import { SegmentStore } from "../../src/store/segment-store.ts";
import { Actions } from "./actions.ts";
import { checkPositions, checkReading, readAll, type Reading } from "./check.ts";
import { SimClock } from "./clock.ts";
import { Counters } from "./counters.ts";
import { Disk, type Rot } from "./disk.ts";
import { FaultyVolume } from "./faulty-volume.ts";
import { Life, LifeOver } from "./life.ts";
import { LogModel, Violation } from "./model.ts";
import type { CrashKind, LogPlan, Op, Plan, Reopen } from "./plan.ts";
import { Random } from "./prng.ts";
import { Producer } from "./producers.ts";
import { checkReport, checkTwice, type Ended } from "./recovery-check.ts";
import { resendAll } from "./resend.ts";
import { Scheduler } from "./scheduler.ts";
import { Trace } from "./trace.ts";

export interface Failure {
  readonly check: string;
  readonly message: string;
  readonly stack: string;
  /** The operation that was going on. */
  readonly op: Op | undefined;
}

export interface RunResult {
  readonly seed: number;
  readonly hash: string;
  readonly counters: Readonly<Record<string, number>>;
  readonly failure: Failure | undefined;
  readonly lines: readonly string[] | undefined;
}

/** Ends the history without a failure: the catalog was lost to faults beyond the promises. */
class Unrecoverable extends Error {}

const CALM: Reopen = { crashes: [], rot: false, twice: false, resend: true };

export class Simulation {
  readonly plan: Plan;
  readonly kernel: Kernel;
  readonly counters = new Counters();
  readonly trace: Trace;
  readonly clock = new SimClock();
  readonly scheduler: Scheduler;
  readonly disk: Disk;
  readonly models: LogModel[];
  readonly producers: Producer[][];
  life!: Life;
  /** The crash that an operation has armed. */
  armed: { kind: CrashKind; reopen: Reopen } | undefined;
  random: Random;
  rotten: Rot[] = [];
  /**
   * True once a read lied in some life: the log may have noted damage that is none, so damage is read twice.
   */
  lied = false;
  /** How the last life ended: it decides what must have survived. */
  #ended: Ended = { kind: "power", clean: false };
  #op: Op | undefined;
  /** A slot was refused in the last life: a batch that was only accepted may have lost its offset to a later one. */
  #refusedBefore = false;
  #lives = 0;

  constructor(plan: Plan, kernel: Kernel, keepLines = false) {
    this.plan = plan;
    this.kernel = kernel;
    this.trace = new Trace(keepLines);
    this.random = new Random(plan.seed, 2, 0);
    this.scheduler = new Scheduler(this.random);
    const { slotBytes, slotsMax, buffered, losesNames, stale, staleAcrossLives } = plan.world;
    this.disk = new Disk(
      { slotBytes, slotsMax, buffered, losesNames, keepsOlder: stale, staleAcrossLives },
      this.counters,
    );
    this.models = plan.world.logs.map((log) => new LogModel(log));
    this.producers = plan.world.logs.map(makeProducers);
  }

  async run(): Promise<RunResult> {
    let failure: Failure | undefined;
    try {
      await this.#live();
    } catch (error) {
      if (!(error instanceof Unrecoverable)) failure = describeFailure(error, this.#op);
      else this.counters.add("end.catalog-lost");
    }
    this.life?.end();
    if (failure) this.trace.add(`failed ${failure.check}`);
    const { hash, lines } = this.trace;
    return { seed: this.plan.seed, hash, counters: this.counters.counts, failure, lines };
  }

  async #live(): Promise<void> {
    const actions = new Actions(this);
    await this.#begin(CALM);
    for (const op of this.plan.ops) {
      this.#op = op;
      this.random = new Random(this.plan.seed, 2, op.id);
      this.scheduler.random = new Random(this.plan.seed, 3, op.id);
      this.trace.add(op.type, op.id);
      await this.#surviving(async () => {
        if (this.life.broken || (this.life.volume.failed && this.random.chance(0.3))) await this.#restart(op.id);
        if (op.type === "crash") await this.#armCrash(op.kind, op.after, op.reopen);
        else if (op.type === "close") await this.#close(op.kind, op.reopen);
        else if (op.type === "check") await this.#checkNow();
        else await actions.perform(op);
      });
    }
    this.#op = undefined;
    this.scheduler.random = this.random = new Random(this.plan.seed, 4);
    await this.#surviving(() => this.#checkNow());
    for (const kind of ["power", "kill"] as const) await this.#surviving(() => this.#close(kind, CALM));
  }

  /** Runs a part of the history. When the life ends in it, the next life begins. */
  async #surviving(part: () => Promise<void>): Promise<void> {
    try {
      await part();
    } catch (error) {
      if (!(error instanceof LifeOver)) throw error;
      await this.#crashed();
    }
  }

  // --- ends --------------------------------------------------------------------------------------------------------

  async #armCrash(kind: CrashKind, after: number, reopen: Reopen): Promise<void> {
    if (this.armed) {
      await this.#crashed();
      return;
    }
    this.armed = { kind, reopen };
    this.scheduler.crashAfter(after);
  }

  /** Ends the life by the armed crash, or at once if the crash has not come. */
  async #crashed(): Promise<void> {
    const { kind, reopen } = this.armed ?? { kind: "kill" as const, reopen: CALM };
    await this.#endLife(kind);
    await this.#begin(reopen);
  }

  async #endLife(kind: CrashKind): Promise<void> {
    const { life, scheduler, counters } = this;
    this.#refusedBefore ||= life.volume.slotsRefused;
    // Answers that were already given arrive; they were true before the crash, so they count.
    await scheduler.drain();
    if (life.failure) throw life.failure;
    const { inflight } = life.volume;
    this.lied ||= life.volume.readFailed;
    life.end();
    scheduler.takeWaiting();
    this.armed = undefined;
    if (inflight.some(({ slot }) => slot < 2)) counters.add("crash.in-catalog");
    for (const label of ["open", "roll", "trim", "clean", "compaction", "append"])
      if (life.isDoing(label)) counters.add(`crash.in-${label}`);
    this.trace.add(`end ${kind}`, inflight.length);
    if (kind === "power") this.disk.powerCut(this.random, inflight);
    else this.disk.kill(this.random, inflight);
    this.#ended = { kind: this.#ended.kind === "power" ? "power" : kind, clean: false };
  }

  /** After a failed write or flush the same process opens the volume again. The system's cache is kept. */
  async #restart(id: number): Promise<void> {
    this.counters.add("restart");
    await this.life.settle();
    this.life.closing = true;
    for (const log of this.life.logs)
      await this.life.wait(log.close().catch((error: unknown) => void this.life.judge("close", error, [])));
    await this.life.wait(this.life.store!.close().catch((error: unknown) => void this.life.judge("close", error, [])));
    const { armed } = this;
    await this.#endLife("kill");
    this.random = new Random(this.plan.seed, 5, id);
    await this.#begin(CALM);
    if (armed) await this.#armCrash(armed.kind, this.random.int(10), armed.reopen);
  }

  async #close(kind: CrashKind, reopen: Reopen): Promise<void> {
    const { life } = this;
    if (this.random.chance(0.5)) await life.settle();
    life.closing = true;
    life.doing.set("close", 1);
    for (const [at, log] of life.logs.entries()) {
      await life.wait(log.close().catch((error: unknown) => void life.judge(`close of log ${at}`, error, [])));
    }
    await life.wait(life.store!.close().catch((error: unknown) => void life.judge("close", error, [])));
    await life.settle();
    const clean = !life.volume.failed && !life.broken && !this.armed && !life.volume.readFailed;
    await this.#endLife(kind);
    this.#ended = { kind, clean };
    if (clean) for (const model of this.models) model.firm = Math.max(model.firm, model.hw);
    await this.#begin(reopen);
  }

  // --- beginnings --------------------------------------------------------------------------------------------------

  async #begin(reopen: Reopen): Promise<void> {
    if (reopen.rot) {
      const rot = this.disk.rot(this.random);
      if (rot) this.rotten.push(rot);
      if (rot) for (const model of this.models) model.rotted = true;
      if (rot) this.trace.add(`rot ${rot.kind}`, rot.slot, rot.position, rot.length);
    }
    const crashes = [...reopen.crashes];
    // One turn per planned crash and a last one without.
    for (;;) {
      const crash = crashes.shift();
      try {
        if (crash) this.scheduler.crashAfter(crash.after);
        await this.#openOnce(reopen);
        return;
      } catch (error) {
        if (!(error instanceof LifeOver)) throw error;
        this.armed = undefined;
        await this.#endLife(crash?.kind ?? "kill");
      }
    }
  }

  #newLife(): Life {
    const { disk, scheduler, counters, trace, plan } = this;
    const random = new Random(plan.seed, 6, ++this.#lives);
    const volume = new FaultyVolume({
      disk,
      scheduler,
      counters,
      trace,
      random,
      flushForgets: plan.world.flushForgets,
    });
    const life = new Life(volume, scheduler);
    this.life = life;
    return life;
  }

  async #openLogs(): Promise<void> {
    const life = this.#newLife();
    const { kernel, clock } = this;
    life.doing.set("open", 1);
    const before = this.disk.slotCount;
    life.store = await life.wait(SegmentStore.open({ volume: life.volume, kernel, now: clock.now }));
    this.disk.age(before);
    for (const plan of this.plan.world.logs) {
      const store = await life.wait(life.store.log(plan.name));
      life.logs.push(await life.wait(Log.open({ store, kernel, clock, settings: settingsOf(plan) })));
    }
    life.doing.set("open", 0);
    this.scheduler.onStep = () => this.look();
  }

  async #openOnce(reopen: Reopen): Promise<void> {
    this.scheduler.onStep = undefined;
    try {
      await this.#openLogs();
    } catch (error) {
      this.#judgeOpen(error);
    }
    const ended = this.#ended;
    const rotten = this.rotten;
    for (const [at, log] of this.life.logs.entries())
      checkReport(log, this.models[at]!, ended, { rotten: rotten.length > 0, lied: this.lied }, this.counters);
    const readings = await this.#readLogs();
    this.#refusedBefore = false;
    if (reopen.twice && !this.scheduler.crashArmed) await this.#recoverTwice(readings);
    this.#ended = { kind: "kill", clean: false };
    for (const [at, log] of this.life.logs.entries()) {
      this.models[at]!.seeSegments(log.segments(), this.clock.ms, true);
      await resendAll(this, at, readings[at]!, reopen.resend);
    }
    this.trace.add("opened", ...this.life.logs.map((log) => log.logEndOffset));
  }

  /** An open may fail only by a lost catalog, when rot and a crash both hit it. */
  #judgeOpen(error: unknown): never {
    if (error instanceof LifeOver || error instanceof Violation) throw error;
    if (!(error instanceof TidemarkError))
      throw new Violation("untyped-error", `open: ${String(error)}`, { cause: error });
    const catalogRot = this.rotten.some(({ slot }) => slot < 2);
    if (error.code === "CORRUPT_CATALOG" && catalogRot) throw new Unrecoverable();
    if (error.code === "QUOTA_EXCEEDED" && this.life.volume.slotsRefused) throw new Unrecoverable();
    throw new Violation("open-failed", error.message, { cause: error });
  }

  async #readLogs(): Promise<Reading[]> {
    const readings: Reading[] = [];
    for (const [at, log] of this.life.logs.entries()) {
      const model = this.models[at]!;
      const reading = await readAll(log, model, this.kernel, this.life.wait, this.random);
      this.#acceptGaps(model, reading);
      checkReading(log, model, reading);
      await checkPositions(log, reading, this.life.wait, this.random);
      readings.push(reading);
    }
    return readings;
  }

  /** Damage must come from rot, and damaged ranges stay damaged. */
  #acceptGaps(model: LogModel, reading: Reading): void {
    for (const gap of reading.gaps) {
      const known = model.lost.some(({ from, to }) => from <= gap.from && gap.to <= to);
      if (known) continue;
      if (this.rotten.length === 0 && !this.life.volume.readFailed) {
        throw new Violation("false-damage", `offsets ${gap.from}…${gap.to} read as damaged, and nothing is`);
      }
      this.counters.add("rot.quarantined");
      model.lost.push(gap);
    }
  }

  async #recoverTwice(readings: readonly Reading[]): Promise<void> {
    this.counters.add("recovered-twice");
    await this.life.settle();
    const before = this.disk.images();
    await this.#endLife("kill");
    this.scheduler.onStep = undefined;
    try {
      await this.#openLogs();
    } catch (error) {
      this.#judgeOpen(error);
    }
    await this.life.settle();
    await checkTwice(this.kernel, before, this.disk.images(), this.life.logs, this.rotten.length > 0);
    const again = await this.#readLogs();
    for (const [at, reading] of again.entries()) {
      const first = readings[at]!;
      if (reading.start !== first.start || reading.end !== first.end || reading.records.size !== first.records.size) {
        throw new Violation("second-recovery", `${first.start}…${first.end}, then ${reading.start}…${reading.end}`);
      }
    }
  }

  // --- while it lives ----------------------------------------------------------------------------------------------

  /** Checks the logs' own numbers between any two operations. */
  look(): void {
    const { life } = this;
    if (life.dead) return;
    for (const [at, log] of life.logs.entries()) {
      this.models[at]!.mayRefuseLate = life.volume.slotsRefused || this.#refusedBefore;
      try {
        this.models[at]!.seeWatermark(log.highWatermark, log.logEndOffset, log.logStartOffset);
      } catch (error) {
        life.failure ??= error;
      }
    }
  }

  async #checkNow(): Promise<void> {
    // Reads of a check must not lie, or the check proves nothing.
    this.life.volume.disarmReads();
    await this.life.settle();
    if (this.life.broken) return;
    for (const [at, log] of this.life.logs.entries()) this.models[at]!.refuseBehind(log.logEndOffset);
    const quiet = await this.#readLogs();
    this.trace.add("checked", ...quiet.map((reading) => reading.records.size));
  }
}

function makeProducers(plan: LogPlan): Producer[] {
  return Array.from(
    { length: plan.producers },
    (_, at) => new Producer(plan.anonymous && at === plan.producers - 1 ? -1 : 1000 + at),
  );
}

function settingsOf(plan: LogPlan) {
  const { retention, compaction, segmentMaxAgeMs, queueAppendsMax, producersMax } = plan;
  return { retention, compaction, segmentMaxAgeMs, queueAppendsMax, producersMax };
}

function describeFailure(thrown: unknown, op: Op | undefined): Failure {
  const error = thrown instanceof Error ? thrown : new Error(String(thrown));
  const cause = error.cause instanceof Error ? `\ncaused by ${error.cause.stack}` : "";
  const check = error instanceof Violation ? error.check : error.name === "Error" ? error.constructor.name : error.name;
  return { check, message: error.message, stack: `${error.stack}${cause}`, op };
}
