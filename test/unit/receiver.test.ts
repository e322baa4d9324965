/** Own batches whose bytes the outbox can't give: fetched and stored a fetch at a time, over the real storage. */
import { expect, it } from "vitest";
import { nextOffsetOf, readHeader } from "../../src/record/format.ts";
import { MemoryVolume } from "../../src/store/memory-volume.ts";
import type { EdgeLog } from "../../src/sync/edge-socket.ts";
import type { Delivered } from "../../src/sync/log-follow.ts";
import { receive } from "../../src/sync/receiver.ts";
import type { ReceivedFrame } from "../../src/sync/topic-store.ts";
import { WindowBudget } from "../../src/sync/window-budget.ts";
import { batchOf, ListedEdge, Synced } from "../contract/synced-fixture.ts";
import { releaseKernel } from "../support/kernels.ts";

const kernel = await releaseKernel();

it("a long run is stored a fetch at a time, and what the edge no longer has at its end is a hole", async () => {
  const synced = await Synced.make({
    kernel,
    newVolume: async (slotBytes) => new MemoryVolume({ slotBytes }),
    reopen: async (volume) => volume,
  });
  await synced.join();
  const edge = new ListedEdge(kernel);
  const crcs = Array.from({ length: 6 }, (_, i) => {
    edge.append(batchOf(kernel, [`r${i}`], 77, i));
    return readHeader(edge.batches[i]!.bytes!).crc;
  });
  // A fetch gives two batches. Compaction has taken the last one since the run was told.
  edge.compact(5);
  const log = {
    socket: { windows: new WindowBudget() } as EdgeLog["socket"],
    async *follow(): AsyncGenerator<Delivered> {
      yield { bytes: new Uint8Array(0), nextOffset: 6, own: { position: 0, next: 6, offset: 0, crcs } };
    },
    fetch: async (from: number) => edge.frame(from, Math.min(from + 2, edge.end)).bytes,
  } as Partial<EdgeLog> as EdgeLog;
  const frames: ReceivedFrame[] = [];
  const store = new Proxy(synced.storage, {
    get(target, name): unknown {
      const value: unknown = Reflect.get(target, name, target);
      if (name === "receive") return (frame: ReceivedFrame) => (frames.push(frame), target.receive(frame));
      return typeof value === "function" ? (value as () => unknown).bind(target) : value;
    },
  });
  const host = { store, atEdge: { end: undefined, life: "00000000000000b1" }, advanced: () => undefined };
  await receive(host, log);
  expect(frames.map(({ from, nextOffset }) => [from, nextOffset])).toEqual([
    [0, 2],
    [2, 4],
    [4, 5],
    [5, 6],
  ]);
  expect(frames.slice(0, 3).map(({ bytes, from }) => readHeader(bytes).baseOffset - from)).toEqual([0, 0, 0]);
  expect(nextOffsetOf(readHeader(frames[2]!.bytes))).toBe(5);
  expect(synced.storage.watermark).toBe(6);
  expect((await synced.shown()).committed).toEqual(["r0", "r1", "r2", "r3", "r4"]);
});
