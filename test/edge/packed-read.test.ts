/**
 * Bodies of many small records, which the kernel packs one row at a time. They must have the same bytes as the records
 * read one by one: in long answers, in pages and in long polls, whatever lies between the small records. Damage must
 * end a body where it ends a reader of records.
 */
import { env, runInDurableObject, SELF } from "cloudflare:test";
import { describe, expect, it } from "vitest";
import { BatchBuilder } from "../../src/record/batch-builder.ts";
import { compressBatch } from "../../src/record/codec.ts";
import { nextOffsetOf, readHeader } from "../../src/record/format.ts";
import { decodeBatch, splitBatches } from "../../src/record/record-batch.ts";
import { objectName } from "../../worker/rpc/stubs.ts";
import { edgeKernel } from "../../worker/kernel.ts";

const kernel = await edgeKernel();
const { LOGS } = env;
const at = (path: string): string => `http://localhost/v1/stream/packed/${path}`;
const offsetOf = (n: number): string => `${String(n).padStart(16, "0")}_${"0".repeat(16)}`;
const numberOf = (response: Response): number => Number(response.headers.get("stream-next-offset")!.slice(0, 16));
const BATCHES = "application/vnd.tidemark.batches";
const encoder = new TextEncoder();
const MIB = 1024 * 1024;

type Value = string | null;
interface Storage {
  readonly storage: {
    readonly sql: { exec(query: string, ...bindings: unknown[]): { toArray(): Record<string, unknown>[] } };
  };
}

function batchOf(values: readonly Value[]): Uint8Array {
  const builder = new BatchBuilder(kernel);
  values.forEach((value, i) =>
    builder.tryAppend({
      key: i % 3 === 0 ? encoder.encode(`key ${i}`) : null,
      value: value === null ? null : encoder.encode(value),
      timestamp: 1_000 + i,
      headers: i % 5 === 0 ? [["trace", encoder.encode("abc")]] : [],
    }),
  );
  return builder.build({ producerId: -1, producerEpoch: -1, baseSequence: -1 });
}

async function create(path: string, type: string): Promise<void> {
  expect((await SELF.fetch(at(path), { method: "PUT", headers: { "content-type": type } })).status).toBe(201);
}

/** Appends batches in one request, which gets rows of its own. */
async function post(path: string, batches: readonly Uint8Array[]): Promise<void> {
  const body = new Uint8Array(batches.reduce((sum, { length }) => sum + length, 0));
  let end = 0;
  for (const batch of batches) body.set(batch, (end += batch.length) - batch.length);
  const response = await SELF.fetch(at(path), { method: "POST", headers: { "content-type": BATCHES }, body });
  expect([response.status, (await response.text()).slice(0, 80)]).toEqual([200, expect.stringContaining("appended")]);
}

/** Reads from `from` to the end. Returns each answer's text. */
async function readAll(
  path: string,
  from: number,
  query = "",
): Promise<{ readonly texts: string[]; readonly ends: number[] }> {
  const [texts, ends] = [[] as string[], [] as number[]];
  for (let offset = from; ;) {
    const response = await SELF.fetch(`${at(path)}?offset=${offsetOf(offset)}${query}`);
    expect(response.status).toBe(200);
    texts.push(await response.text());
    expect(numberOf(response)).toBeGreaterThan(offset);
    ends.push((offset = numberOf(response)));
    if (response.headers.get("stream-up-to-date") === "true") return { texts, ends };
  }
}

/**
 * Runs of small batches, and between them what the kernel does not pack: compressed batches, large values, values that
 * are null.
 */
async function mixed(path: string, value: (i: number, bytes: number) => Value): Promise<Value[]> {
  const all: Value[] = [];
  const make = (count: number, bytes: number): Value[] =>
    Array.from({ length: count }, () => (all.push(value(all.length, bytes)), all.at(-1)!));
  for (let round = 0; round < 6; round++) {
    await post(
      path,
      Array.from({ length: 120 }, () => batchOf(make(1, 2_000))),
    );
    await post(path, [
      batchOf(make(300, 200)),
      await compressBatch(kernel, batchOf(make(50, 400))),
      batchOf(make(10, 20)),
    ]);
    if (round % 2 === 0)
      await post(path, [
        batchOf(make(1, 200_000)),
        batchOf(make(2, 30_000)),
        ...Array.from({ length: 9 }, () => batchOf(make(1, 100))),
      ]);
    await post(path, [await compressBatch(kernel, batchOf(make(20, 90))), batchOf(make(1, 5))]);
  }
  return all;
}

