/** Headers that are the edge's own (H31): no way into a synced topic takes a record that has one. */
import { describe, expect, it } from "vitest";
import { TidemarkError } from "../../src/errors.ts";
import { BatchBuilder, type Header } from "../../src/record/batch-builder.ts";
import { takeSegments } from "../../src/browser/worker/take-segments.ts";
import { compressBatch } from "../../src/record/codec.ts";
import { MemoryVolume } from "../../src/store/memory-volume.ts";
import { Synced, TOPIC } from "../contract/synced-fixture.ts";
import { releaseKernel } from "../support/kernels.ts";

const kernel = await releaseKernel();
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const NAMES = ["ds.producer", "ds.seq"];

const made = (): Promise<Synced> =>
  Synced.make({
    kernel,
    newVolume: async (slotBytes) => new MemoryVolume({ slotBytes }),
    reopen: async (volume) => volume,
  });

/** One record for each list of headers. */
function batchWith(headers: readonly (readonly Header[])[], sequence = 0, value = "v"): Uint8Array {
  const builder = new BatchBuilder(kernel);
  for (const each of headers) builder.tryAppend({ key: null, value: bytes(value), headers: each, timestamp: 1 });
  return builder.build({ producerId: 7, producerEpoch: 0, baseSequence: sequence });
}
const packed = (batch: Uint8Array): Promise<Uint8Array> => compressBatch(kernel, batch);
const asIs = async (batch: Uint8Array): Promise<Uint8Array> => batch;

describe.each([
  ["plain", asIs],
  ["compressed", packed],
] as const)("a %s batch", (_, form) => {
  it.each(NAMES)(
    "with the header %s is refused by that name, wherever it stands, and takes no position",
    async (name) => {
      const synced = await made();
      for (const place of [0, 1, 2]) {
        const headers = [0, 1, 2].map((i): Header[] => [
          ["a", null],
          [i === place ? name : "b", bytes("1")],
        ]);
        const refused = { code: "INVALID_ARGUMENT", details: { field: "headers", header: name, topic: TOPIC } };
        await expect(synced.log.append(await form(batchWith(headers)))).rejects.toMatchObject(refused);
      }
      expect(synced.storage.end).toBe(0);
      await synced.log.append(await form(batchWith([[["ds.sequence", null]], [["ds", null]], []], 0, NAMES.join())));
      expect(synced.storage.end).toBe(3);
    },
  );
});

describe("appends that come while a compressed batch is looked into", () => {
  it("keep their order, behind one that is taken and behind one that is refused", async () => {
    const synced = await made();
    const refused = await packed(batchWith([[["ds.seq", null]]], 5));
    const batches = [await packed(batchWith([[]], 0)), batchWith([[]], 1), await packed(batchWith([[]], 2))];
    const appends = [refused, ...batches, batchWith([[]], 3)].map((batch) => synced.log.append(batch));
    const ends = await Promise.all(
      appends.map((append) =>
        append.then(
          ({ lastOffset }) => lastOffset % 2 ** 52,
          (thrown: TidemarkError) => thrown.code,
        ),
      ),
    );
    expect(ends).toEqual(["INVALID_ARGUMENT", 0, 1, 2, 3]);
  });

  it("a batch that can't be decompressed is the log's to judge", async () => {
    const synced = await made();
    const broken = await packed(batchWith([[["ds.seq", null]]]));
    broken[broken.length - 1]! ^= 1;
    await expect(synced.log.append(broken)).rejects.toMatchObject({ code: "INVALID_BATCH" });
    await expect(synced.log.append(broken.subarray(0, 30))).rejects.toMatchObject({ code: "INVALID_BATCH" });
  });
});

it("segments can't be imported into a synced topic, whatever is in them", async () => {
  const { log } = await made();
  const topics = { writable: () => Promise.reject(new Error("nothing is made")) };
  const taking = takeSegments(topics, TOPIC, undefined, { files: [], into: log });
  await expect(taking).rejects.toMatchObject({ code: "INVALID_ARGUMENT", details: { reason: "synced" } });
});
