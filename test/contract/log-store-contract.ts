/**
 * What every LogStore must do, wherever its bytes are: the segmented store over any volume (store-contract.ts runs
 * these cases too), and the chunk store in a Durable Object. Cases are plain functions, so that a host can run them
 * where its storage is: in Node, in a browser's worker, in workerd.
 */
import type { EncodingKernel } from "../../src/kernel/types.ts";
import { readHeader, stampBaseOffset } from "../../src/record/format.ts";
import type { LogStore } from "../../src/store/log-store.ts";
import { check, equal, fails } from "./check.ts";

/** One log of a new, empty store. Its segments are small: 200 batches of `makeBatch(…, 10)` roll several times. */
export interface OpenLog {
  readonly log: LogStore;
  /** Opens the same storage again, after a clean close or as a killed process would leave it. */
  reopen(clean: boolean): Promise<OpenLog>;
  /** Flips a bit of the stored batch that begins at `baseOffset`, in its byte `at`. */
  flipBit(baseOffset: number, at: number): Promise<void>;
}

export interface LogStoreHost {
  readonly kernel: EncodingKernel;
  open(): Promise<OpenLog>;
}

export interface LogStoreCase {
  readonly name: string;
  run(host: LogStoreHost): Promise<void>;
}

/** A batch of `count` records with values of `size` bytes, whose timestamps rise by one from `timestamp`. */
export function makeBatch(
  kernel: EncodingKernel,
  baseOffset: number,
  count: number,
  size = 100,
  timestamp = 1000,
): Uint8Array {
  const lengths = new Int32Array(count * 3);
  const timestamps = new Float64Array(count);
  for (let i = 0; i < count; i++) {
    lengths.set([-1, size, 0], i * 3);
    timestamps[i] = timestamp + i;
  }
  const blob = new Uint8Array(count * size).map((_, i) => (i * 31 + baseOffset) & 0xff);
  const { status, bytes } = kernel.encodeBatch({
    blob,
    lengths,
    timestamps,
    count,
    attributes: 0,
    producerId: -1,
    producerEpoch: -1,
    baseSequence: -1,
  });
  equal(status, 0, "encode status");
  stampBaseOffset(bytes, baseOffset);
  return bytes;
}

/** Appends `batches` batches of `count` records, one in each call. Returns their bytes as stored. */
export async function fill(
  kernel: EncodingKernel,
  log: LogStore,
  batches: number,
  count = 10,
  size = 100,
): Promise<Uint8Array[]> {
  const made: Uint8Array[] = [];
  for (let i = 0; i < batches; i++) {
    const batch = makeBatch(kernel, log.logEndOffset, count, size, 1000 + log.logEndOffset * 10);
    await log.append([batch]);
    made.push(batch);
  }
  await log.flush();
  return made;
}

export async function readAll(log: LogStore, from = log.logStartOffset, maxBytes = 8000): Promise<Uint8Array[]> {
  const batches: Uint8Array[] = [];
  let offset = from;
  while (offset < log.logEndOffset) {
    const { bytes, nextOffset } = await log.read(offset, maxBytes, log.logEndOffset);
    check(nextOffset > offset, `read at ${offset} moves on`);
    for (let at = 0; at < bytes.length;) {
      const { sizeBytes } = readHeader(bytes, at);
      batches.push(bytes.slice(at, at + sizeBytes));
      at += sizeBytes;
    }
    offset = nextOffset;
  }
  return batches;
}

async function headersOf(log: LogStore, from: number): Promise<number[]> {
  const found: number[] = [];
  for await (const { baseOffset } of log.headers(from)) found.push(baseOffset);
  return found;
}

