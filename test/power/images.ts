/**
 * Crash images: what a disk may hold when the power goes at one point of a trace.
 *
 *   files      writes that were not flushed: each 512-byte piece is kept, dropped or garbled, in any order (the
 *              simulation's disk). Names of slots made a while ago are there; younger names may be missing, and files
 *              that were never flushed may be empty
 *   database   a prefix of the transactions, which includes the last strict one that was reported complete
 *
 * A plan names one image exactly, so a failing one can be made again from its trace.
 */
import { Counters } from "../simulation/counters.ts";
import { Disk, type Fate } from "../simulation/disk.ts";
import { Random } from "../simulation/prng.ts";
import type { StorageEvent, Trace, TraceEvent } from "./trace.ts";

export type Fates = "none" | "all" | "garbled" | "only" | "except" | "drawn";

export interface Plan {
  /** How many events of the trace happened before the power went. */
  readonly point: number;
  readonly fates: Fates;
  /** The write or transaction that the fates `only` and `except` mean. */
  readonly which: number;
  /**
   * "sure": no name is lost. "youngest" and "any": the youngest names are lost, or any of the young ones. Files only.
   */
  readonly names: "sure" | "youngest" | "any";
  /** The power goes again after this many operations of the recovery. 0: it does not. */
  readonly secondCut: number;
  readonly seed: number;
}

/** The slots after a power cut: each has all its bytes, or is undefined if its name was lost. */
export interface Image {
  readonly slots: readonly (Uint8Array | undefined)[];
  /** A name or an unwritten file was lost, so SLOT_LOST and more may be reported. */
  readonly namesLost: boolean;
  /** Neither copy of the catalog has a name any more. */
  readonly catalogLost: boolean;
}

const slotOf = (trace: Trace, file: string): number | undefined => {
  const [, folder, number] = /^tidemark\/(.+)\/slot-(\d+)$/.exec(file) ?? [];
  return folder === trace.name ? Number(number) : undefined;
};

// --- files ---------------------------------------------------------------------------------------------------------

interface Files {
  readonly disk: Disk;
  /** Per slot: the event that made its name, and whether it was ever flushed. */
  readonly made: number[];
  readonly flushed: boolean[];
}

/** Goes forward through a trace. The writes that it has passed are on the disk, or wait for a flush. */
class FileCursor {
  #at = 0;
  #files: Files;
  readonly #trace: Trace;

  constructor(trace: Trace) {
    this.#trace = trace;
    const options = {
      slotBytes: trace.slotBytes,
      slotsMax: Infinity,
      buffered: false,
      losesNames: false,
      keepsOlder: false,
      staleAcrossLives: false,
    };
    this.#files = { disk: new Disk(options, new Counters()), made: [], flushed: [] };
  }

