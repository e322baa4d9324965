/** A real log over the real store over memory, on a volume whose calls a test can make fail. */
import { TidemarkError } from "../../src/errors.ts";
import { Log } from "../../src/log/log.ts";
import type { LogSettings } from "../../src/log/types.ts";
import { BatchBuilder } from "../../src/record/batch-builder.ts";
import { decodeBatch, splitBatches } from "../../src/record/record-batch.ts";
import { MemoryVolume } from "../../src/store/memory-volume.ts";
import { SegmentStore } from "../../src/store/segment-store.ts";
import { releaseKernel } from "../support/kernels.ts";

export const kernel = await releaseKernel();

export class FailingVolume extends MemoryVolume {
  /** While an error is set for a call, every call of that name throws it. */
  readonly failures = new Map<"write" | "flush" | "handOver", TidemarkError>();
  flushes = 0;
  /** While this is set, flushes wait for it, and so do commits. */
  gate: Promise<void> | undefined;

  override async write(slot: number, position: number, bytes: Uint8Array): Promise<void> {
    const failure = this.failures.get("write");
    if (failure) throw failure;
    await super.write(slot, position, bytes);
  }
  override async flush(): Promise<void> {
    this.flushes++;
    await this.gate;
    const failure = this.failures.get("flush");
    if (failure) throw failure;
  }
}

export interface Fixture {
  readonly volume: FailingVolume;
  store: SegmentStore;
  log: Log;
  readonly clock: { time: number; now(): number };
  /** Opens the log again without closing it, as after the death of its process. */
  reopen(settings?: Partial<LogSettings>): Promise<void>;
}

export async function fixture(
  settings: Partial<LogSettings> = {},
  options: { slotBytes?: number; slotsMax?: number } = {},
): Promise<Fixture> {
  const clock = { time: 1_764_000_000_000, now: () => clock.time };
  const volume = new FailingVolume({
    slotBytes: options.slotBytes ?? 64 * 1024,
    ...(options.slotsMax && { slotsMax: options.slotsMax }),
  });
  const made = { volume, clock } as Fixture;
  made.reopen = async (next = settings) => {
    volume.failures.clear();
    made.store = await SegmentStore.open({ volume, kernel, now: clock.now });
    made.log = await Log.open({ store: await made.store.log("t-0"), kernel, clock, settings: next });
  };
  await made.reopen();
  return made;
}

export interface Producing {
  readonly id?: number;
  readonly epoch?: number;
  readonly sequence?: number;
}

const text = (value: string | null | undefined) => (value == null ? null : new TextEncoder().encode(value));

/** A batch of records, each written as "key=value". "key=" is a tombstone, "=value" has no key. */
export function batchOf(records: readonly string[], producing: Producing = {}, timestamp = 1_000_000): Uint8Array {
  const builder = new BatchBuilder(kernel);
  for (const [i, record] of records.entries()) {
    const at = record.indexOf("=");
    const key = text(at > 0 ? record.slice(0, at) : null);
    const value = text(at === record.length - 1 ? null : record.slice(at + 1));
    if (!builder.tryAppend({ key, value, timestamp: timestamp + i })) throw new Error("the records do not fit a batch");
  }
  const {
    id: producerId = -1,
    epoch: producerEpoch = producerId < 0 ? -1 : 0,
    sequence: baseSequence = producerId < 0 ? -1 : 0,
  } = producing;
  return builder.build({ producerId, producerEpoch, baseSequence });
}

/** All records from an offset on, each as "offset:key=value". */
export async function dump(log: Log, from = log.logStartOffset): Promise<string[]> {
  const found: string[] = [];
  for (let offset = from; offset < log.highWatermark;) {
    const { bytes, nextOffset } = await log.fetch(offset);
    for (const batch of splitBatches(bytes)) {
      const decoded = await decodeBatch(kernel, batch);
      for (let i = 0; i < decoded.count; i++) {
        if (decoded.offsetAt(i) < offset) continue;
        const field = (bytes: Uint8Array | null) => (bytes === null ? "" : new TextDecoder().decode(bytes));
        found.push(`${decoded.offsetAt(i)}:${field(decoded.keyAt(i))}=${field(decoded.valueAt(i))}`);
      }
    }
    offset = nextOffset;
  }
  return found;
}