export const logStoreCases: readonly LogStoreCase[] = [
  {
    name: "a new log is empty and starts at 0",
    async run(host) {
      const { log } = await host.open();
      equal([log.logStartOffset, log.logEndOffset, log.flushedOffset], [0, 0, 0]);
      equal((await log.read(0, 1000, 0)).bytes.length, 0);
      equal(await log.offsetForTimestamp(0), undefined);
      await fails("OFFSET_OUT_OF_RANGE", log.read(1, 1000, 1));
      await log.close();
    },
  },
  {
    name: "appended batches are read back with offset and epoch stamped, nothing else changed",
    async run(host) {
      const { log } = await host.open();
      const first = makeBatch(host.kernel, 0, 3);
      const body = first.slice(16);
      await log.append([first, makeBatch(host.kernel, 3, 2)]);
      equal([log.logEndOffset, log.flushedOffset], [5, 0]);
      await log.flush();
      equal(log.flushedOffset, 5);
      const [one, two] = await readAll(log);
      equal(one!.slice(16), body, "bytes from the magic on");
      equal(readHeader(one!).leaderEpoch, log.leaderEpoch);
      equal(readHeader(two!).baseOffset, 3);
      equal((await log.read(4, 10_000, 5)).bytes, two, "from inside a batch");
      equal((await log.read(0, 1, 5)).bytes, one, "at least one batch");
      equal((await log.read(0, 10_000, 3)).bytes, one, "none at the limit");
      await log.close();
    },
  },
  {
    name: "the log rolls into new segments and reads go across them",
    async run(host) {
      const { log } = await host.open();
      const made = await fill(host.kernel, log, 200);
      const segments = log.segments();
      check(segments.length >= 4, `rolled: ${segments.length}`);
      check(
        segments.slice(0, -1).every(({ state }) => state === "sealed"),
        "sealed",
      );
      for (const [i, segment] of segments.entries())
        equal(segment.baseOffset, i === 0 ? 0 : segments[i - 1]!.nextOffset);
      equal(
        segments.reduce((sum, { records }) => sum + records, 0),
        2000,
      );
      equal(await readAll(log), made, "all batches");
      for (const from of [0, 5, 999, 1000, 1234, 1999]) {
        const header = readHeader((await log.read(from, 1, 2000)).bytes);
        check(header.baseOffset <= from && from <= header.baseOffset + header.lastOffsetDelta, `batch of ${from}`);
      }
      equal(
        await headersOf(log, 1500),
        made.slice(150).map((_, i) => 1500 + i * 10),
        "headers",
      );
      await log.close();
    },
  },
  {
    name: "a clean re-open has the same bytes, a higher epoch, and nothing to report",
    async run(host) {
      const opened = await host.open();
      const made = await fill(host.kernel, opened.log, 120);
      const before = opened.log.segments();
      const { log } = await opened.reopen(true);
      equal(await readAll(log), made);
      equal(log.segments(), before, "segments and their rebuilt indexes");
      check(log.recovery.cleanShutdown && !log.recovery.cut, "clean");
      check(log.leaderEpoch > opened.log.leaderEpoch, "epoch rises");
      await log.append([makeBatch(host.kernel, log.logEndOffset, 1)]);
      await log.close();
    },
  },
  {
    name: "an unclean re-open keeps everything flushed and goes on appending, again and again",
    async run(host) {
      let opened = await host.open();
      const made: Uint8Array[] = [];
      for (let life = 0; life < 5; life++) {
        made.push(...(await fill(host.kernel, opened.log, 30)));
        opened = await opened.reopen(false);
        equal(opened.log.recovery.cut, undefined);
        equal(await readAll(opened.log), made, `life ${life}`);
      }
      await opened.log.close();
    },
  },
  {
    name: "damage below the durable mark is quarantined; records on both sides stay readable",
    async run(host) {
      let opened = await host.open();
      const made = await fill(host.kernel, opened.log, 10);
      await opened.log.flush();
      await opened.flipBit(40, 300);
      opened = await opened.reopen(false);
      const { log } = opened;
      equal(
        log.recovery.quarantined.map(({ from, to }) => [from, to]),
        [[40, 50]],
      );
      equal(log.recovery.cut, undefined);
      equal(log.logEndOffset, 100);
      const error = await fails("CORRUPT_RANGE", log.read(45, 10_000, 100));
      equal([error.details["from"], error.details["to"]], [40, 50]);
      equal((await log.read(0, 100_000, 100)).nextOffset, 40);
      equal(await readAll(log, 50), made.slice(5));
      await fill(host.kernel, log, 60);
      equal(log.segments().length > 1, true, "a damaged segment can be sealed");
      const again = (await opened.reopen(false)).log;
      equal(
        again.quarantined.map(({ from, to }) => [from, to]),
        [[40, 50]],
        "remembered",
      );
      await fails("CORRUPT_RANGE", again.read(40, 1000, 100));
      equal((await readAll(again, 50)).length, 65);
      await again.close();
    },
  },
  {
    name: "rot in a sealed segment: fields outside the batch checksum are found by hops, others by a verifying read",
    async run(host) {
      for (const [at, hop] of [
        [0, true],
        [7, true],
        [11, true],
        [16, true],
        [30, false],
        [500, false],
      ] as const) {
        const opened = await host.open();
        const { log } = opened;
        const made = await fill(host.kernel, log, 120);
        const from = log.segments()[1]!.baseOffset + 70;
        await opened.flipBit(from, at);
        if (hop) await fails("CORRUPT_RANGE", log.read(from, 5000, log.logEndOffset));
        const error = await fails("CORRUPT_RANGE", log.read(from, 5000, log.logEndOffset, true));
        equal([error.details["from"], error.details["to"]], [from, from + 10], `byte ${at}`);
        equal(await readAll(log, from + 10), made.slice(from / 10 + 1), `behind byte ${at}`);
        await log.close();
      }
    },
  },
  {
    name: "seek by time finds the first batch that reaches it",
    async run(host) {
      const { log } = await host.open();
      const times = Array.from({ length: 150 }, (_, i) => 5000 + ((i * 7919) % 500) + i * 100);
      for (const [i, time] of times.entries()) await log.append([makeBatch(host.kernel, i * 10, 10, 100, time)]);
      await log.flush();
      for (let wanted = 4900; wanted < 21_000; wanted += 137) {
        const naive = times.findIndex((time) => time + 9 >= wanted);
        equal(await log.offsetForTimestamp(wanted), naive < 0 ? undefined : naive * 10, `time ${wanted}`);
      }
      await log.close();
    },
  },
  {
    name: "trim raises the log start for good",
    async run(host) {
      let opened = await host.open();
      const made = await fill(host.kernel, opened.log, 200);
      await fails("OFFSET_OUT_OF_RANGE", opened.log.trim(2001));
      await opened.log.trim(1500);
      equal(opened.log.logStartOffset, 1500);
      check(opened.log.segments()[0]!.nextOffset > 1500, "whole segments below are gone");
      await fails("OFFSET_OUT_OF_RANGE", opened.log.read(1499, 1000, 2000));
      equal(await readAll(opened.log), made.slice(150));
      await fill(host.kernel, opened.log, 100);
      opened = await opened.reopen(false);
      equal(opened.log.logStartOffset, 1500);
      await opened.log.roll();
      await opened.log.trim(opened.log.logEndOffset);
      equal([opened.log.logStartOffset, (await readAll(opened.log)).length], [3000, 0]);
      const { leaderEpoch } = opened.log;
      opened = await opened.reopen(false);
      equal([opened.log.logStartOffset, opened.log.logEndOffset], [3000, 3000], "with no record left");
      check(opened.log.leaderEpoch > leaderEpoch, "the epoch, too");
      await opened.log.close();
    },
  },
  {
    name: "the producers' snapshot of the newest seal is kept, even when its segment is removed",
    async run(host) {
      let opened = await host.open();
      let calls = 0;
      opened.log.onSeal = () => Uint8Array.of(7, ++calls);
      equal(await opened.log.producerSnapshot(), undefined);
      await fill(host.kernel, opened.log, 20);
      await opened.log.roll();
      const expected = { offset: 200, bytes: Uint8Array.of(7, calls) };
      equal(await opened.log.producerSnapshot(), expected);
      await opened.log.trim(200);
      opened = await opened.reopen(false);
      equal(await opened.log.producerSnapshot(), expected);
      await opened.log.close();
    },
  },
  {
    name: "compaction's outputs take the place of their inputs, holes and all",
    async run(host) {
      let opened = await host.open();
      opened.log.onSeal = () => Uint8Array.of(1, 2, 3);
      const made = await fill(host.kernel, opened.log, 200);
      const sealed = opened.log.segments().filter((segment) => segment.state === "sealed");
      const to = sealed[1]!.nextOffset;
      const kept = made.slice(0, to / 10).filter((_, i) => i % 5 === 2);
      const bytes = new Uint8Array(kept.length * kept[0]!.length);
      kept.forEach((batch, i) => bytes.set(batch, i * batch.length));
      await fails("INVALID_ARGUMENT", opened.log.replace(0, to - 1, []));
      await opened.log.replace(0, to, [{ baseOffset: 0, nextOffset: to, bytes, sealedAt: 77 }]);
      const expected = [...kept, ...made.slice(to / 10)];
      equal(await readAll(opened.log), expected);
      opened = await opened.reopen(false);
      equal(await readAll(opened.log), expected);
      equal([opened.log.segments()[0]!.compacted, opened.log.segments()[0]!.sealedAt], [true, 77]);
      await opened.log.replace(0, to, []);
      equal(await readAll(opened.log), made.slice(to / 10));
      equal(
        (await opened.log.producerSnapshot())?.bytes,
        Uint8Array.of(1, 2, 3),
        "the newest snapshot outlives its segment",
      );
      await opened.log.close();
    },
  },
  {
    name: "an offset changed by rot in a compacted segment is damage, not a record elsewhere",
    async run(host) {
      const opened = await host.open();
      const made = await fill(host.kernel, opened.log, 120);
      const to = opened.log.segments()[0]!.nextOffset;
      const bytes = new Uint8Array(made[0]!.length * 2);
      bytes.set(made[0]!);
      bytes.set(made[10]!, made[0]!.length);
      await opened.log.replace(0, to, [{ baseOffset: 0, nextOffset: to, bytes, sealedAt: 1 }]);
      await opened.flipBit(100, 7);
      const { log } = await opened.reopen(true);
      await fails("CORRUPT_RANGE", log.read(100, 1000, log.logEndOffset));
      equal(await readAll(log, to), made.slice(to / 10));
      await log.close();
    },
  },
  {
    name: "a batch that fits no segment is refused, and the largest that fits is taken",
    async run(host) {
      const { log } = await host.open();
      await fill(host.kernel, log, 1);
      const overhead = makeBatch(host.kernel, 0, 1, 1000).length - 1000 + 8;
      await log.append([makeBatch(host.kernel, 10, 1, log.batchBytesMax - overhead)]);
      await fails("BATCH_TOO_LARGE", log.append([makeBatch(host.kernel, 11, 1, log.batchBytesMax)]));
      await log.flush();
      equal((await readAll(log)).length, 2);
      await log.close();
    },
  },
];