  to(point: number): Files {
    if (point < this.#at) throw new Error("a cursor never goes back");
    for (; this.#at < point; this.#at++) this.#step(this.#trace.events[this.#at] as StorageEvent);
    return this.#files;
  }

  #step(event: StorageEvent): void {
    const { disk, made, flushed } = this.#files;
    const slot = "file" in event ? slotOf(this.#trace, event.file) : undefined;
    if (slot === undefined) return;
    if (event.kind === "create") {
      if (slot < made.length) return;
      if (slot > made.length) throw new Error(`slot ${slot} was made before slot ${made.length}`);
      made.push(this.#at);
      flushed.push(false);
      disk.addSlot();
    } else if (event.kind === "write") disk.write(slot, event.at, event.data);
    else if (event.kind === "flush") {
      disk.flush(slot, false);
      flushed[slot] = true;
    } else if (event.kind === "truncate") {
      if (event.size !== this.#trace.slotBytes) throw new Error(`slot ${slot} was cut to ${event.size} bytes`);
    } else throw new Error(`a slot's file has an event ${event.kind}, which no image can show`);
  }
}

function fateOf({ fates, which }: Plan): ((write: number) => Fate) | undefined {
  if (fates === "drawn") return undefined;
  if (fates === "only") return (write) => (write === which ? "keep" : "drop");
  if (fates === "except") return (write) => (write === which ? "drop" : "keep");
  return () => (fates === "all" ? "keep" : fates === "garbled" ? "garble" : "drop");
}

function fileImage(trace: Trace, files: Files, plan: Plan, counters: Counters): Image {
  const disk = files.disk.copy(counters);
  const random = new Random(trace.seed, plan.seed);
  disk.powerCut(random, [], fateOf(plan));
  const slots: (Uint8Array | undefined)[] = disk.images();
  let namesLost = false;
  if (plan.names !== "sure") {
    // A trace has no times. Names are not sure for half a minute, so that half minute may begin at any of its events.
    const young = files.made.findIndex((made) => made >= random.int(plan.point + 1));
    const from = young < 0 ? slots.length : young;
    const cut = from + random.int(slots.length - from);
    for (let slot = from; slot < slots.length; slot++) {
      if (plan.names === "any" ? !random.chance(0.4) : slot < cut) continue;
      const empty = !files.flushed[slot] && random.chance(0.3);
      counters.add(empty ? "file.empty" : `name.lost.${plan.names}`);
      slots[slot] = empty ? new Uint8Array(trace.slotBytes) : undefined;
      namesLost = true;
    }
  }
  while (slots.length > 0 && slots.at(-1) === undefined) slots.pop();
  return { slots, namesLost, catalogLost: slots[0] === undefined && slots[1] === undefined };
}

// --- database ------------------------------------------------------------------------------------------------------

const PAGES_PER_SLOT = 65536;
const HEADER_BYTES = 4096;
const PAGE_BYTES = 16 * 1024;
type Tx = Extract<StorageEvent, { kind: "tx" }>;

/**
 * The writing transactions requested so far, in order, and how many of them are complete and how many surely durable.
 */
class TransactionCursor {
  readonly asked: Tx[] = [];
  complete = 0;
  sure = 0;
  /** The slots after the surely durable transactions. */
  readonly slots: Uint8Array[] = [];
  #at = 0;
  #applied = 0;
  #life = 0;
  readonly #trace: Trace;

  constructor(trace: Trace) {
    this.#trace = trace;
  }

  to(point: number): this {
    if (point < this.#at) throw new Error("a cursor never goes back");
    for (; this.#at < point; this.#at++) this.#step(this.#trace.events[this.#at] as TraceEvent);
    for (; this.#applied < this.sure; this.#applied++) applyPuts(this.#trace, this.slots, this.asked[this.#applied]!);
    return this;
  }

  #step(event: TraceEvent): void {
    // Ids begin anew with each life.
    if (event.kind === "life") this.#life = this.asked.length;
    if (event.kind === "tx" && event.database === `tidemark:${this.#trace.name}`) this.asked.push(event);
    if (event.kind !== "tx-done") return;
    const at = this.asked.findIndex((tx, i) => i >= this.#life && tx.id === event.id);
    if (at < 0) return;
    if (!event.ok) throw new Error("a transaction was aborted");
    this.complete = at + 1;
    if (this.asked[at]!.durability === "strict") this.sure = at + 1;
  }
}

function applyPuts(trace: Trace, slots: Uint8Array[], { puts }: Tx): void {
  for (const { store, key, value } of puts) {
    if (store === "meta" && key === "volume") {
      while (slots.length < (value as { slotCount: number }).slotCount) slots.push(new Uint8Array(trace.slotBytes));
    }
    if (store !== "pages") continue;
    const page = Number(key) % PAGES_PER_SLOT;
    const [at, size] = page === 0 ? [0, HEADER_BYTES] : [HEADER_BYTES + (page - 1) * PAGE_BYTES, PAGE_BYTES];
    const slot = slots[Math.floor(Number(key) / PAGES_PER_SLOT)]!;
    slot.fill(0, at, Math.min(slot.length, at + size));
    slot.set(value as Uint8Array, at);
  }
}

function databaseImage(trace: Trace, cursor: TransactionCursor, plan: Plan, counters: Counters): Image {
  const { asked, complete, sure } = cursor;
  const count =
    plan.fates === "none"
      ? sure
      : plan.fates === "all"
        ? complete
        : plan.fates === "only"
          ? plan.which
          : sure + new Random(trace.seed, plan.seed).int(asked.length - sure + 1);
  if (count < asked.length) counters.add("tx.lost", asked.length - count);
  if (count > sure) counters.add("tx.kept-unsure", count - sure);
  const slots = cursor.slots.map((slot) => slot.slice());
  for (const tx of asked.slice(sure, count)) applyPuts(trace, slots, tx);
  return { slots, namesLost: false, catalogLost: false };
}

/** Makes images in the order of their points. */
export function imageMaker(trace: Trace, counters: Counters): (plan: Plan) => Image {
  if (trace.engine === "opfs") {
    const cursor = new FileCursor(trace);
    return (plan) => fileImage(trace, cursor.to(plan.point), plan, counters);
  }
  const cursor = new TransactionCursor(trace);
  return (plan) => databaseImage(trace, cursor.to(plan.point), plan, counters);
}

// --- plans ---------------------------------------------------------------------------------------------------------

/** Points just behind an event that changes what is on the disk or what was promised. */
function pointsOf(trace: Trace): number[] {
  const { events } = trace;
  const telling = new Set(["create", "write", "flush", "tx", "tx-done", "ack", "opened", "trimmed", "replaced"]);
  return events.flatMap(({ kind }, at) => (telling.has(kind) || isFlushPoint(trace, at + 1) ? [at + 1] : []));
}

/**
 * Plans for every point: of the writes that were not flushed the image has none, all, only garbage, each write alone,
 * and all but each. For a database it has every prefix.
 */
export function everyPlan(trace: Trace): Plan[] {
  const plans: Plan[] = [];
  const add = (point: number, fates: Fates, which = 0): void =>
    void plans.push({ point, fates, which, names: "sure", secondCut: 0, seed: plans.length });
  const [files, transactions] = [new FileCursor(trace), new TransactionCursor(trace)];
  for (const point of pointsOf(trace)) {
    add(point, "none");
    add(point, "all");
    if (trace.engine === "opfs") {
      const { pendingWrites } = files.to(point).disk;
      if (pendingWrites > 0) add(point, "garbled");
      for (let which = 0; which < pendingWrites && pendingWrites > 1; which++) {
        add(point, "only", which);
        if (pendingWrites > 2) add(point, "except", which);
      }
    } else {
      const { asked, complete, sure } = transactions.to(point);
      for (let count = sure + 1; count <= asked.length; count++) if (count !== complete) add(point, "only", count);
    }
  }
  return plans;
}

/** True just before and just behind each flush and each commit: there a promise begins to hold. */
export function isFlushPoint({ events }: Trace, point: number): boolean {
  return [events[point - 1], events[point]].some((event) => event?.kind === "flush" || event?.kind === "tx-done");
}

/** Points at which writes wait for a flush. A point occurs more often the more sectors wait. */
function windowsOf(trace: Trace): number[] {
  if (trace.engine !== "opfs") return pointsOf(trace);
  const files = new FileCursor(trace);
  return pointsOf(trace).flatMap((point) =>
    Array<number>(Math.min(16, files.to(point).disk.pendingSectors)).fill(point),
  );
}

/**
 * More plans, drawn by the seed: torn, garbled and reordered pieces at points where writes wait for a flush, and names
 * lost at any point.
 */
export function drawnPlans(trace: Trace, seed: number, count: number): Plan[] {
  const [points, windows] = [pointsOf(trace), windowsOf(trace)];
  return Array.from({ length: count }, (_, at) => {
    const random = new Random(trace.seed, seed, at, 1);
    const names = trace.engine === "opfs" ? random.weighted({ sure: 6, youngest: 1, any: 1 }) : "sure";
    const fates = names === "sure" ? "drawn" : random.pick(["all", "none", "drawn"] as const);
    return {
      point: random.pick(names === "sure" ? windows : points),
      fates,
      which: 0,
      names,
      secondCut: names === "sure" && random.chance(0.3) ? random.between(1, 16) : 0,
      seed: random.u32(),
    };
  });
}
