/**
 * The workloads, run inside the page. The runner calls them by name, ours and the peers' in turns, and pairs the
 * results. Each returns a rate or a time; the runner judges it.
 *
 * Appends of batches: every side has the same number of batches unanswered at a time. Ours goes through the public API,
 * encoding included. The raw side gets bytes that were encoded before, of the same size, and flushes each message.
 */
import { kernelUrl } from "../../../src/browser/page/files.ts";
import { loadKernel } from "../../../src/index.ts";
import { encodedBytes, fresh, ours, perSecond, pipelined, value } from "./common.ts";
import { frames } from "./frames.ts";
import { logs } from "./logs.ts";
import { PEERS } from "./peer.ts";
import { seeks } from "./seeks.ts";
import { tabs } from "./tabs.ts";
import { views } from "./views.ts";

async function peer<T>(
  kind: keyof typeof PEERS,
  work: (call: (method: string, args?: unknown[], transfer?: ArrayBuffer[]) => Promise<unknown>) => Promise<T>,
): Promise<T> {
  const made = PEERS[kind]();
  const name = fresh();
  await made.call("open", [name]);
  try {
    return await work((method, args, transfer) => made.call(method, args, transfer));
  } finally {
    await made.call("close", [name]);
    made.end();
  }
}

function packed(count: number, size: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(count * size);
  const one = value(size);
  for (let i = 0; i < count; i++) bytes.set(one, i * size);
  return bytes;
}

