/** A push and its proof of the term (I2 of docs/sync.md), over the real storage: the proof is made during the read. */
import { expect, it } from "vitest";
import { MemoryVolume } from "../../src/store/memory-volume.ts";
import type { EdgeLog } from "../../src/sync/edge-socket.ts";
import { Pump, type PumpHost } from "../../src/sync/pump.ts";
import { Signal } from "../../src/sync/signal.ts";
import type { Push, Pushed } from "../../src/sync/sync-frames.ts";
import { namesIn, Synced } from "../contract/synced-fixture.ts";
import { releaseKernel } from "../support/kernels.ts";

it("waits for the proof, and leaves out what was flushed after the proof was asked for", async () => {
  const kernel = await releaseKernel();
  const synced = await Synced.make({
    kernel,
    newVolume: async (slotBytes) => new MemoryVolume({ slotBytes }),
    reopen: async (volume) => volume,
  });
  const { storage } = synced;
  await synced.append("a");
  const changed = new Signal();
  storage.listen({ appended: () => changed.set() });
  const seen: string[] = [];
  let isOver = false;
  let reads = 0;
  const store = new Proxy(storage, {
    get(target, name) {
      if (name !== "unsettledFrom") {
        const value: unknown = Reflect.get(target, name, target);
        return typeof value === "function" ? (value.bind(target) as unknown) : value;
      }
      return async (...asked: Parameters<typeof storage.unsettledFrom>) => {
        seen.push("read");
        // Another record is flushed while the term is proved.
        if (reads++ === 0) await synced.append("b");
        return target.unsettledFrom(...asked);
      };
    },
  });
  const host: PumpHost = {
    store,
    changed,
    limits: { frameBytes: 1_000_000, batches: 1_000, records: 65_536 },
    internals: { at: -1, count: 0 },
    block: undefined,
    setBlock: () => undefined,
    isOver: () => isOver,
    taken: () => undefined,
    async proveTerm() {
      seen.push("asked");
      for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
      seen.push("proved");
    },
  };
  let next = 0;
  const push = async (_: Omit<Push, "batches">, batches: readonly Uint8Array[]): Promise<Pushed> => {
    const names = batches.flatMap((batch) => namesIn(kernel, batch));
    seen.push(`push ${names.join()}`);
    next += names.length;
    isOver = next === 2;
    return { generation: 1, next, appended: [], duplicate: false, lastOffset: next - 1 };
  };
  await new Pump(host, { push } as Partial<EdgeLog> as EdgeLog, { expected: 0, previous: 0 }).run();
  expect(seen).toEqual(["asked", "read", "proved", "push a", "asked", "read", "proved", "push b"]);
});
