/** fast-check generators of record batches: good ones, damaged ones, and random bytes that look a little like one. */
import fc from "fast-check";
import type { EncodeRequest, IndexState, ScanRequest } from "../../src/kernel/types.ts";
import { concat, craft, requestOf, resealed, varint } from "./kernel-samples.ts";

/**
 * A fixed seed, so that a run can be repeated; SEED=n tries others. fast-check prints the seed and path of a failure.
 */
export const SEED = Number(process.env["SEED"] ?? 20_261_121);

const SAFE = Number.MAX_SAFE_INTEGER;
const bytesUpTo = (maxLength: number): fc.Arbitrary<Uint8Array> => fc.uint8Array({ maxLength });
export const nullable = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | null> =>
  fc.option(arbitrary, { nil: null, freq: 4 });

/** Mostly times of today, sometimes the smallest and largest safe integers. */
export const timestamps = fc.oneof(
  { weight: 4, arbitrary: fc.integer({ min: 1_600_000_000_000, max: 1_600_000_100_000 }) },
  { weight: 2, arbitrary: fc.integer({ min: -200, max: 200 }) },
  { weight: 1, arbitrary: fc.integer({ min: -SAFE, max: SAFE }) },
  { weight: 1, arbitrary: fc.constantFrom(SAFE, -SAFE, 0, -0, -1) },
);

export const records = fc.record({
  key: nullable(bytesUpTo(20)),
  value: nullable(
    fc.oneof(
      bytesUpTo(80),
      bytesUpTo(3).map((bytes) => new Uint8Array(bytes.length * 5000).fill(7)),
    ),
  ),
  headers: fc.oneof(
    { weight: 3, arbitrary: fc.constant<[string, Uint8Array | null][]>([]) },
    {
      weight: 1,
      arbitrary: fc.array(fc.tuple(fc.string({ maxLength: 6 }), nullable(bytesUpTo(10))), { maxLength: 4 }),
    },
  ),
  timestamp: timestamps,
});

export const owners = fc.record({
  attributes: fc.constantFrom(0, 0, 0, 0x10, 0x20, 0x30, 0x40),
  producerId: fc.oneof(fc.constant(-1), fc.maxSafeNat()),
  producerEpoch: fc.integer({ min: -1, max: 32767 }),
  baseSequence: fc.integer({ min: -1, max: 2 ** 31 - 1 }),
});

export const requests: fc.Arbitrary<EncodeRequest> = fc
  .tuple(fc.array(records, { minLength: 1, maxLength: 12 }), owners)
  .map(([list, owner]) => requestOf(list, owner));

const lengths = fc.oneof(fc.integer({ min: -2, max: 12 }), fc.constantFrom(-(2 ** 31), 2 ** 31 - 1, 2 ** 30));
const anyNumber = fc.oneof(
  fc.integer({ min: -3, max: 9 }),
  fc.constantFrom(NaN, Infinity, 0.5, 2 ** 53, 2 ** 31, 2 ** 32),
);

/** Owners of batches, most of which no batch can have. */
export const wildOwners = fc.record({
  attributes: fc.oneof(fc.constant(0), fc.integer({ min: -2, max: 300 }), anyNumber),
  producerId: fc.oneof(fc.constant(-1), anyNumber),
  producerEpoch: fc.oneof(fc.constant(0), fc.constantFrom(32_767, 32_768, -32_769), anyNumber),
  baseSequence: fc.oneof(fc.constant(0), fc.constantFrom(2 ** 31 - 1), anyNumber),
});

/** Requests that no builder would make. */
export const wildRequests: fc.Arbitrary<EncodeRequest> = fc.record({
  blob: bytesUpTo(40),
  lengths: fc.array(lengths, { maxLength: 12 }).map((list) => Int32Array.from(list)),
  timestamps: fc.array(fc.oneof(timestamps, anyNumber), { maxLength: 4 }).map((list) => Float64Array.from(list)),
  count: fc.oneof(fc.integer({ min: 0, max: 4 }), anyNumber),
  attributes: fc.oneof(fc.constant(0), fc.integer({ min: -2, max: 300 }), anyNumber),
  producerId: anyNumber,
  producerEpoch: fc.oneof(fc.constant(0), anyNumber),
  baseSequence: fc.oneof(fc.constant(0), anyNumber),
});

