/** The producer of a typed topic, alone: what is refused before it goes on leaves nothing behind. */
import { afterEach, beforeEach, expect, it } from "vitest";
import { TypedProducer } from "../../src/typed/typed-producer.ts";
import { Typing } from "../../src/typed/typing.ts";
import { laterTurn } from "../../src/browser/platform/timing.ts";
import { serializerOf } from "../../src/topic/serializer.ts";

const unheard: unknown[] = [];
const hear = (thrown: unknown): void => void unheard.push(thrown);
beforeEach(() => void process.on("unhandledRejection", hear));
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