describe("bodies made by the kernel", () => {
  it("text: long answers, pages and long polls are the values back to back, from any offset", async () => {
    await create("text", "text/plain");
    const all = await mixed("text", (i, bytes) =>
      i % 41 === 7 ? null : i % 43 === 7 ? "" : `${i}:`.padEnd(bytes, String(i % 10)),
    );
    const expected = (from: number, to: number): string =>
      all
        .slice(from, to)
        .map((value) => value ?? "")
        .join("");
    expect(expected(0, all.length).length).toBeGreaterThan(2 * MIB);
    for (const from of [0, 1, 119, 120, 250, 425, 500, 1000]) {
      const long = await readAll("text", from);
      expect([from, long.texts.join("") === expected(from, all.length)]).toEqual([from, true]);
      // The first answer is a long one: a page would be shorter.
      expect(long.texts[0]!.length).toBeGreaterThan(MIB);
    }
    for (const query of ["&live=long-poll"]) {
      const { texts, ends } = await readAll("text", 3, query);
      expect(texts.length).toBeGreaterThan(1);
      texts.forEach((text, i) =>
        expect([i, text === expected(i === 0 ? 3 : ends[i - 1]!, ends[i]!)]).toEqual([i, true]),
      );
    }
  });

  it("JSON: each answer is an array of its messages", async () => {
    await create("json", "application/json");
    const all = (await mixed("json", (i, bytes) => JSON.stringify({ i, text: "y".repeat(bytes) }))) as string[];
    for (const [from, query] of [
      [0, ""],
      [1, ""],
      [300, ""],
      [433, ""],
      [900, ""],
      [2, "&live=long-poll"],
    ] as const) {
      const { texts, ends } = await readAll("json", from, query);
      texts.forEach((text, i) =>
        expect([from, i, text === `[${all.slice(i === 0 ? from : ends[i - 1]!, ends[i]!).join(",")}]`]).toEqual([
          from,
          i,
          true,
        ]),
      );
    }
    // At the end the answer is an empty array.
    expect(await (await SELF.fetch(`${at("json")}?offset=${offsetOf(all.length)}`)).text()).toBe("[]");
  });

  it("records without values are an empty body, or an empty array", async () => {
    await create("none", "text/plain");
    await post("none", [batchOf([null, null]), batchOf([null])]);
    const response = await SELF.fetch(`${at("none")}?offset=-1`);
    expect([await response.text(), numberOf(response)]).toEqual(["", 3]);
  });

  it("damage among small records ends a body before its batch, is named, and records behind it are read", async () => {
    for (const where of ["value", "length", "offset"] as const) await damaged(`rot-${where}`, where);
  });
});

async function damaged(path: string, where: "value" | "length" | "offset"): Promise<void> {
  await create(path, "text/plain");
  const all: string[] = [];
  for (let post_ = 0; post_ < 12; post_++) {
    await post(
      path,
      Array.from({ length: 150 }, () =>
        batchOf([(all.push(`${all.length}:`.padEnd(1000, String(all.length % 10))), all.at(-1)!)]),
      ),
    );
  }
  const victim = 1_000;
  const [from, to] = await runInDurableObject(
    LOGS.get(LOGS.idFromName(objectName("dev", `packed/${path}`))) as never,
    async (_: unknown, { storage: { sql } }: Storage) => {
      const [row] = sql
        .exec("SELECT base_offset, bytes FROM chunk WHERE base_offset <= ? ORDER BY base_offset DESC LIMIT 1", victim)
        .toArray();
      const bytes = new Uint8Array(row!["bytes"] as ArrayBuffer);
      const batch = splitBatches(bytes).find((each) => nextOffsetOf(readHeader(each)) > victim)!;
      const header = readHeader(batch);
      expect((await decodeBatch(kernel, batch)).count).toBe(1);
      if (where === "value") batch[500]! ^= 1;
      else if (where === "length") batch[11]! ^= 1;
      else batch[7]! ^= 1;
      sql.exec("UPDATE chunk SET bytes = ? WHERE base_offset = ?", bytes, row!["base_offset"]);
      return [header.baseOffset, nextOffsetOf(header)];
    },
  );
  const broken = await SELF.fetch(`${at(path)}?offset=-1`)
    .then(async (response) => response.text())
    .then(
      () => "whole",
      () => "broken off",
    );
  expect(broken).toBe("broken off");
  let found = "";
  let answer: Response;
  for (let offset = 0; ;) {
    answer = await SELF.fetch(`${at(path)}?offset=${offsetOf(offset)}`);
    if (answer.status !== 200) break;
    found += await answer.text();
    expect(numberOf(answer)).toBeGreaterThan(offset);
    offset = numberOf(answer);
  }
  const { error } = (await answer.json()) as { error: { code: string; details: { from: number; to: number } } };
  expect([where, answer.status, error.code, error.details.from]).toEqual([where, 500, "CORRUPT_RANGE", from]);
  expect([where, found === all.slice(0, from).join("")]).toEqual([where, true]);
  const behind = await SELF.fetch(`${at(path)}?offset=${offsetOf(error.details.to)}`);
  expect([where, error.details.to >= to!, (await behind.text()).startsWith(`${error.details.to}:`)]).toEqual([
    where,
    true,
    true,
  ]);
}
