/** Appends of a Worker's topic that share batches, where the stream refuses some: who fails, and how often it asks. */
import { expect, it } from "vitest";
import type { ProducerBatchAck, ProducerRecord } from "../../src/delivery/producer.ts";
import { TidemarkError } from "../../src/errors.ts";
import { CallGroups } from "../../worker/client/call-groups.ts";

const record = (text: string): ProducerRecord => ({ key: null, value: new TextEncoder().encode(text), timestamp: 0 });
const textOf = ({ value }: ProducerRecord): string => new TextDecoder().decode(value!);

/** A stream that takes batches without "bad". `names`: whether its refusals name the record. */
function streamOf(names: boolean) {
  const log: string[] = [];
  const asked: number[] = [];
  let batch: { records: readonly ProducerRecord[]; settle: (outcome: TidemarkError | number) => void }[] = [];
  const post = (): void => {
    const calls = batch;
    batch = [];
    const records = calls.flatMap((call) => call.records);
    asked.push(records.length);
    const bad = records.findIndex((each) => textOf(each) === "bad");
    const what = records.length === 1 ? "the record" : `record ${bad}`;
    const error = new TidemarkError("SCHEMA_MISMATCH", `${what} does not fit`, names ? { record: bad, batch: 0 } : {});
    for (const call of calls) {
      if (bad < 0) log.push(...call.records.map(textOf));
      call.settle(bad < 0 ? log.length - 1 : error);
    }
  };
  const appendBatch = (records: readonly ProducerRecord[]): Promise<ProducerBatchAck> =>
    new Promise((resolve, reject) => {
      if (batch.length === 0) queueMicrotask(post);
      const settle = (outcome: TidemarkError | number): void => {
        if (outcome instanceof TidemarkError) reject(outcome);
        else resolve({ offset: outcome, baseOffset: 0, timestamp: 0, acks: "flushed", duplicate: false });
      };
      batch.push({ records, settle });
    });
  const groups = new CallGroups(() => Promise.resolve({ appendBatch }), 1 << 20);
  /** Each call's offset, or what it was told. */
  const put = (calls: readonly (readonly string[])[]): Promise<unknown[]> =>
    Promise.all(
      calls.map((texts) =>
        groups.appendBatch(texts.map(record), "flushed").then(
          ({ offset }) => offset,
          (error: TidemarkError) => [error.toWire().message, error.details["record"]],
        ),
      ),
    );
  return { log, asked, put, groups };
}

it("a call with a record that is named fails alone, as if it had been sent alone, for one request more", async () => {
  const { log, asked, put, groups } = streamOf(true);
  expect(await put([["a"], ["bad"], ["b", "c"], ["d", "bad", "e"], ["f"], ["bad"]])).toEqual([
    0,
    ["the record does not fit", 0],
    2,
    ["record 1 does not fit", 1],
    3,
    ["the record does not fit", 0],
  ]);
  expect([log, asked, groups.pendingBytes]).toEqual([["a", "b", "c", "f"], [9, 8, 5, 4], 0]);
});

it("where no call fits there is a request for each", async () => {
  const { log, asked, put } = streamOf(true);
  const outcomes = await put(Array.from({ length: 100 }, () => ["bad"]));
  expect([log, asked.length, new Set(outcomes.map(String))]).toEqual([[], 100, new Set(["the record does not fit,0"])]);
});

it("a refusal that names none is followed by halves, and fewer than two requests for each call", async () => {
  const { log, asked, put } = streamOf(false);
  const outcomes = await put([["bad"], ["a"], ["bad"], ["bad"]]);
  expect(outcomes.map((each) => (typeof each === "number" ? each : "refused"))).toEqual([
    "refused",
    0,
    "refused",
    "refused",
  ]);
  expect([log, asked]).toEqual([["a"], [4, 2, 1, 1, 2, 1, 1]]);
});
