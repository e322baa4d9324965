/** The producer of a typed topic, alone: what is refused before it goes on leaves nothing behind. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { ProducerAck, ProducerRecord } from "../../src/delivery/producer.ts";
import type { TidemarkError } from "../../src/errors.ts";
import type { Middleware } from "../../src/typed/middleware.ts";
import { JUDGING_MS } from "../../src/typed/turns.ts";
import { TypedProducer } from "../../src/typed/typed-producer.ts";
import { Typing } from "../../src/typed/typing.ts";
import { laterTurn } from "../../src/browser/platform/timing.ts";
import { serializerOf } from "../../src/topic/serializer.ts";

const unheard: unknown[] = [];
const hear = (thrown: unknown): void => void unheard.push(thrown);
beforeEach(() => {
  unheard.length = 0;
  process.on("unhandledRejection", hear);
});
afterEach(() => void process.off("unhandledRejection", hear));

const IN_FLIGHT_BYTES_MAX = 8;

it("a record that finds no room and would not fit either is refused once, and nothing is unheard of", async () => {
  const judged: (() => void)[] = [];
  const validate = (): Promise<unknown> =>
    new Promise((resolve) => judged.push(() => resolve({ issues: [{ message: "no" }] })));
  const producer = new TypedProducer(
    {
      pendingBytes: 0,
      append: () => expect.fail("nothing fits"),
      appendBatch: () => expect.fail("nothing fits"),
      drained: () => Promise.resolve(),
    },
    {
      typing: new Typing("t", { schema: { "~standard": { version: 1, vendor: "test", validate } } }),
      serializer: serializerOf<string>("text"),
      uses: () => [],
      inFlightBytesMax: IN_FLIGHT_BYTES_MAX,
    },
  );
  const value = new Uint8Array(2 * IN_FLIGHT_BYTES_MAX);
  const appends = [0, 1].map((timestamp) => producer.append({ key: null, value, timestamp }, "flushed"));
  const settled = Promise.allSettled(appends);
  for (const judge of judged) judge();
  const codes = (await settled).map((one) => (one.status === "rejected" ? (one.reason as { code: string }).code : ""));
  expect(codes).toEqual(["SCHEMA_MISMATCH", "BACKPRESSURE"]);
  await laterTurn();
  expect(unheard).toEqual([]);
  expect(producer.pendingBytes).toBe(0);
});

describe("close() while appends are judged", () => {
  /** A producer whose log has what it is given at once, and a schema that answers "slow" when it is told to. */
  function closing(use?: Middleware) {
    const logged: string[] = [];
    const slow: (() => void)[] = [];
    const pauses: number[] = [];
    const append = async ({ value }: ProducerRecord): Promise<ProducerAck> => {
      logged.push(new TextDecoder().decode(value!));
      return { offset: logged.length - 1, timestamp: 0, acks: "flushed", duplicate: false };
    };
    const validate = (value: unknown): unknown =>
      value === "slow" ? new Promise((resolve) => slow.push(() => resolve({ value }))) : { value };
    const producer = new TypedProducer(
      { pendingBytes: 0, append, appendBatch: () => expect.fail("none"), drained: () => Promise.resolve() },
      {
        typing: new Typing("t", { schema: { "~standard": { version: 1, vendor: "test", validate } } }),
        serializer: serializerOf<string>("text"),
        uses: () => (use ? [use] : []),
        inFlightBytesMax: 1_000,
      },
    );
    const put = (text: string): Promise<string> =>
      producer.append({ key: null, value: new TextEncoder().encode(text), timestamp: 0 }, "flushed").then(
        ({ offset }) => `${text} at ${offset}`,
        ({ code, details }: TidemarkError) =>
          `${text} ${code} ${String(details["reason"])} ${String(details["topic"])}`,
      );
    const answer = (): void => slow.splice(0).forEach((judge) => judge());
    const pause = async (ms: number): Promise<void> => {
      pauses.push(ms);
      await laterTurn();
    };
    return { logged, pauses, answer, put, pause, close: (how = pause) => producer.drained(1, how), producer };
  }

  it("what no schema has let pass is refused, what waits behind it goes on in order", async () => {
    const { logged, pauses, answer, put, close, producer } = closing();
    const before = ["first", "slow", "second", "slow", "third"].map(put);
    await close();
    expect(await Promise.all(before)).toEqual([
      "first at 0",
      "slow CLOSED closed t",
      "second at 1",
      "slow CLOSED closed t",
      "third at 2",
    ]);
    // As long as a stream's schema has at the edge, and not much longer.
    const waited = pauses.reduce((sum, ms) => sum + ms, 0);
    expect(waited).toBeGreaterThanOrEqual(JUDGING_MS);
    expect(waited).toBeLessThan(JUDGING_MS * 1.1);
    answer();
    expect(await put("slow")).toBe("slow CLOSED closed t");
    await laterTurn();
    expect(logged).toEqual(["first", "second", "third"]);
    expect([producer.pendingBytes, unheard]).toEqual([0, []]);
  });

  it("a schema that answers in time is waited for, and no longer", async () => {
    const { logged, pauses, answer, put, pause, close } = closing();
    const judged = put("slow");
    await close(async (ms) => {
      if (ms === 1_000) answer();
      await pause(ms);
    });
    expect([await judged, logged]).toEqual(["slow at 0", ["slow"]]);
    await laterTurn();
    expect(pauses).toEqual([250, 500, 1_000]);
  });

  it("middleware that comes to next() too late gets the same error, and nothing is appended", async () => {
    const nexts: (() => Promise<unknown>)[] = [];
    const { logged, put, close } = closing((step, next) => {
      if (String(step.records[0]!.valueBytes) !== String(new TextEncoder().encode("held"))) return next();
      nexts.push(next);
      return new Promise(() => undefined);
    });
    const before = ["held", "free"].map(put);
    await close();
    expect(await Promise.all(before)).toEqual(["held CLOSED closed t", "free at 0"]);
    await expect(nexts[0]!()).rejects.toMatchObject({ code: "CLOSED" });
    expect([logged, unheard]).toEqual([["free"], []]);
  });

  it("drained() without a pause, of appendAll and sync, ends nothing", async () => {
    const { pauses, answer, put, producer } = closing();
    const judged = put("slow");
    const drained = producer.drained();
    await laterTurn();
    answer();
    await drained;
    expect([await judged, await put("next"), pauses]).toEqual(["slow at 0", "next at 1", []]);
  });
});
