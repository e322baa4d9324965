/** Payloads of joins, pushes and tides, and the registry's bytes: what is written is read, and nothing hostile is. */
import { describe, expect, it } from "vitest";
import { decodeFrame, encodeFrame, FrameType } from "../../src/sync/frames.ts";
import { ownRunOf, RUN_BATCHES_MAX } from "../../src/sync/own-runs.ts";
import {
  isOutboxId,
  type OutboxJoin,
  ownPayload,
  type OwnRun,
  type Push,
  pushPayload,
  readJoin,
  readPush,
  readTide,
  tidePayload,
} from "../../src/sync/sync-frames.ts";
import {
  type OutboxEntry,
  originsOf,
  ownerText,
  type PushNote,
  readOrigins,
  readSnapshot,
  type RegistrySnapshot,
  snapshotBytes,
} from "../../worker/store/outbox-bytes.ts";
import { slowCrc32c } from "../contract/kernel-samples.ts";
import { Random } from "../simulation/prng.ts";

const crc = (bytes: Uint8Array): number => slowCrc32c(bytes);
const hex = (bytes: Uint8Array): string => [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
const LARGE = Number.MAX_SAFE_INTEGER;

describe("a join", () => {
  const join: OutboxJoin = {
    outbox: "7fffffffffffffff",
    generation: 2 ** 31 - 1,
    term: 0,
    registered: true,
    first: 0,
    end: LARGE,
    passed: 3,
    life: "ffffffffffffffff",
    stream: "0a1b2c3d",
    samples: [
      [7, 2 ** 32 - 1],
      [5, null],
    ],
  };
  it("is taken as it is, with nulls as well", () => {
    expect(readJoin({ ...join })).toEqual(join);
    const idle = { ...join, outbox: null, life: null, stream: null, samples: [] };
    expect(readJoin(idle)).toEqual(idle);
  });

  it.each([
    ["outbox", ["", "0", "0000000000000000", "8000000000000000", "7FFFFFFFFFFFFFFF", "7fffffffffffffff0", 7, {}]],
    ["generation", [0, -1, 1.5, 2 ** 31, "1", null, NaN]],
    ["term", [-1, 2 ** 31, 0.5, "0", null]],
    ["registered", [0, 1, "true", null]],
    ["first", [-1, 1.5, LARGE + 1, "0", null]],
    ["end", [-1, Infinity, null, [0]]],
    ["passed", [-1, "3", null]],
    ["life", ["", "g".repeat(16), 0, "0".repeat(17)]],
    ["stream", [0, "x".repeat(65), {}]],
    ["samples", [null, {}, [[1]], [[1, 2, 3]], [["1", 2]], [[1, -1]], [[1, 2 ** 32]], [[-1, 2]], [null]]],
  ])("with a wrong %s is named by it", (field, values: readonly unknown[]) => {
    for (const value of values) {
      const found = readJoin({ ...join, [field]: value });
      expect("wrong" in found && found.wrong, JSON.stringify(value)).toMatch(new RegExp(`^${field} must be `));
    }
    const { [field as keyof OutboxJoin]: _, ...without } = join;
    expect("wrong" in readJoin(without), "missing").toBe(true);
  });

  it("brings no more samples than twelve, and no field of a prototype", () => {
    const samples = Array.from({ length: 13 }, (_, i) => [i, 0]);
    expect("wrong" in readJoin({ ...join, samples })).toBe(true);
    expect("wrong" in readJoin(Object.create(join) as Record<string, unknown>)).toBe(true);
  });

  it("names an outbox by 63 bits that are not 0", () => {
    expect(["0000000000000001", "7fffffffffffffff"].every(isOutboxId)).toBe(true);
  });
});

describe("a push", () => {
  it("has the layout of docs/sync.md", () => {
    const payload = pushPayload({ expected: 1, at: 2, readTo: 3, previous: 0xfedcba98 }, [Uint8Array.of(9, 8)]);
    expect(hex(payload)).toBe("000000000000000100000000000000020000000000000003fedcba980908");
    expect(hex(pushPayload({ expected: 0, at: 0, readTo: undefined, previous: 0 }, [])).slice(32, 48)).toBe(
      "ffffffffffffffff",
    );
  });

  it("is read as it was written", () => {
    const random = new Random(1, 2);
    for (let i = 0; i < 200; i++) {
      const fields: Omit<Push, "batches"> = {
        expected: random.int(LARGE),
        at: random.int(LARGE),
        readTo: random.chance(0.5) ? random.int(LARGE) : undefined,
        previous: random.u32(),
      };
      const batches = Uint8Array.from({ length: random.int(9) }, () => random.int(256));
      expect(readPush(pushPayload(fields, [batches]))).toEqual({ ...fields, batches });
    }
  });

  it("is none when it is short, or a number is no position", () => {
    const good = pushPayload({ expected: 1, at: 1, readTo: undefined, previous: 0 }, []);
    for (let length = 0; length < good.length; length++) expect(readPush(good.subarray(0, length))).toBeUndefined();
    for (const [at, value] of [
      [0, -1n],
      [8, -1n],
      [16, -2n],
      [0, 2n ** 53n],
      [8, 2n ** 62n],
      [16, 2n ** 53n],
    ] as const) {
      const bad = good.slice();
      new DataView(bad.buffer).setBigInt64(at, value);
      expect(readPush(bad), `${at} ${value}`).toBeUndefined();
    }
  });
});

describe("a tide", () => {
  it("is read as it was written, and is none when it is short or no offsets", () => {
    const tide = { logStartOffset: 1, nextOffset: 2, highWatermark: LARGE, life: "00000005deadbeef" };
    const payload = tidePayload(tide);
    expect(hex(payload)).toBe("00000000000000010000000000000002001fffffffffffff00000005deadbeef");
    expect(readTide(payload)).toEqual(tide);
    for (let length = 0; length < payload.length; length++)
      expect(readTide(payload.subarray(0, length))).toBeUndefined();
    for (const at of [0, 8, 16]) {
      const bad = payload.slice();
      bad[at] = 0x80;
      expect(readTide(bad)).toBeUndefined();
    }
  });
});

describe("own batches, told as they come", () => {
  const frameOf = (run: OwnRun) => decodeFrame(encodeFrame({ type: FrameType.OWN, payload: ownPayload(run) }))!;
  const runs: OwnRun[] = [
    { position: 4, next: 7, offset: 90, crcs: [1, 2] },
    { position: 7, next: 8, offset: 93, crcs: [3] },
    { position: 8, next: 9, offset: 94, crcs: [4] },
    // Another device's record lies between these and those before; then positions are left out.
    { position: 9, next: 10, offset: 96, crcs: [5] },
    { position: 11, next: 12, offset: 97, crcs: [6] },
  ];

  it("are one run where they stand back to back, here and at the edge", () => {
    const frames = runs.map(frameOf);
    const told: unknown[] = [];
    for (let frame = frames.shift(); frame; frame = frames.shift()) told.push(ownRunOf(frame, frames));
    expect(told).toEqual([{ position: 4, next: 9, offset: 90, crcs: [1, 2, 3, 4] }, runs[3], runs[4]]);
  });

  it("are no longer than their limit, unless one frame is", () => {
    const crcs = Array<number>(RUN_BATCHES_MAX / 2).fill(1);
    const half = (i: number): OwnRun => {
      const position = i * crcs.length;
      return { position, next: position + crcs.length, offset: 90 + position, crcs };
    };
    const frames = [0, 1, 2].map((i) => frameOf(half(i)));
    expect(ownRunOf(frames.shift()!, frames)?.crcs).toHaveLength(RUN_BATCHES_MAX);
    expect(frames).toHaveLength(1);
    const all = Array<number>(RUN_BATCHES_MAX + 1).fill(1);
    const long = { position: 0, next: all.length, offset: 90, crcs: all };
    expect(ownRunOf(frameOf(long), [])).toEqual(long);
  });

  it("end before a frame of another type, and none is made of a bad payload", () => {
    const tide = decodeFrame(encodeFrame({ type: FrameType.TIDE, payload: new Uint8Array(32) }))!;
    const waiting = [tide, frameOf(runs[1]!)];
    expect(ownRunOf(frameOf(runs[0]!), waiting)).toEqual(runs[0]);
    expect(waiting).toHaveLength(2);
    const bad = decodeFrame(encodeFrame({ type: FrameType.OWN, payload: new Uint8Array(25) }))!;
    expect(ownRunOf(bad, waiting)).toBeUndefined();
    const before = [bad];
    expect(ownRunOf(frameOf(runs[0]!), before)).toEqual(runs[0]);
    expect(before).toHaveLength(1);
  });
});

describe("the registry's bytes", () => {
  const push: PushNote = {
    id: "7123456789abcdef",
    next: 5,
    lastOffset: 9,
    generation: 3,
    term: 4,
    crc: 0xdeadbeef,
    records: 2,
  };
  const life = { life: "0000000200000001", start: 8 };

  it("note of a row: golden, and read as it was written", () => {
    const bytes = originsOf(life, [push])!;
    expect(hex(bytes)).toBe(
      "0000000200000001" +
        "0000000000000008" +
        "0".repeat(48) +
        ("7123456789abcdef" +
          "0000000000000005" +
          "0000000000000009" +
          "00000003" +
          "00000004" +
          "deadbeef" +
          "00000002"),
    );
    expect(readOrigins(bytes)).toEqual({ lives: [life], pushes: [push] });
    expect(originsOf(undefined, [])).toBeNull();
    expect(readOrigins(new Uint8Array(39))).toEqual({ lives: [], pushes: [] });
  });

  const entry: OutboxEntry = {
    since: 1,
    generation: 2,
    term: 3,
    next: 4,
    lastOffset: -1,
    lastCrc: 0xcafe,
    owner: "-_9zAAAAAAAB",
    seenAt: 1_764_000_000_000,
  };
  const snapshot: RegistrySnapshot = {
    offset: 100,
    forgottenAt: 7,
    forgottenGeneration: 6,
    lives: [life, { life: "ffffffffffffffff", start: 90 }],
    dropped: 12,
    outboxes: [["0123456789abcdef", entry]],
  };

  it("snapshot: golden, and read as it was written", () => {
    const bytes = snapshotBytes(snapshot, crc);
    expect(hex(bytes.subarray(0, -4))).toBe(
      "4f425831" +
        "00000001" +
        "0000000000000064" +
        "0000000000000007" +
        "00000006" +
        "00000002" +
        "000000000000000c" +
        ("0123456789abcdef" + "0000000000000001" + "0000000000000004" + "ffffffffffffffff") +
        ("00000002" + "00000003" + "0000cafe" + "0000019ab697e800" + "fbff73000000000001" + "000000") +
        ("0000000200000001" + "0000000000000008" + "ffffffffffffffff" + "000000000000005a"),
    );
    expect(readSnapshot(bytes, crc)).toEqual(snapshot);
    expect(readSnapshot(snapshotBytes({ ...snapshot, lives: [], outboxes: [] }, crc), crc)).toMatchObject({
      lives: [],
    });
  });

  it("snapshot: is none with any bit of it changed, or any byte missing", () => {
    const bytes = snapshotBytes(snapshot, crc);
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const bad = bytes.slice();
      bad[bit >> 3]! ^= 1 << (bit & 7);
      expect(readSnapshot(bad, crc), `bit ${bit}`).toBeUndefined();
    }
    for (let length = 0; length < bytes.length; length++)
      expect(readSnapshot(bytes.subarray(0, length), crc)).toBeUndefined();
  });

  it("owner: nine bytes as twelve characters that a URL may hold", () => {
    expect(ownerText(Uint8Array.of(0xfb, 0xff, 0x73, 0, 0, 0, 0, 0, 1, 99))).toBe("-_9zAAAAAAAB");
  });
});
