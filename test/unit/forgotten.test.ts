/**
 * Forgotten producers: a batch that is sent again after the log has forgotten its producer must never be stored a
 * second time.
 */
import { describe, expect, it } from "vitest";
import { Producer } from "../../src/delivery/producer.ts";
import { TidemarkError } from "../../src/errors.ts";
import { loadSnapshot } from "../../src/log/producer-snapshot.ts";
import { takeSnapshot } from "../../src/store/take-snapshot.ts";
import { ProducerState } from "../../src/log/producer-state.ts";
import type { LogSettings } from "../../src/log/types.ts";
import { readHeader } from "../../src/record/format.ts";
import { appendAsked } from "../../worker/log-object/http-append.ts";
import { Archive } from "../../worker/store/segment-archive.ts";
import { Stream } from "../../worker/stream/stream.ts";
import { StreamState } from "../../worker/stream/writer-state.ts";
import { fails } from "../contract/check.ts";
import { nodeSql } from "../support/node-sql.ts";
import { STREAM_CONFIG } from "../support/stream-config.ts";
import { batchOf, dump, type Fixture, fixture, kernel } from "./log-fixtures.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const DAY = 24 * 3_600_000;

/** A producer whose next ack is lost when the test sets `lose`. The test decides what happens before it sends again. */
function losing(made: Fixture, logEnd?: () => number) {
  const told = { lose: false, sent: 0 };
  let open!: () => void;
  const again = new Promise<void>((resolve) => (open = resolve));
  let lost!: () => void;
  const wasLost = new Promise<void>((resolve) => (lost = resolve));
  const producer = new Producer({
    kernel,
    codec: "none",
    batchBytes: 1e5,
    recordBytesMax: 1e5,
    batchBytesMax: 2e5,
    inFlightBytesMax: 1e6,
    schedule: queueMicrotask,
    newId: () => 4242,
    reopened: () => again,
    ...(logEnd && { logEnd }),
    send: async (batch, options) => {
      told.sent++;
      const lose = told.lose;
      told.lose = false;
      const result = await made.log.append(batch, options);
      if (!lose) return result;
      lost();
      throw new TidemarkError("OUTCOME_UNKNOWN", "the ack is lost");
    },
  });
  const append = (text: string) => producer.append({ key: null, value: bytes(text), timestamp: 1 }, "flushed");
  return { append, told, open, wasLost };
}
const others = async (made: Fixture, count: number): Promise<void> => {
  for (let id = 1; id <= count; id++) await made.log.append(batchOf(["x=1"], { id }));
};
const copies = async (made: Fixture): Promise<number> =>
  (await dump(made.log)).filter((line) => line.endsWith("=THE ONE")).length;

