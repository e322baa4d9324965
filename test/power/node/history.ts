/**
 * One history of tidemark/node's file volume on a disk that loses power: appends, rolls, trims, closes, and cuts at any
 * call of the file system. After each cut the folder is opened and read. What was acked at `flushed` must be there, at
 * its offset and unchanged; what is there must have been begun.
 */
import type { PackingKernel } from "../../../src/kernel/types.ts";
import { Log } from "../../../src/log/log.ts";
import { FileVolume } from "../../../src/node/file-volume.ts";
import { BatchBuilder } from "../../../src/record/batch-builder.ts";
import { decodeBatch, splitBatches } from "../../../src/record/record-batch.ts";
import { SegmentStore } from "../../../src/store/segment-store.ts";
import { Random } from "../../simulation/prng.ts";
import { type Faults, type LeftOut, PowerDisk } from "./disk.ts";

const SLOT_BYTES = 16 * 1024;
const LIVES = 6;
const STEPS_MAX = 40;
/** Calls of the file system until the power goes: few while a folder is being made, many later. */
const CALLS_MAX = 260;

const TURNS = 50;

export interface HistoryResult {
  readonly faults: Faults;
  readonly acked: number;
  readonly read: number;
  /** What must not be, in words; undefined if all was well. */
  readonly wrong: string | undefined;
}

/** What one history knows of its records. */
interface Ledger {
  readonly begun: Set<string>;
  readonly acked: Map<number, string>;
  /** Records below were removed, or were about to be. */
  trimmed: number;
  mayBeTrimmed: number;
}

interface Life {
  readonly store: SegmentStore;
  readonly log: Log;
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

async function opened(kernel: PackingKernel, folder: string): Promise<Life> {
  const volume = await FileVolume.open({ folder, slotBytes: SLOT_BYTES, filesMax: 4 });
  const now = (): number => 1_764_000_000_000;
  const store = await SegmentStore.open({ volume, kernel, now, newId: () => "tide", breathe: turn });
  return { store, log: await Log.open({ store: await store.log("t"), kernel, clock: { now }, breathe: turn }) };
}

function batchOf(kernel: PackingKernel, value: string): Uint8Array {
  const builder = new BatchBuilder(kernel);
  builder.tryAppend({ key: null, value: new TextEncoder().encode(value), timestamp: 1 });
  return builder.build({ producerId: -1, producerEpoch: -1, baseSequence: -1 });
}

/** One life's calls, until the power goes or they are done. */
async function live({ log, store }: Life, kernel: PackingKernel, random: Random, ledger: Ledger): Promise<void> {
  const waiting: Promise<unknown>[] = [];
  const append = (): void => {
    const value = `${ledger.begun.size} `.padEnd(random.between(10, 3_000), "x");
    ledger.begun.add(value);
    const done = log.append(batchOf(kernel, value), { acks: random.chance(0.8) ? "flushed" : "written" });
    const noted = done.then(({ baseOffset, acks }) => {
      if (acks === "flushed") ledger.acked.set(baseOffset, value);
    });
    noted.catch(() => undefined);
    waiting.push(noted);
  };
  for (let step = 0; step < STEPS_MAX; step++) {
    const draw = random.int(20);
    if (draw < 15) for (let i = random.between(1, 5); i > 0; i--) append();
    if (random.chance(0.6)) await Promise.all(waiting.splice(0));
    if (draw === 15) await log.roll();
    if (draw === 16) {
      const to = log.logStartOffset + random.int(1 + log.highWatermark - log.logStartOffset);
      ledger.mayBeTrimmed = Math.max(ledger.mayBeTrimmed, to);
      await log.trim(to);
      ledger.trimmed = Math.max(ledger.trimmed, to);
    }
  }
  await Promise.all(waiting);
  if (random.chance(0.5)) {
    await log.close();
    await store.close();
  }
}

/** What is wrong with what can be read now. */
async function judged({ log }: Life, kernel: PackingKernel, ledger: Ledger): Promise<{ wrong?: string; read: number }> {
  const start = log.logStartOffset;
  if (start < ledger.trimmed) return { wrong: `a trim to ${ledger.trimmed} is undone: it begins at ${start}`, read: 0 };
  if (start > ledger.mayBeTrimmed) return { wrong: `records up to ${start} were never trimmed`, read: 0 };
  const found = new Map<number, string>();
  for (let from = start; from < log.highWatermark;) {
    const { bytes, nextOffset } = await log.fetch(from);
    for (const each of splitBatches(bytes)) {
      const batch = await decodeBatch(kernel, each);
      for (let i = 0; i < batch.count; i++) found.set(batch.offsetAt(i), new TextDecoder().decode(batch.valueAt(i)!));
    }
    if (nextOffset <= from) return { wrong: `nothing can be read at ${from}`, read: found.size };
    from = nextOffset;
  }
  for (const [offset, value] of found)
    if (!ledger.begun.has(value)) return { wrong: `the record at ${offset} was never begun`, read: found.size };
  if (new Set(found.values()).size !== found.size) return { wrong: "a record is there twice", read: found.size };
  for (const [offset, value] of ledger.acked)
    if (offset >= start && found.get(offset) !== value)
      return { wrong: `the acked record at ${offset} is ${found.has(offset) ? "another" : "gone"}`, read: found.size };
  return { read: found.size };
}

/** `use` makes the disk the one that `node:fs` works on. */
export async function runHistory(
  kernel: PackingKernel,
  seed: number,
  use: (disk: PowerDisk) => void,
  leftOut?: LeftOut,
): Promise<HistoryResult> {
  const disk = new PowerDisk(leftOut);
  use(disk);
  const random = new Random(seed, 0x70);
  const ledger: Ledger = { begun: new Set(), acked: new Map(), trimmed: 0, mayBeTrimmed: 0 };
  let read = 0;
  let wrong: string | undefined;
  for (let life = 0; life < LIVES && wrong === undefined; life++) {
    disk.left = random.int(CALLS_MAX);
    try {
      await live(await opened(kernel, "/power/home/tide"), kernel, random, ledger);
    } catch (thrown) {
      // Any failure of a call is the power's; without it nothing may fail.
      if (!disk.isOff) wrong = `failed with the power on: ${String(thrown)}`;
    }
    disk.isOff = true;
    // Whatever this life still had under way fails, and its store is not used any more.
    for (let i = 0; i < TURNS; i++) await turn();
    disk.cut(random);
    try {
      const again = await opened(kernel, "/power/home/tide");
      const verdict = await judged(again, kernel, ledger);
      wrong ??= verdict.wrong;
      read += verdict.read;
      // What a reader has seen is as good as acked: no later cut may take it.
      await again.log.close();
      await again.store.close();
    } catch (thrown) {
      wrong ??= `it can't be opened or read: ${String(thrown)}`;
    }
  }
  return { faults: disk.faults, acked: ledger.acked.size, read, wrong: wrong && `seed ${seed}: ${wrong}` };
}
