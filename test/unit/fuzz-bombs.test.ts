/**
 * Bombs: few bytes that claim to be or become many, and floods of messages. The kernel's memory is fixed, but the
 * JavaScript heap could grow. It is measured after a garbage collection and, for asynchronous work, during the work.
 */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type PortHost, PortServer } from "../../src/browser/port/port-server.ts";
import { KERNEL_BATCH_BYTES_MAX, Status } from "../../src/kernel/types.ts";
import type { Log } from "../../src/log/log.ts";
import { gunzip } from "../../src/record/codec.ts";
import { decodeBatch, type RecordBatch, splitBatches } from "../../src/record/record-batch.ts";
import { equal, fails } from "../contract/check.ts";
import { SEED } from "../contract/kernel-arbitraries.ts";
import { concat, craft, framed, scanRequest, varint } from "../contract/kernel-samples.ts";
import { compressedBatch } from "../fuzz/record-targets.ts";
import { referenceKernel } from "../support/kernels.ts";
import { fixture, kernel } from "./log-fixtures.ts";

const MIB = 1024 * 1024;
/** More than this at once is looked at again behind a collection. */
const GARBAGE_BYTES = 4 * MIB;
setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

function used(): number {
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

/** Bytes in use after garbage collection. It collects three times: buffers are freed a turn after their owners. */
async function settled(): Promise<number> {
  for (let turn = 0; turn < 3; turn++) {
    collect();
    await new Promise((resolve) => setImmediate(resolve));
  }
  return used();
}

/** By how many bytes memory was above its start at most, while `work` ran. */
async function growth(work: () => unknown): Promise<number> {
  const before = await settled();
  let most = before;
  let running = true;
  let isCollected = false;
  const look = (): void => {
    // A busy machine collects late: only what a collection leaves counts, and that is seen a turn later.
    isCollected = !isCollected && used() > most + GARBAGE_BYTES;
    if (isCollected) collect();
    else most = Math.max(most, used());
    if (running) setImmediate(look);
  };
  look();
  try {
    await work();
  } finally {
    running = false;
    most = Math.max(most, used());
  }
  return most - before;
}

const HEAD = [0, 0, 0];
const hostOf = (log: Log): PortHost => ({
  manage: async () => undefined,
  readable: async () => ({ log, born: 1 }),
  writable: async () => ({ log, born: 1 }),
  appended: () => undefined,
  failed: () => undefined,
});

describe("counts", () => {
  const COUNTS = [-(2 ** 31), -1, 65_537, 2 ** 20, 2 ** 30, 2 ** 31 - 1];
  const section = (...parts: readonly (number | readonly number[])[]) => ({
    count: 1,
    maxTimestamp: 1000,
    section: framed(parts.flat()),
  });

  it("records: no claimed count makes memory grow or takes time", async () => {
    const grown = await growth(() => {
      for (const count of COUNTS) {
        for (const lastOffsetDelta of [0, 65_535, 2 ** 31 - 1]) {
          const bytes = craft({ count, lastOffsetDelta });
          for (const each of [kernel, referenceKernel()]) {
            expect(each.validateBatch(bytes)).toBe(Status.BAD_COUNT);
            expect(each.decodeRecords(bytes.subarray(61), count, 0, lastOffsetDelta, false).status).toBe(
              Status.BAD_COUNT,
            );
            expect(each.scan(bytes, scanRequest({ allowGaps: true })).status).toBe(Status.BAD_COUNT);
          }
        }
      }
    });
    expect(grown).toBeLessThan(8 * MIB);
  });

  it("the largest count over no bytes ends at the first record", async () => {
    const grown = await growth(() =>
      expect(kernel.decodeRecords(new Uint8Array(5), 65_536, 0, 65_535, true).status).toBe(Status.BAD_RECORD),
    );
    expect(grown).toBeLessThan(MIB);
  });

  it.each([5, 127, 128, 2 ** 20, 2 ** 31 - 1])("a header count of %i over two bytes is refused", (count) => {
    const bytes = craft(section(HEAD, 1, 1, varint(count), [0, 1]));
    equal(
      [kernel.validateBatch(bytes), referenceKernel().validateBatch(bytes)],
      [Status.BAD_RECORD, Status.BAD_RECORD],
    );
  });

  it("a million headers in one record cost what their bytes say, and only when asked for", async () => {
    const count = 1_000_000;
    const body = concat(
      [0, 0, 0, 1, 1],
      varint(count),
      new Uint8Array(count * 2).map((_, i) => i & 1),
    );
    const bytes = craft({ count: 1, maxTimestamp: 1000, section: [] });
    const whole = concat(bytes, varint(body.length), body);
    const view = new DataView(whole.buffer);
    view.setInt32(8, whole.length - 12);
    view.setUint32(17, kernel.crc32c(whole.subarray(21)));
    let batch: RecordBatch | undefined;
    expect(await growth(() => (batch = decodeBatch(kernel, whole) as RecordBatch))).toBeLessThan(MIB);
    let headers: unknown[] = [];
    const grown = await growth(() => (headers = batch!.headersAt(0)));
    expect(headers).toHaveLength(count);
    // A header costs an array of two and its place in the list.
    expect(grown / count).toBeLessThan(160);
  });
});

describe("gzip", () => {
  const header = craft({ count: 1, maxTimestamp: 1000 });
  /** A batch whose records are zeros, compressed to about three bytes of a thousand. */
  const bomb = (mib: number) => compressedBatch(kernel, header, new Uint8Array(gzipSync(new Uint8Array(mib * MIB))));

  it.each([3, 64, 256])("%i MiB of zeros stop at the cap", async (mib) => {
    const bytes = bomb(mib);
    const grown = await growth(() => fails("DECOMPRESSION_LIMIT", Promise.resolve(decodeBatch(kernel, bytes))));
    expect(grown).toBeLessThan(24 * MIB);
  });

  it("a trailer that promises 4 GiB makes no buffer of it; one that hides a bomb is caught on the way", async () => {
    for (const size of [2 ** 32 - 1, KERNEL_BATCH_BYTES_MAX + 1, 10]) {
      const stream = new Uint8Array(gzipSync(new Uint8Array(size === 10 ? 64 * MIB : 100)));
      new DataView(stream.buffer).setUint32(stream.length - 4, size, true);
      const grown = await growth(() =>
        gunzip(stream, KERNEL_BATCH_BYTES_MAX).then(
          () => expect.fail("decompressed"),
          () => undefined,
        ),
      );
      expect(grown, String(size)).toBeLessThan(24 * MIB);
    }
  });

  it("the measure notices a bomb that is decompressed", async () => {
    const stream = gzipSync(new Uint8Array(64 * MIB));
    let held: Uint8Array | undefined;
    expect(await growth(async () => (held = await gunzip(stream, 65 * MIB)))).toBeGreaterThan(60 * MIB);
    expect(held).toHaveLength(64 * MIB);
  });
});

describe("lengths", () => {
  it("no length makes a walk go back or beyond the end", () => {
    for (const length of [-(2 ** 31), -13, -12, -1, 0, 48, 2 ** 21, 2 ** 31 - 1]) {
      const bytes = concat(craft(), craft({ baseOffset: 2, length }));
      expect(() => splitBatches(bytes)).toThrow("INVALID_BATCH");
      expect(kernel.scan(bytes, scanRequest()).batches).toBe(1);
    }
  });

  it("more bytes than the kernel holds are refused, not copied", () => {
    const large = new Uint8Array(KERNEL_BATCH_BYTES_MAX + 1);
    large.set(craft());
    for (const each of [kernel, referenceKernel()]) {
      expect(each.validateBatch(large)).toBe(Status.BAD_LENGTH);
      expect(each.decodeBatch(large, true).status).toBe(Status.BAD_LENGTH);
      expect(each.filterBatch(large, new Uint8Array(1)).status).toBe(Status.BAD_LENGTH);
      expect(each.decodeRecords(large, 1, 0, 0, true).status).toBe(Status.TOO_LARGE);
      expect(each.filterBatch(craft(), new Uint8Array(1_000_000)).status).toBe(Status.OK);
    }
  });
});

describe("port", () => {
  const anything = fc.anything({
    withBigInt: true,
    withDate: true,
    withMap: true,
    withSet: true,
    withSparseArray: true,
    withTypedArray: true,
    withNullPrototype: true,
  });
  const fields = fc.dictionary(
    fc.constantFrom(
      "topic",
      "batch",
      "acks",
      "ifEnd",
      "from",
      "maxBytes",
      "isolation",
      "wait",
      "verify",
      "position",
      "settings",
      "__proto__",
    ),
    anything,
  );
  const messages = fc.tuple(
    fc.oneof(fc.constantFrom("append", "fetch", "resolve", "ready", "cancel"), anything),
    fields,
    fc.boolean(),
  );

  it(`a message of any shape is carried out or answered with a typed error (seed ${SEED})`, async () => {
    const made = await fixture();
    const { port1, port2 } = new MessageChannel();
    new PortServer(port2 as globalThis.MessagePort, hostOf(made.log));
    let next = 1;
    const answers = new Map<number, { error?: { code: string; message: unknown } }>();
    let arrived: () => void = () => undefined;
    port1.onmessage = ({ data }: { data: { id: number; error?: { code: string; message: unknown } } }) => (
      answers.set(data.id, data),
      arrived()
    );
    const answer = async (id: number): Promise<{ error?: { code: string; message: unknown } }> => {
      while (!answers.has(id)) await new Promise<void>((resolve) => (arrived = resolve));
      return answers.get(id)!;
    };
    await fc.assert(
      fc.asyncProperty(messages, async ([op, rest, named]) => {
        const id = next++;
        port1.postMessage({ ...rest, ...(named && { topic: "t" }), op, id });
        port1.postMessage({ op: "cancel", id });
        port1.postMessage({ op: "ready", id: next });
        expect((await answer(next++)).error).toBeUndefined();
        if (op === "cancel") return;
        const { error } = await answer(id);
        if (error) expect([error.code === "INTERNAL", typeof error.message], error.code).toEqual([false, "string"]);
      }),
      { seed: SEED, numRuns: 500 },
    );
    port1.close();
  });

  it("a flood of junk, of parked reads and of appends leaves no memory behind and the worker alive", async () => {
    const made = await fixture({ waitersMax: 100 });
    const { port1, port2 } = new MessageChannel();
    new PortServer(port2 as globalThis.MessagePort, hostOf(made.log));
    const codes = new Map<string, number>();
    let last: (() => void) | undefined;
    port1.onmessage = ({ data }: { data: { id: number; error?: { code: string } } }) => {
      codes.set(data.error?.code ?? "ok", (codes.get(data.error?.code ?? "ok") ?? 0) + 1);
      if (data.id === 0) last?.();
    };
    const post = (message: object) => port1.postMessage(message);
    const round = (): Promise<void> => new Promise((resolve) => ((last = resolve), post({ id: 0, op: "ready" })));
    await round();
    const junk = new Uint8Array(10_000);
    const before = await settled();
    for (let block = 0; block < 20; block++) {
      for (let i = 0; i < 200; i++) post({ junk, op: "fetch" });
      for (let i = 1; i <= 200; i++) post({ id: block * 1000 + i, op: "fetch", topic: "t", from: 0, wait: true, junk });
      for (let i = 201; i <= 400; i++) post({ id: block * 1000 + i, op: "append", topic: "t", batch: junk });
      await round();
    }
    const grown = (await settled()) - before;
    expect(Object.fromEntries(codes)).toMatchObject({ LIMIT_EXCEEDED: 20 * 200 - 100, INVALID_BATCH: 20 * 200 });
    // 120 MB were sent. One hundred waiting reads may keep what came with them.
    expect(grown).toBeLessThan(8 * MIB);
    for (let i = 1; i <= 100; i++) post({ id: i, op: "cancel" });
    await round();
    expect(codes.get("CLOSED")).toBe(100);
    port1.close();
  });
});
