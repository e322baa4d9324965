/**
 * Appends of the client against a real log, over a network that loses requests and answers, delays them, is busy, and
 * beside so many other producers that the log forgets. Whatever happens, a record is in the log once or not at all, and
 * each outcome is true.
 */
import assert from "node:assert/strict";
import { encodeBatch } from "../../src/client/encode-batch.ts";
import { type Posted, Sender } from "../../src/client/sender.ts";
import { TidemarkError } from "../../src/errors.ts";
import { Log } from "../../src/log/log.ts";
import { decodeBatch, splitBatches } from "../../src/record/record-batch.ts";
import { MemoryVolume } from "../../src/store/memory-volume.ts";
import { SegmentStore } from "../../src/store/segment-store.ts";
import { releaseKernel } from "../support/kernels.ts";

const kernel = await releaseKernel();
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** What happens to one post. "late" is lost for the client, and reaches the log some posts later. */
export const FAULTS = ["none", "lost", "unanswered", "late", "busy", "forget", "begin fails"] as const;
export type Fault = (typeof FAULTS)[number];

export interface Call {
  readonly records: number;
  /** True if the log refuses its last record. */
  readonly isBad: boolean;
  /** After how many posts its signal is aborted. */
  readonly abortAfter: number | null;
  /** True if the next call comes once this one is over. */
  readonly waits: boolean;
}

async function openLog(): Promise<Log> {
  const volume = new MemoryVolume({ slotBytes: 64 * 1024 });
  const store = await SegmentStore.open({ volume, kernel, now: () => 0, newId: () => "a" });
  return Log.open({
    store: await store.log("a"),
    kernel,
    clock: { now: () => 0 },
    // One other producer makes it forget.
    settings: { producersMax: 1 },
  });
}

async function textsOf(bytes: Uint8Array): Promise<string[]> {
  const texts: string[] = [];
  for (const each of splitBatches(bytes)) {
    const batch = await decodeBatch(kernel, each);
    for (let i = 0; i < batch.count; i++) texts.push(decoder.decode(batch.valueAt(i)!));
  }
  return texts;
}

async function valuesIn(log: Log): Promise<string[]> {
  const values: string[] = [];
  for (let from = 0; from < log.logEndOffset;) {
    const { bytes, nextOffset } = await log.fetch(from);
    values.push(...(await textsOf(bytes)));
    from = nextOffset;
  }
  return values;
}

const away = (): TidemarkError => new TidemarkError("CLOSED", "no answer", { reason: "network" });

export async function history(faults: readonly Fault[], calls: readonly Call[]): Promise<void> {
  const log = await openLog();
  const late: { readonly isFirst: boolean; readonly arrive: () => Promise<unknown> }[] = [];
  const aborts: { at: number; over: AbortController }[] = [];
  let [posts, others, ids] = [0, 0, 100];
  const take = async (batch: Uint8Array, ifEnd: number | undefined, since: number | undefined): Promise<Posted> => {
    if ((await textsOf(batch)).some((value) => value.startsWith("bad")))
      throw new TidemarkError("INVALID_ARGUMENT", "refused", { status: 400 });
    return log.append(batch.slice(), {
      fromZero: true,
      ...(ifEnd !== undefined && { ifEnd }),
      ...(since !== undefined && { resentSince: since }),
    });
  };
  const forget = async (): Promise<unknown> => {
    // Nothing tells a first copy that comes so late from a new one (docs/client.md): the network holds none so long.
    for (let at = late.length; at-- > 0;)
      if (late[at]!.isFirst)
        await late
          .splice(at, 1)[0]!
          .arrive()
          .catch(() => undefined);
    const record = { key: null, value: encoder.encode("other"), timestamp: 0 };
    return log.append(encodeBatch([record], { producerId: ++others, producerEpoch: 0, baseSequence: 0 }));
  };
  const sender = new Sender({
    timeoutMs: 3_600_000,
    inFlightBytesMax: 1e9,
    newId: () => ++ids,
    pause: (_, __, signal) => Promise.resolve().then(() => signal.throwIfAborted()),
    begin: () =>
      faults[posts] === "begin fails" && posts++ >= 0 ? Promise.reject(away()) : Promise.resolve(log.logEndOffset),
    async post(batch, { ifEnd, since }, signal) {
      const now = faults[posts++] ?? "none";
      for (const { at, over } of aborts) if (at <= posts) over.abort(new Error("aborted"));
      if (late.length > 0 && posts % 2 === 0)
        await late
          .shift()!
          .arrive()
          .catch(() => undefined);
      if (now === "forget") await forget();
      if (now === "lost") throw away();
      if (now === "busy") throw new TidemarkError("BACKPRESSURE", "busy", { status: 429 });
      if (now === "late") {
        late.push({ isFirst: since === undefined, arrive: () => take(batch, ifEnd, since) });
        throw away();
      }
      const posted = await take(batch, ifEnd, since);
      signal.throwIfAborted();
      if (now === "unanswered") throw away();
      return posted;
    },
  });
  const outcomes: Promise<{
    readonly n: number;
    readonly size: number;
    readonly offset?: number;
    readonly thrown?: unknown;
  }>[] = [];
  for (const [n, { records, isBad, abortAfter, waits }] of calls.entries()) {
    const over = new AbortController();
    if (abortAfter !== null) aborts.push({ at: posts + abortAfter, over });
    const given = Array.from({ length: records }, (_, i) => ({
      key: null,
      value: encoder.encode(`${isBad && i === records - 1 ? "bad " : ""}${n}.${i}`),
      timestamp: n,
    }));
    const outcome = sender.add(given, { signal: over.signal }).then(
      ({ baseOffset, at }) => ({ n, size: records, offset: baseOffset + at }),
      (thrown: unknown) => ({ n, size: records, thrown }),
    );
    outcomes.push(outcome);
    if (waits) await outcome;
  }
  const all = await Promise.all(outcomes);
  for (const { arrive } of late) await arrive().catch(() => undefined);
  const values = await valuesIn(log);
  const counts = new Map<string, number>();
  for (const value of values) if (value !== "other") counts.set(value, (counts.get(value) ?? 0) + 1);
  assert.deepEqual(
    [...counts].filter(([, count]) => count > 1),
    [],
  );
  let before = -1;
  for (const { n, size, offset, thrown } of all) {
    const own = Array.from({ length: size }, (_, i) => `${n}.${i}`);
    if (offset !== undefined) {
      assert.deepEqual(values.slice(offset, offset + size), own);
      assert.ok(offset > before, "the order of calls");
      before = offset + size - 1;
      continue;
    }
    const code = thrown instanceof TidemarkError ? thrown.code : String((thrown as Error).message);
    const found = own.filter((value) => counts.has(value)).length;
    // Whole or not at all, also where nobody knows.
    assert.ok([0, size].includes(found), "whole, or not at all");
    assert.ok(["INVALID_ARGUMENT", "OUTCOME_UNKNOWN", "aborted"].includes(code), code);
    if (code === "INVALID_ARGUMENT") assert.equal(found, 0);
  }
}