describe("an append of unknown outcome", () => {
  it.each([0, 1, 3])(
    "is OUTCOME_UNKNOWN, and one record, when its producer was forgotten meanwhile (%i batches before)",
    async (before) => {
      const made = await fixture({ producersMax: 10 });
      const { append, told, open, wasLost } = losing(made);
      for (let i = 0; i < before; i++) await append(`before ${i}`);
      told.lose = true;
      const acked = append("THE ONE");
      await wasLost;
      await others(made, 10);
      open();
      const error = await fails("OUTCOME_UNKNOWN", acked);
      expect(error.details).toMatchObject({ reason: "forgotten", resentSince: before, forgotten: before });
      expect(await copies(made)).toBe(1);
      expect(await append("next"), "the producer goes on, under a new epoch").toMatchObject({
        duplicate: false,
        offset: before + 11,
      });
      expect(await copies(made)).toBe(1);
    },
  );

  it("the same across rolls, trims and openings: the snapshot says up to where producers were forgotten", async () => {
    for (const change of [
      (made: Fixture) => made.log.roll(),
      (made: Fixture) => made.log.roll().then(() => made.log.trim(made.log.highWatermark)),
    ]) {
      const made = await fixture({ producersMax: 10 });
      const { append, told, open, wasLost } = losing(made);
      told.lose = true;
      const acked = append("THE ONE");
      await wasLost;
      await others(made, 10);
      await change(made);
      await made.reopen();
      open();
      expect((await fails("OUTCOME_UNKNOWN", acked)).details["reason"]).toBe("forgotten");
      expect(await copies(made)).toBe(made.log.logStartOffset === 0 ? 1 : 0);
    }
  });

  it.each([8 * DAY, 20_000 * DAY, -8 * DAY, -20_000 * DAY])(
    "is a duplicate after the clock jumped by %i ms: no clock makes the log forget",
    async (jump) => {
      for (const roll of [false, true]) {
        const made = await fixture();
        const { append, told, open, wasLost } = losing(made);
        told.lose = true;
        const acked = append("THE ONE");
        await wasLost;
        made.clock.time += jump;
        if (roll) await made.log.roll();
        await made.reopen();
        await made.log.clean();
        open();
        expect(await acked).toMatchObject({ offset: 0, duplicate: true });
        expect(await copies(made)).toBe(1);
      }
    },
  );

  it("is known, or new, after a trim whose batches the log still holds", async () => {
    const made = await fixture();
    await others(made, 3);
    await made.log.trim(made.log.highWatermark);
    await made.reopen();
    expect([made.log.logStartOffset, made.log.logEndOffset]).toEqual([3, 3]);
    const again = await made.log.append(batchOf(["x=1"], { id: 2 }), { resentSince: 0 });
    expect(again).toMatchObject({ duplicate: true, baseOffset: 1 });
    const fresh = await made.log.append(batchOf(["x=1"], { id: 9 }), { resentSince: 0 });
    expect(fresh).toMatchObject({ duplicate: false, baseOffset: 3 });
  });

  it("is appended once when it surely never arrived, although the log has forgotten other producers", async () => {
    const made = await fixture({ producersMax: 10 });
    await others(made, 50);
    const { append, told, open } = losing(made, () => made.log.highWatermark);
    const real = made.log.append.bind(made.log);
    made.log.append = async () => {
      told.lose = false;
      made.log.append = real;
      throw new TidemarkError("CLOSED", "it went before it took anything");
    };
    const acked = append("THE ONE");
    open();
    expect(await acked).toMatchObject({ duplicate: false, offset: 50 });
    expect([await copies(made), told.sent]).toEqual([1, 2]);
  });

  it("a producer that was silent while it was forgotten continues, and keeps its order", async () => {
    const made = await fixture({ producersMax: 10 });
    const { append } = losing(made);
    await append("a");
    await others(made, 10);
    expect(await Promise.all([append("b"), append("c")])).toMatchObject([{ duplicate: false }, { duplicate: false }]);
    expect((await dump(made.log)).filter((line) => /=[abc]$/.test(line))).toEqual(["0:=a", "11:=b", "12:=c"]);
  });
});

describe("an unknown producer", () => {
  it("may begin at any sequence number, and must continue from there", async () => {
    const { log } = await fixture();
    expect(await log.append(batchOf(["a=1"], { id: 1, epoch: 3, sequence: 30 }))).toMatchObject({
      baseOffset: 0,
      duplicate: false,
    });
    expect(await log.append(batchOf(["a=1"], { id: 1, epoch: 3, sequence: 30 }))).toMatchObject({
      baseOffset: 0,
      duplicate: true,
    });
    expect(
      (await fails("OUT_OF_ORDER_SEQUENCE", log.append(batchOf(["a=1"], { id: 1, epoch: 3, sequence: 32 })))).details,
    ).toMatchObject({ expected: 31 });
    expect(await log.append(batchOf(["a=1"], { id: 1, epoch: 3, sequence: 31 }))).toMatchObject({ baseOffset: 1 });
  });

  it("is refused beyond 0 when it says that it counts from 0: an earlier batch is missing", async () => {
    const { log } = await fixture();
    expect(
      (await fails("OUT_OF_ORDER_SEQUENCE", log.append(batchOf(["a=1"], { id: 1, sequence: 1 }), { fromZero: true })))
        .details,
    ).toMatchObject({ expected: 0, unknownProducer: true });
    expect(log.logEndOffset).toBe(0);
  });

  it("after 1,001 producers the first one's next batch is taken", async () => {
    const made = await fixture();
    await others(made, 1001);
    expect(await made.log.append(batchOf(["next=1"], { id: 1, sequence: 1 }))).toMatchObject({
      duplicate: false,
      baseOffset: 1001,
    });
  });
});