/** Batches with any header and any records section but the right CRC, so that the checks behind the CRC are reached. */
const crafted: fc.Arbitrary<Uint8Array> = fc
  .record({
    attributes: fc.constantFrom(0, 0, 0, 8, 0x20, 1, 5, 0x80),
    baseOffset: fc.oneof(fc.constant(0), fc.integer({ min: -1, max: 5 }), fc.constantFrom(SAFE, SAFE - 1)),
    leaderEpoch: fc.integer({ min: -2, max: 3 }),
    lastOffsetDelta: fc.oneof(fc.integer({ min: -1, max: 5 }), fc.constant(2 ** 31 - 1)),
    count: fc.oneof(fc.integer({ min: 0, max: 3 }), fc.constantFrom(-1, 65_536, 65_537)),
    baseTimestamp: fc.oneof(fc.integer({ min: -5, max: 5 }), fc.constantFrom(SAFE, -SAFE, 2 ** 53)),
    maxTimestamp: fc.integer({ min: -5, max: 5 }),
    producerId: fc.integer({ min: -2, max: 2 }),
    section: fc.oneof(
      fc.array(fc.nat(255), { maxLength: 30 }),
      fc.array(fc.constantFrom(0, 1, 2, 6, 12, 14, 0x80, 0xff), { maxLength: 40 }),
      fc
        .array(
          fc
            .array(
              fc
                .oneof(fc.integer({ min: -2, max: 9 }), fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }))
                .map((n) => varint(n)),
              { maxLength: 8 },
            )
            .map((parts) => {
              const body = [0, ...parts.flat()];
              return [...varint(body.length), ...body];
            }),
          { maxLength: 3 },
        )
        .map((parts) => parts.flat()),
    ),
  })
  .map((sample) => craft(sample));

interface Mutation {
  readonly kind: "set" | "flip" | "cut" | "grow" | "remove" | "insert";
  readonly at: number;
  readonly byte: number;
}

function mutated(bytes: Uint8Array, { kind, at, byte }: Mutation): Uint8Array {
  // Damages mostly the header and the first records, where the structure is.
  const position = Math.min(Math.floor(at * at * bytes.length), Math.max(bytes.length - 1, 0));
  const copy = bytes.slice();
  if (kind === "set") copy[position] = byte;
  else if (kind === "flip") copy[position]! ^= 1 << (byte & 7);
  else if (kind === "cut") return copy.slice(0, position);
  else if (kind === "grow") return concat(copy, new Uint8Array(byte & 15));
  else if (kind === "remove") return concat(copy.subarray(0, position), copy.subarray(position + 1));
  else return concat(copy.subarray(0, position), [byte], copy.subarray(position));
  return copy;
}

const mutations = fc.record({
  kind: fc.constantFrom<Mutation["kind"]>("set", "set", "flip", "flip", "cut", "grow", "remove", "insert"),
  at: fc.double({ min: 0, max: 1, noNaN: true }),
  byte: fc.oneof(fc.nat(255), fc.constantFrom(0, 1, 0x7f, 0x80, 0xff)),
});

/** Sets the length field to the actual length, so that checks behind it are reached. */
function relengthed(bytes: Uint8Array): Uint8Array {
  if (bytes.length >= 12) new DataView(bytes.buffer, bytes.byteOffset).setInt32(8, bytes.length - 12);
  return bytes;
}

export type Encode = (request: EncodeRequest) => Uint8Array;

/** A good batch, damaged in one to four places; usually its length and CRC are made right again. */
export const damaged = (encode: Encode): fc.Arbitrary<Uint8Array> =>
  fc
    .tuple(
      fc.oneof(requests.map(encode), crafted),
      fc.array(mutations, { maxLength: 4 }),
      fc.boolean(),
      fc.integer({ min: 0, max: 3 }),
    )
    .map(([batch, list, fitLength, seal]) => {
      const bytes = list.reduce(mutated, batch);
      if (fitLength) relengthed(bytes);
      return seal > 0 ? resealed(bytes) : bytes;
    });

export const anyBytes = (encode: Encode): fc.Arbitrary<Uint8Array> =>
  fc.oneof(
    { weight: 6, arbitrary: damaged(encode) },
    { weight: 2, arbitrary: crafted },
    { weight: 1, arbitrary: fc.uint8Array({ maxLength: 200 }) },
  );

const indexStates: fc.Arbitrary<IndexState> = fc.record({
  bytesSinceEntry: fc.oneof(fc.constantFrom(0, 4096, 4097), fc.nat(10_000), anyNumber),
  maxTimestamp: fc.oneof({ weight: 4, arbitrary: fc.constant(-1) }, { weight: 1, arbitrary: anyNumber }),
  maxTimestampOffset: fc.oneof(fc.constant(-1), anyNumber),
  entryTimestamp: fc.oneof({ weight: 4, arbitrary: fc.constant(-1) }, { weight: 1, arbitrary: anyNumber }),
});

export const scanRequests: fc.Arbitrary<ScanRequest> = fc.record({
  expectedOffset: fc.oneof(
    { weight: 9, arbitrary: fc.integer({ min: 0, max: 2 }) },
    { weight: 1, arbitrary: anyNumber },
  ),
  allowGaps: fc.boolean(),
  minEpoch: fc.oneof({ weight: 9, arbitrary: fc.integer({ min: -1, max: 1 }) }, { weight: 1, arbitrary: anyNumber }),
  maxEpoch: fc.oneof({ weight: 9, arbitrary: fc.integer({ min: 1, max: 9 }) }, { weight: 1, arbitrary: anyNumber }),
  checkCrc: fc.boolean(),
  position: fc.oneof({ weight: 9, arbitrary: fc.nat(10_000) }, { weight: 1, arbitrary: anyNumber }),
  segmentBaseOffset: fc.oneof({ weight: 9, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: anyNumber }),
  index: indexStates,
});
