/**
 * Crash images: what a disk may hold when the power goes at one point of a trace.
 *
 *   files      un-flushed writes, each 512-byte piece kept, dropped or garbled, in any order (simulation's disk);
 *              names of slots made a while ago are sure, younger ones may be missing, files never flushed may be empty
 *   database   a prefix of the transactions, never less than up to the last strict one that was reported complete
 *
 * A plan names one image exactly, so a failing one can be made again from its trace.
 */
import { Counters } from "../simulation/counters.ts";
import { Disk, type Fate } from "../simulation/disk.ts";
import { Random } from "../simulation/prng.ts";
import type { StorageEvent, Trace } from "./trace.ts";

export type Fates = "none" | "all" | "only" | "except" | "drawn";

export interface Plan {
  /** Events of the trace that happened. */
  readonly point: number;
  readonly fates: Fates;
  /** Which write or transaction `only` and `except` mean. */
  readonly which: number;
  /** Young names are lost: the youngest of them, or any. Files only. */
  readonly names: "sure" | "youngest" | "any";
  readonly seed: number;
}

/** Slots that were there, each whole. Those without a name have no bytes. */
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

function replayFiles(trace: Trace, point: number, counters: Counters): Files {
  const disk = new Disk({ slotBytes: trace.slotBytes, slotsMax: Infinity, buffered: false, losesNames: false, keepsOlder: false, staleAcrossLives: false }, counters);
  const files: Files = { disk, made: [], flushed: [] };
  for (let at = 0; at < point; at++) {
    const event = trace.events[at] as StorageEvent;
    const slot = "file" in event ? slotOf(trace, event.file) : undefined;
    if (slot === undefined) continue;
    if (event.kind === "create") {
      if (slot < files.made.length) continue;
      if (slot > files.made.length) throw new Error(`slot ${slot} was made out of turn`);
      files.made.push(at);
      files.flushed.push(false);
      disk.addSlot();
    } else if (event.kind === "write") disk.write(slot, event.at, event.data);
    else if (event.kind === "flush") {
      disk.flush(slot, false);
      files.flushed[slot] = true;
    } else if (event.kind === "truncate") {
      if (event.size !== trace.slotBytes) throw new Error(`slot ${slot} was cut to ${event.size} bytes`);
    } else throw new Error(`${event.kind} of a slot`);
  }
  return files;
}

function fateOf({ fates, which }: Plan): ((write: number) => Fate) | undefined {
  if (fates === "drawn") return undefined;
  if (fates === "only") return (write) => (write === which ? "keep" : "drop");
  if (fates === "except") return (write) => (write === which ? "drop" : "keep");
  return () => (fates === "all" ? "keep" : "drop");
}

function fileImage(trace: Trace, plan: Plan, counters: Counters): Image {
  const files = replayFiles(trace, plan.point, counters);
  const random = new Random(trace.seed, plan.seed);
  files.disk.powerCut(random, [], fateOf(plan));
  const slots: (Uint8Array | undefined)[] = files.disk.images();
  let namesLost = false;
  if (plan.names !== "sure") {
    // Time is elastic: any moment of the history may lie the half minute back from which on names are not sure.
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

/** Writing transactions asked for before `point`, in their order, and how many of them are surely durable. */
function transactions(trace: Trace, point: number): { readonly asked: readonly Tx[]; readonly complete: number; readonly sure: number } {
  const asked: Tx[] = [];
  const ended = new Map<number, boolean>();
  let sure = 0;
  let complete = 0;
  for (const event of trace.events.slice(0, point)) {
    if (event.kind === "life") ended.clear();
    if (event.kind === "tx" && event.database === `tidemark:${trace.name}`) asked.push(event);
    if (event.kind !== "tx-done") continue;
    const at = asked.findLastIndex((tx) => tx.id === event.id);
    // Ids begin anew with each life, so the newest of this number is meant; other databases have none here.
    if (at < 0 || ended.has(event.id)) continue;
    if (!event.ok) throw new Error("a transaction was aborted");
    ended.set(event.id, true);
    complete = Math.max(complete, at + 1);
    if (asked[at]!.durability === "strict") sure = Math.max(sure, at + 1);
  }
  return { asked, complete, sure };
}

function databaseImage(trace: Trace, plan: Plan, counters: Counters): Image {
  const { asked, complete, sure } = transactions(trace, plan.point);
  const count = plan.fates === "none" ? sure : plan.fates === "all" ? complete : plan.fates === "only" ? plan.which : sure + new Random(trace.seed, plan.seed).int(asked.length - sure + 1);
  if (count < asked.length) counters.add("tx.lost", asked.length - count);
  if (count > sure) counters.add("tx.kept-unsure", count - sure);
  const slots: Uint8Array[] = [];
  for (const { puts } of asked.slice(0, count)) {
    for (const { store, key, value } of puts) {
      if (store === "meta" && key === "volume") {
        while (slots.length < (value as { slotCount: number }).slotCount) slots.push(new Uint8Array(trace.slotBytes));
      }
      if (store !== "pages") continue;
      const page = Number(key) % PAGES_PER_SLOT;
      const bytes = value as Uint8Array;
      const at = page === 0 ? 0 : HEADER_BYTES + (page - 1) * PAGE_BYTES;
      const slot = slots[Math.floor(Number(key) / PAGES_PER_SLOT)]!;
      slot.fill(0, at, Math.min(slot.length, at + (page === 0 ? HEADER_BYTES : PAGE_BYTES)));
      slot.set(bytes, at);
    }
  }
  return { slots, namesLost: false, catalogLost: false };
}

// --- plans ---------------------------------------------------------------------------------------------------------

export function imageOf(trace: Trace, plan: Plan, counters: Counters): Image {
  return trace.engine === "opfs" ? fileImage(trace, plan, counters) : databaseImage(trace, plan, counters);
}

/** Points at which what is on the disk, or what was promised, has just changed. */
function pointsOf({ events }: Trace): number[] {
  const telling = new Set(["create", "write", "flush", "tx", "tx-done", "ack", "opened", "trimmed", "replaced"]);
  return events.flatMap(({ kind }, at) => (telling.has(kind) ? [at + 1] : []));
}

/**
 * At every point: nothing of what was not flushed, all of it, each write alone, all but each. (For a database: every
 * prefix.) Numbered by `seed` from 0.
 */
export function everyPlan(trace: Trace): Plan[] {
  const plans: Plan[] = [];
  const add = (point: number, fates: Fates, which = 0): void => void plans.push({ point, fates, which, names: "sure", seed: plans.length });
  for (const point of pointsOf(trace)) {
    add(point, "none");
    add(point, "all");
    if (trace.engine === "opfs") {
      const { pendingWrites } = replayFiles(trace, point, new Counters()).disk;
      for (let which = 0; which < pendingWrites && pendingWrites > 1; which++) {
        add(point, "only", which);
        if (pendingWrites > 2) add(point, "except", which);
      }
    } else {
      const { asked, complete, sure } = transactions(trace, point);
      for (let count = sure + 1; count <= asked.length; count++) if (count !== complete) add(point, "only", count);
    }
  }
  return plans;
}

/** Beyond that: torn, garbled and reordered pieces, and names, at points drawn by the seed. */
export function drawnPlan(trace: Trace, seed: number, points: readonly number[] = pointsOf(trace)): Plan {
  const random = new Random(trace.seed, seed, 1);
  const names = trace.engine === "opfs" ? random.weighted({ sure: 3, youngest: 1, any: 1 }) : "sure";
  return { point: random.pick(points), fates: names === "sure" ? "drawn" : random.pick(["all", "none", "drawn"]), which: 0, names, seed };
}