const workloads = {
  ...views,
  ...frames,
  ...tabs,
  ...logs,
  ...seeks,
  async appendOurs(batches: number, count: number, size: number, depth?: number): Promise<number> {
    const records = Array.from({ length: count }, () => ({ value: value(size), timestamp: 1_700_000_000_000 }));
    return ours(async (topic) => {
      await topic.appendBatch(records);
      return perSecond(batches * count, await pipelined(batches, () => topic.appendBatch(records), depth));
    });
  },
  async appendRaw(batches: number, count: number, size: number, depth?: number): Promise<number> {
    const bytes = new Uint8Array(encodedBytes(count, size)).fill(7);
    return peer("raw", async (call) => {
      await call("append", [bytes.slice()]);
      const ms = await pipelined(
        batches,
        () => {
          const copy = bytes.slice();
          return call("append", [copy], [copy.buffer]);
        },
        depth,
      );
      return perSecond(batches * count, ms);
    });
  },
  async appendPeer(kind: "sqlite" | "dexie" | "idb", batches: number, count: number, size: number): Promise<number> {
    const bytes = packed(count, size);
    return peer(kind, async (call) => {
      await call("append", [bytes.slice(), count, 0]);
      const ms = await pipelined(batches, (i) => {
        const copy = bytes.slice();
        return call("append", [copy, count, i * count], [copy.buffer]);
      });
      return perSecond(batches * count, ms);
    });
  },
  /**
   * A burst after an idle time: the slots that it fills were grown ahead, as far as the store does so. Returns MiB per
   * second.
   */
  async burst(bytes: number, idleMs: number, count = 100): Promise<number> {
    const records = Array.from({ length: count }, () => ({ value: value(1024), timestamp: 1_700_000_000_000 }));
    return ours(async (topic) => {
      await topic.append({ value: value(100) });
      await new Promise((resolve) => setTimeout(resolve, idleMs));
      const batches = Math.ceil(bytes / encodedBytes(count, 1024));
      return bytes / 1024 / 1024 / ((await pipelined(batches, () => topic.appendBatch(records))) / 1000);
    });
  },
  async singleOurs(count: number, size: number): Promise<number> {
    const record = { value: value(size) };
    return ours(async (topic) => {
      for (let i = 0; i < 20; i++) await topic.append(record);
      const started = performance.now();
      for (let i = 0; i < count; i++) await topic.append(record);
      return perSecond(count, performance.now() - started);
    });
  },
  /** A batch of one record, written and flushed by itself, over a message as ours goes. */
  async singleRaw(count: number, size: number): Promise<number> {
    const bytes = new Uint8Array(encodedBytes(1, size)).fill(7);
    return peer("raw", async (call) => {
      const one = (): Promise<unknown> => {
        const copy = bytes.slice();
        return call("append", [copy], [copy.buffer]);
      };
      for (let i = 0; i < 20; i++) await one();
      const started = performance.now();
      for (let i = 0; i < count; i++) await one();
      return perSecond(count, performance.now() - started);
    });
  },
  async singleSqlite(count: number, size: number): Promise<number> {
    return peer("sqlite", async (call) => {
      const bytes = value(size);
      for (let i = 0; i < 20; i++) await call("append", [bytes, 1, i]);
      const started = performance.now();
      for (let i = 0; i < count; i++) await call("append", [bytes, 1, i]);
      return perSecond(count, performance.now() - started);
    });
  },
  async unawaitedOurs(rounds: number, size: number): Promise<number> {
    const record = { value: value(size), timestamp: 1_700_000_000_000 };
    return ours(async (topic) => {
      const round = () => Promise.all(Array.from({ length: 1000 }, () => topic.append(record)));
      for (let i = 0; i < 5; i++) await round();
      const started = performance.now();
      for (let i = 0; i < rounds; i++) await round();
      return perSecond(rounds * 1000, performance.now() - started);
    });
  },
  async unawaitedSqlite(rounds: number, size: number): Promise<number> {
    const bytes = packed(1000, size);
    return peer("sqlite", async (call) => {
      await call("append", [bytes, 1000, 0]);
      const started = performance.now();
      for (let i = 0; i < rounds; i++) await call("append", [bytes, 1000, i]);
      return perSecond(rounds * 1000, performance.now() - started);
    });
  },
  /** Writes `count` records once, then reads them all `rounds` times. Returns the records per second of each round. */
  async replayOurs(count: number, size: number, rounds: number): Promise<{ batches: number[]; records: number[] }> {
    const records = Array.from({ length: 1000 }, () => ({ value: value(size), timestamp: 1_700_000_000_000 }));
    return ours(async (topic) => {
      await pipelined(count / 1000, () => topic.appendBatch(records));
      const result = { batches: [] as number[], records: [] as number[] };
      for (let round = 0; round < rounds; round++) {
        let sum = 0;
        let seen = 0;
        let started = performance.now();
        for await (const batch of topic.readBatches()) {
          for (const record of batch) {
            sum += record.offset + record.valueBytes![0]!;
            seen++;
          }
        }
        result.batches.push(perSecond(seen, performance.now() - started));
        started = performance.now();
        for await (const record of topic.read()) sum += record.offset + record.valueBytes![0]!;
        result.records.push(perSecond(seen, performance.now() - started));
        if (seen !== count || sum < 0) throw new Error(`replay saw ${seen}`);
      }
      return result;
    });
  },
  async replayPeer(kind: "sqlite" | "dexie", count: number, size: number, rounds: number): Promise<number[]> {
    return peer(kind, async (call) => {
      for (let i = 0; i < count / 1000; i++) await call("append", [packed(1000, size), 1000, i * 1000]);
      const rates: number[] = [];
      for (let round = 0; round < rounds; round++) {
        const started = performance.now();
        const { rows } = (await call("replay")) as { rows: number };
        rates.push(perSecond(rows, performance.now() - started));
      }
      return rates;
    });
  },
  async crc(bytes: number): Promise<{ kernel: number; table: number }> {
    const kernel = await loadKernel(kernelUrl());
    const data = value(bytes);
    const table = new Uint32Array(256).map((_, n) => {
      let crc = n;
      for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
      return crc >>> 0;
    });
    const byTable = () => {
      let crc = -1;
      for (let i = 0; i < data.length; i++) crc = (crc >>> 8) ^ table[(crc ^ data[i]!) & 0xff]!;
      return ~crc >>> 0;
    };
    if (byTable() !== kernel.crc32c(data)) throw new Error("the two CRCs differ");
    const rate = (one: () => unknown, times: number) => {
      for (let i = 0; i < 5; i++) one();
      const started = performance.now();
      for (let i = 0; i < times; i++) one();
      return (bytes * times) / 1e6 / ((performance.now() - started) / 1000);
    };
    return { kernel: rate(() => kernel.crc32c(data), 200), table: rate(byTable, 50) };
  },
};

Object.assign(window, { workloads });
document.title = "ready";