describe("what is remembered of the forgotten", () => {
  const header = (id: number) => ({ ...readHeader(batchOf(["a=1"], { id })), producerId: id });

  it("a producer for which a snapshot has no room counts as forgotten", () => {
    const state = new ProducerState(100);
    for (let id = 1; id <= 5; id++) state.record(header(id), id * 10);
    const loaded = new ProducerState(100);
    expect(loadSnapshot(loaded, kernel, takeSnapshot(state, kernel, 16 + 3 * 32 + 4), 60)).toBe(true);
    expect([loaded.size, loaded.forgotten, state.forgotten]).toEqual([3, 20, -1]);
  });

  it("a snapshot of the first version is loaded: any producer that it lacks may have been forgotten", () => {
    const old = new Uint8Array(8 + 20 + 20 + 4);
    const view = new DataView(old.buffer);
    view.setUint32(0, 0x50524431);
    view.setUint32(4, 1);
    view.setBigInt64(8, 7n);
    view.setInt16(16, 2);
    view.setBigInt64(18, 1_764_000_000_000n);
    view.setUint16(26, 1);
    view.setInt32(28, 5);
    view.setInt32(32, 6);
    view.setBigInt64(36, 40n);
    view.setUint32(44, 99);
    view.setUint32(48, kernel.crc32c(old.subarray(0, 48)));
    const state = new ProducerState(10);
    expect(loadSnapshot(state, kernel, old, 50)).toBe(true);
    expect([state.forgotten, state.get(7)]).toEqual([
      49,
      { epoch: 2, batches: [{ baseSequence: 5, lastSequence: 6, baseOffset: 40, crc: 99 }] },
    ]);
  });

  it("damage may hide a producer: producers of damaged batches count as forgotten", async () => {
    const made = await fixture();
    for (let id = 1; id <= 3; id++) await made.log.append(batchOf([`k${id}=1`], { id }));
    // Moves the durable mark behind all three batches.
    await made.log.clean();
    const { slot, bodyPosition, bytes: size } = made.log.segments()[0]!;
    const magic = bodyPosition! + size / 3 + 16;
    await made.volume.write(slot!, magic, Uint8Array.of(9));
    await made.reopen();
    expect(made.log.quarantined().map(({ from, to }) => [from, to])).toEqual([[1, 2]]);
    const sent = (id: number, resentSince: number) => made.log.append(batchOf([`k${id}=1`], { id }), { resentSince });
    expect(await sent(1, 0)).toMatchObject({ duplicate: true, baseOffset: 0 });
    expect((await fails("OUT_OF_ORDER_SEQUENCE", sent(2, 1))).details).toMatchObject({
      unknownProducer: true,
      forgotten: 1,
    });
    expect(await sent(2, 2)).toMatchObject({ duplicate: false, baseOffset: 3 });
  });
});

