/** Names of records: the same at each of their places, and found again by header. */
import { describe, expect, it } from "vitest";
import { parsedId, placeIn } from "../../src/browser/tools/find-record.ts";
import { BatchBuilder } from "../../src/record/batch-builder.ts";
import { readHeader, stampBaseOffset } from "../../src/record/format.ts";
import { decodeBatch, type RecordBatch } from "../../src/record/record-batch.ts";
import { recordId } from "../../src/record/record-id.ts";
import { releaseKernel } from "../support/kernels.ts";

const kernel = await releaseKernel();
const OWNER = { producerId: 2 ** 53 - 1, producerEpoch: 0x7fff, baseSequence: 2 ** 31 - 2 };

function batchOf(owner: typeof OWNER, records = 4): Uint8Array {
  const builder = new BatchBuilder(kernel);
  for (let i = 0; i < records; i++) builder.tryAppend({ key: null, value: new Uint8Array([i]), timestamp: i });
  return builder.build(owner).slice();
}

const idsOf = (bytes: Uint8Array): string[] => {
  const batch = decodeBatch(kernel, bytes) as RecordBatch;
  return Array.from({ length: batch.count }, (_, i) => batch.idAt(i));
};

describe("a record's id", () => {
  it("is its producer, epoch and sequence, also where sequences wrap, and does not change with the offset", () => {
    const bytes = batchOf(OWNER);
    const ids = [0, 1, 2, 3].map((at) => recordId(OWNER, at));
    expect(ids).toEqual(["2gosa7pa2gv-pa7-zik0zi", "2gosa7pa2gv-pa7-zik0zj", "2gosa7pa2gv-pa7-0", "2gosa7pa2gv-pa7-1"]);
    expect(idsOf(bytes)).toEqual(ids);
    stampBaseOffset(bytes, 2 ** 52 + 7);
    expect(idsOf(bytes)).toEqual(ids);
    ids.forEach((id, at) => expect(placeIn(readHeader(bytes), parsedId(id))).toBe(at));
    for (const id of ["2gosa7pa2gv-pa7-2", "2gosa7pa2gv-pa7-zik0zh", "2gosa7pa2gv-pa6-0", "2gosa7pa2gu-pa7-0", "3"])
      expect(placeIn(readHeader(bytes), parsedId(id))).toBeUndefined();
  });

  it("stays with the records that compaction leaves", () => {
    const bytes = kernel.filterBatch(batchOf({ ...OWNER, baseSequence: 10 }), new Uint8Array([0b1010])).bytes.slice();
    expect(idsOf(bytes)).toEqual(["2gosa7pa2gv-pa7-b", "2gosa7pa2gv-pa7-d"]);
  });

  it("is the offset where there is no producer", () => {
    const bytes = batchOf({ producerId: -1, producerEpoch: -1, baseSequence: -1 });
    stampBaseOffset(bytes, 41);
    expect(idsOf(bytes)).toEqual(["41", "42", "43", "44"]);
    expect(placeIn(readHeader(bytes), parsedId("43"))).toBe(2);
    expect(placeIn(readHeader(bytes), parsedId("45"))).toBeUndefined();
  });

  it.each([undefined, 7, "", "a-b", "a-b-c-d", "-1", "A-0-0", "a-0-0 "])("%o is refused as none", (id) => {
    expect(() => parsedId(id)).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
  });
});
