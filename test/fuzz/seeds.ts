/**
 * Batches from which hostile ones are made: good ones by our own encoder in every shape that the format has, and the
 * refused and the extreme ones of the kernel's contract.
 */
import { gzipSync } from "node:zlib";
import type { EncodeRequest, EncodingKernel } from "../../src/kernel/types.ts";
import {
  ATTRIBUTES_AT,
  BATCH_HEADER_BYTES,
  LENGTH_AT,
  LENGTH_OVERHEAD,
  stampBaseOffset,
} from "../../src/record/format.ts";
import { accepted, fields, framing, records as refusedRecords } from "../contract/kernel-refusals.ts";
import { concat, craft, requestOf, resealed, utf8, type SampleRecord } from "../contract/kernel-samples.ts";

type Sample = SampleRecord & { readonly timestamp: number };
/** Attributes that say gzip and nothing else. */
export const GZIP = 1;
const START = 1_700_000_000_000;

const plain = (count: number, valueBytes: number): Sample[] =>
  Array.from({ length: count }, (_, i) => ({
    key: utf8(`k${i % 7}`),
    value: new Uint8Array(valueBytes).fill(97 + (i % 26)),
    timestamp: START + i,
  }));

const SHAPES: readonly (readonly [Sample[], Partial<EncodeRequest>])[] = [
  [plain(1, 40), {}],
  [plain(3, 30), {}],
  [plain(9, 8), { producerId: 5, producerEpoch: 1, baseSequence: 7 }],
  [plain(40, 1), {}],
  [
    [
      { key: null, value: null, timestamp: START },
      { key: new Uint8Array(0), value: new Uint8Array(0), timestamp: START - 5 },
    ],
    {},
  ],
  [
    [
      { key: utf8("a"), value: null, timestamp: 0 },
      { key: null, value: utf8("b"), timestamp: -1 },
    ],
    { attributes: 0x20 },
  ],
  [
    [
      {
        key: utf8("h"),
        value: utf8("v"),
        headers: [
          ["trace", utf8("x")],
          ["", null],
          ["é", new Uint8Array(70)],
        ],
        timestamp: START,
      },
    ],
    {},
  ],
  [
    Array.from({ length: 5 }, (_, i) => ({
      value: utf8(`v${i}`),
      headers: [["n", utf8(String(i))] as const],
      timestamp: START + i * 100_000,
    })),
    {},
  ],
  [[{ key: new Uint8Array(130).fill(1), value: new Uint8Array(70), timestamp: START }], {}],
  [
    [
      { value: utf8("old"), timestamp: -Number.MAX_SAFE_INTEGER },
      { value: utf8("new"), timestamp: Number.MAX_SAFE_INTEGER },
    ],
    {},
  ],
];

/**
 * The same batch with its records compressed. With `level` 0 they are stored uncompressed in the stream, so that
 * damaged bytes do not break it.
 */
export function gzipped(batch: Uint8Array, level = 6): Uint8Array {
  const bytes = concat(
    batch.subarray(0, BATCH_HEADER_BYTES),
    new Uint8Array(gzipSync(batch.subarray(BATCH_HEADER_BYTES), { level })),
  );
  const view = new DataView(bytes.buffer);
  view.setInt32(LENGTH_AT, bytes.length - LENGTH_OVERHEAD);
  view.setInt16(ATTRIBUTES_AT, GZIP);
  return resealed(bytes);
}

export function goodBatches(kernel: EncodingKernel): Uint8Array[] {
  return SHAPES.map(([list, rest]) => kernel.encodeBatch(requestOf(list, rest)).bytes);
}

export function seedBatches(kernel: EncodingKernel): Uint8Array[] {
  const good = goodBatches(kernel);
  const later = good.map((batch, i) => {
    const moved = batch.slice();
    stampBaseOffset(moved, 2 ** 40 + i);
    return moved;
  });
  const compacted = craft({
    lastOffsetDelta: 900,
    maxTimestamp: 1001,
    records: [{ offsetDelta: 5 }, { offsetDelta: 899 }],
  });
  const contract = [...framing, ...fields, ...refusedRecords, ...accepted].map(({ bytes }) => bytes());
  const packed = [gzipped(good[2]!), gzipped(good[3]!, 0), gzipped(good[6]!)];
  return [...good, ...later.slice(0, 3), compacted, ...packed, ...contract].filter(
    (bytes) => bytes.length > 0 && bytes.length <= 1024,
  );
}