describe("at the edge", () => {
  const host = () => ({
    sql: nodeSql(),
    kernel,
    archive: new Archive(undefined, kernel),
    now: () => 1_764_000_000_000,
    breathe: () => Promise.resolve(),
    readSource: () => Promise.reject(new Error()),
    onChange: () => {},
    onSealed: () => {},
    abort: (reason: string) => expect.fail(reason),
  });

  it("several batches are appended all or none: too large, out of turn, or a conflict, at any place", async () => {
    const bad: readonly (readonly [string, () => Uint8Array])[] = [
      ["BATCH_TOO_LARGE", () => batchOf([`b=${"x".repeat(1_100_000)}`])],
      ["OUT_OF_ORDER_SEQUENCE", () => batchOf(["b=1"], { id: 1, sequence: 9 })],
      ["SEQUENCE_CONFLICT", () => batchOf(["other=1"], { id: 2 })],
      ["INVALID_BATCH", () => batchOf(["b=1"]).fill(0, 17, 21)],
    ];
    for (const [code, make] of bad) {
      for (const at of [0, 1, 2]) {
        const stream = await Stream.create(host(), STREAM_CONFIG);
        await stream.appendBatches([batchOf(["k=0"], { id: 1 }), batchOf(["k=0"], { id: 2 })], undefined);
        const good = () => [
          batchOf(["k=1"], { id: 1, sequence: 1 }),
          batchOf(["k=2"], { id: 1, sequence: 2 }),
          batchOf(["k=3"], { id: 3 }),
        ];
        const error = await fails(
          code as "INVALID_BATCH",
          stream.appendBatches(good().toSpliced(at, 0, make()), undefined),
        );
        expect(error.details["batch"], `${code} at ${at}`).toBe(at);
        expect([stream.log.logEndOffset, stream.log.highWatermark], "nothing is kept").toEqual([2, 2]);
        const results = await stream.appendBatches(good(), undefined);
        expect(
          results.map(({ baseOffset, duplicate }) => [baseOffset, duplicate]),
          "and nobody's sequence has moved",
        ).toEqual([
          [2, false],
          [3, false],
          [4, false],
        ]);
      }
    }
  });

  it("a conflict of the expected end, and repeats among new ones", async () => {
    const stream = await Stream.create(host(), STREAM_CONFIG);
    await stream.appendBatches([batchOf(["k=0"], { id: 1 })], 0);
    await fails(
      "OFFSET_CONFLICT",
      stream.appendBatches([batchOf(["k=1"], { id: 1, sequence: 1 }), batchOf(["k=2"])], 0),
    );
    const results = await stream.appendBatches(
      [batchOf(["k=0"], { id: 1 }), batchOf(["k=1"], { id: 1, sequence: 1 }), batchOf(["k=2"])],
      1,
    );
    expect(results.map(({ baseOffset, duplicate }) => [baseOffset, duplicate])).toEqual([
      [0, true],
      [1, false],
      [2, false],
    ]);
  });

  it("re-sent batches carry their first try's time; a producer that wakes after 1,100 others is safe", async () => {
    const made = host();
    const stream = await Stream.create(made, STREAM_CONFIG);
    for (let id = 1; id <= 1100; id++) await stream.appendBatches([batchOf(["a=1"], { id })], undefined);
    await fails(
      "OUT_OF_ORDER_SEQUENCE",
      stream.appendBatches([batchOf(["a=1"], { id: 1 })], undefined, { resentSince: 0 }),
    );
    await stream.log.roll();
    const again = (await Stream.load(made))!;
    expect(
      (
        await fails(
          "OUT_OF_ORDER_SEQUENCE",
          again.appendBatches([batchOf(["a=1"], { id: 1 })], undefined, { resentSince: 50 }),
        )
      ).details["forgotten"],
    ).toBe(99);
    expect(await again.appendBatches([batchOf(["a=1"], { id: 1 })], undefined, { resentSince: 100 })).toMatchObject([
      { baseOffset: 1100, duplicate: false },
    ]);
  });

  it("headers of a POST say so; wrong values are refused by the header's name", () => {
    const offset = `${"50".padStart(16, "0")}_${"0".repeat(16)}`;
    const asked = (headers: Record<string, string>) =>
      appendAsked(new Headers({ "content-type": "text/plain", ...headers })).sending;
    expect(asked({})).toEqual({});
    expect(asked({ "Tidemark-Resent-Since": offset, "Tidemark-Sequences": "from-zero" })).toEqual({
      resentSince: 50,
      fromZero: true,
    });
    for (const value of ["50", "now", "-1", "", "x"])
      expect(() => asked({ "Tidemark-Resent-Since": value }), value).toThrow("Tidemark-Resent-Since");
    for (const value of ["from-one", "true", ""])
      expect(() => asked({ "Tidemark-Sequences": value }), value).toThrow("Tidemark-Sequences");
  });

  it("a snapshot has nothing of requests that are queued: after a crash they are new", () => {
    const state = StreamState.from(undefined, 0);
    const of = (seq: number) => ({ id: "w", epoch: 0, seq });
    state.take(of(0), "a", 0);
    state.take(of(1), "b", 10);
    // The log sealed a segment at 10, while the second request waited.
    state.reached(10);
    const after = StreamState.from(state.snapshot(), 10);
    expect(after.admit(of(0)), "is in the log").toBe(0);
    expect(after.admit(of(1)), "was lost").toBeUndefined();
    after.checkSeq("b");
    expect(() => after.checkSeq("a")).toThrow("must be higher");
    // Meanwhile both are known.
    expect(state.admit(of(1))).toBe(1);
    expect(() => state.checkSeq("b")).toThrow("must be higher");
  });

  it("writers by name: the same, through snapshots", () => {
    const full = (state: StreamState, count: number) => {
      for (let i = 0; i < count; i++) state.take({ id: `w${i}`, epoch: 0, seq: 0 }, undefined, i);
      state.reached(count);
    };
    const state = StreamState.from(undefined, 0);
    full(state, 4096);
    expect(state.admit({ id: "new", epoch: 0, seq: 0 }, { resentSince: 0 })).toBeUndefined();
    full(state, 4100);
    const first = { id: "w0", epoch: 0, seq: 0 };
    const loaded = StreamState.from(state.snapshot(), 4100);
    for (const each of [state, loaded]) {
      expect(() => each.admit(first, { resentSince: 0 })).toThrow("this producer was forgotten");
      expect(each.admit(first, { resentSince: 4100 }), "it was sent after that").toBeUndefined();
      expect(each.admit(first), "who says nothing is new").toBeUndefined();
    }
    const { forgotten: _, ...older } = JSON.parse(state.snapshot()) as Record<string, unknown>;
    expect(() => StreamState.from(JSON.stringify(older), 5000).admit(first, { resentSince: 4999 })).toThrow(
      "forgotten",
    );
  });
});

it("settings no longer have an age of producers", async () => {
  await fails("INVALID_ARGUMENT", fixture({ producerMaxAgeMs: 1000 } as Partial<LogSettings>));
});
