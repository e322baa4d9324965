/**
 * Looks through the records that a topic had before it became synced for what the edge would refuse, so that a person
 * hears of it before the first push, and of all of it.
 *
 *   headers ─▶ too large, too many records ─────────────▶ refused, and not read
 *      └─▶ a MiB of batches ─▶ a record that is too large, a reserved header, what can't be decompressed ─▶ refused
 *
 * Damage is not judged here: the outbox blocks at it in its turn. Loaded by the first push of such a topic.
 */
import { TidemarkError } from "../errors.ts";
import type { Kernel } from "../kernel/types.ts";
import { validate } from "../log/validate.ts";
import { type BatchHeader, readHeader } from "../record/format.ts";
import { decodeBatch, splitBatches } from "../record/record-batch.ts";
import type { Block } from "./pump.ts";
import { reservedIn } from "./refuse-reserved.ts";
import type { Joined } from "./sync-frames.ts";
import type { TopicStorage } from "./topic-storage.ts";

/** Most runs that one block names. The note has room for twice as many runs that were set aside or discarded. */
const RUNS_MAX = 8;
const READ_BYTES = 1024 * 1024;

interface Refusal {
  readonly code: string;
  readonly why: string;
}

/** Runs of refused positions, in order. */
class Findings {
  readonly runs: [from: number, to: number][] = [];
  first: Refusal | undefined;
  /** True once there are more than are named. */
  isFull = false;

  add(from: number, to: number, refusal: Refusal): void {
    const last = this.runs.at(-1);
    this.first ??= refusal;
    if (last?.[1] === from) last[1] = to;
    else if (this.runs.length === RUNS_MAX) this.isFull = true;
    else this.runs.push([from, to]);
  }
}

/** What the header alone says. */
function byHeader({ sizeBytes, recordCount }: BatchHeader, limits: Joined["limits"]): Refusal | undefined {
  const { batchBytes, records } = limits;
  if (sizeBytes > batchBytes)
    return { code: "BATCH_TOO_LARGE", why: `a batch has ${sizeBytes} bytes, and the edge takes ${batchBytes}` };
  if (recordCount > records)
    return { code: "TOO_LARGE", why: `a batch has ${recordCount} records, and the edge takes ${records}` };
  return undefined;
}

/** What the whole batch says. The edge makes the same checks. */
async function byBytes(kernel: Kernel, batch: Uint8Array, limits: Joined["limits"]): Promise<Refusal | undefined> {
  try {
    validate(kernel, batch, { batchBytesMax: limits.batchBytes, recordBytesMax: limits.recordBytes });
    const header = reservedIn(await decodeBatch(kernel, batch));
    return header === undefined
      ? undefined
      : { code: "BAD_REQUEST", why: `a record has the header ${header}, which is the edge's own` };
  } catch (thrown) {
    const error = TidemarkError.from(thrown);
    const { code, details } = error;
    // The checksum is wrong: that is damage.
    if (code === "INVALID_BATCH" && details["status"] !== undefined) return undefined;
    return { code: code === "CORRUPT_RANGE" ? "INVALID_BATCH" : code, why: error.toWire().message };
  }
}

/** Batches that stand back to back, and are read together. */
interface Run {
  readonly from: number;
  to: number;
  bytes: number;
}

interface LookFrom {
  readonly limits: Joined["limits"];
  /** The position at which the look begins. */
  readonly from: number;
  /** True once nobody waits for the answer. */
  readonly isLeft: () => boolean;
}

/** True if a read failed because the position was trimmed meanwhile, and so was settled. */
const isTrimmed = (thrown: unknown, at: number, { start }: TopicStorage): boolean =>
  thrown instanceof TidemarkError && thrown.code === "OFFSET_OUT_OF_RANGE" && at < start;

/** The headers from a position on. What is trimmed meanwhile is left out. */
async function* headersOf(storage: TopicStorage, from: number): ReturnType<TopicStorage["outbox"]["headersOf"]> {
  for (let at = from; ;) {
    try {
      at = Math.max(at, storage.start);
      for await (const each of storage.outbox.headersOf(at)) {
        // No damage: the walk stands in what is trimmed by now.
        if (!each.header && at < storage.start) break;
        yield each;
        at = each.end;
      }
      if (at >= storage.start) return;
    } catch (thrown) {
      if (!isTrimmed(thrown, at, storage)) throw thrown;
    }
  }
}

/**
 * The block for what the edge would refuse of the un-settled records that were here before; undefined if it takes all,
 * or if the look was left. It names the first RUNS_MAX runs, and the code and reason of the first one. `fineTo`: up to
 * there nothing is refused.
 */
export async function refusedOf(
  storage: TopicStorage,
  kernel: Kernel,
  { limits, from, isLeft }: LookFrom,
): Promise<{ readonly block: Block | undefined; readonly fineTo: number }> {
  const { outbox } = storage;
  const found = new Findings();
  const adopted = outbox.note.adopted ?? 0;
  let fineTo = from;
  const passed = (to: number): void => void (fineTo = found.runs[0]?.[0] ?? to);
  const add = (at: number, end: number, refusal: Refusal): void => {
    if (at >= storage.firstUnsettled) found.add(at, end, refusal);
  };
  const read = async ({ from: start, to, bytes }: Run): Promise<void> => {
    for (let at = start; at < to && !found.isFull && !isLeft();) {
      const part = await outbox.segments.read(at, bytes, to).catch((thrown: unknown) => {
        if (!isTrimmed(thrown, at, storage)) throw thrown;
        return { bytes: new Uint8Array(0), nextOffset: storage.start };
      });
      for (const batch of splitBatches(part.bytes)) {
        const refusal = await byBytes(kernel, batch, limits);
        const { baseOffset, lastOffsetDelta } = readHeader(batch);
        if (refusal) add(baseOffset, baseOffset + lastOffsetDelta + 1, refusal);
      }
      at = part.nextOffset;
      passed(at);
    }
  };
  let run: Run | undefined;
  for await (const { header, at, end, size } of headersOf(storage, from)) {
    if (at >= adopted || found.isFull || isLeft()) break;
    const isMeant = header !== undefined && !outbox.isRetracted(at);
    const refusal = isMeant ? byHeader(header, limits) : undefined;
    if (run && (!isMeant || refusal || run.bytes + size > READ_BYTES)) {
      await read(run);
      run = undefined;
    }
    if (refusal) add(at, end, refusal);
    else if (isMeant) run = { from: run?.from ?? at, to: end, bytes: (run?.bytes ?? 0) + size };
  }
  if (run) await read(run);
  if (isLeft()) return { block: undefined, fineTo };
  passed(adopted);
  return { block: found.first && blockOf(found.first, found), fineTo };
}

function blockOf({ code, why }: Refusal, { runs, isFull }: Findings): Block {
  const more = runs.length > 1 ? `, and ${isFull ? "at least " : ""}${runs.length - 1} more runs of records` : "";
  return {
    code,
    message: `${why}${more}: they were here before sync(), and unblock() sets them aside or discards them`,
    ranges: runs,
  };
}
