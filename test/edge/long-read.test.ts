/**
 * Catch-up reads in long answers, inside workerd: the same bytes as page by page, from any offset. Damage breaks such
 * an answer off, and the next answer names it.
 */
import { env, runInDurableObject, SELF } from "cloudflare:test";
import { describe, expect, it } from "vitest";
import { splitBatches } from "../../src/record/record-batch.ts";
import { objectName } from "../../worker/rpc/stubs.ts";

const { LOGS } = env;
const at = (path: string): string => `http://localhost/v1/stream/long/${path}`;
const BATCHES = "application/vnd.tidemark.batches";
const MIB = 1024 * 1024;

interface Storage {
  readonly storage: {
    readonly sql: { exec(query: string, ...bindings: unknown[]): { toArray(): Record<string, unknown>[] } };
  };
}

const inside = <T>(path: string, work: (sql: Storage["storage"]["sql"]) => T): Promise<T> =>
  runInDurableObject(
    LOGS.get(LOGS.idFromName(objectName("dev", `long/${path}`))) as never,
    (_: unknown, state: Storage) => work(state.storage.sql),
  );

async function make(path: string, type: string, bodies: readonly string[]): Promise<void> {
  await (await SELF.fetch(at(path), { method: "PUT", headers: { "content-type": type } })).arrayBuffer();
  for (const body of bodies)
    expect((await SELF.fetch(at(path), { method: "POST", headers: { "content-type": type }, body })).status).toBe(204);
}

const offsetOf = (n: number): string => `${String(n).padStart(16, "0")}_${"0".repeat(16)}`;
const lines = (n: number, bytes: number): string[] =>
  Array.from({ length: n }, (_, i) => `${i}:`.padEnd(bytes, String(i % 10)));

describe("long answers", () => {
  it("a reader far behind gets it all at once, whether it begins at a row, inside one or at the start", async () => {
    const bodies = lines(40, 100_000);
    await make("text", "text/plain", bodies);
    const rows = await inside("text", (sql) => sql.exec("SELECT base_offset FROM chunk").toArray().length);
    expect(rows).toBe(40);
    for (const from of [0, 1, 17]) {
      const response = await SELF.fetch(`${at("text")}?offset=${offsetOf(from)}`);
      expect([response.headers.get("stream-next-offset"), response.headers.get("stream-up-to-date")]).toEqual([
        offsetOf(40),
        "true",
      ]);
      expect((await response.text()) === bodies.slice(from).join("")).toBe(true);
    }
    const tail = await SELF.fetch(`${at("text")}?offset=${offsetOf(38)}`);
    // A short answer comes in one piece, with its length.
    expect([(await tail.text()).length, tail.headers.get("content-length") ?? "200000"]).toEqual([200_000, "200000"]);
  });

  it("a JSON array stays one, also from the middle of a row of many messages", async () => {
    const messages = Array.from({ length: 300 }, (_, i) => JSON.stringify({ i, text: "y".repeat(10_000) }));
    await make(
      "json",
      "application/json",
      [0, 1, 2].map((part) => `[${messages.slice(part * 100, part * 100 + 100).join(",")}]`),
    );
    for (const from of [0, 150]) {
      const response = await SELF.fetch(`${at("json")}?offset=${offsetOf(from)}`);
      const text = await response.text();
      expect(text === `[${messages.slice(from).join(",")}]`).toBe(true);
    }
  });

  it("large messages of one row come completely, although sending transfers the row's buffer", async () => {
    const messages = Array.from({ length: 12 }, (_, i) =>
      JSON.stringify({ i, text: String(i % 10).repeat(100_000 + i) }),
    );
    await make(
      "shared",
      "application/json",
      [0, 6].map((from) => `[${messages.slice(from, from + 6).join(",")}]`),
    );
    for (const from of [0, 3]) {
      const text = await (await SELF.fetch(`${at("shared")}?offset=${offsetOf(from)}`)).text();
      expect(text === `[${messages.slice(from).join(",")}]`).toBe(true);
    }
  });

  it("a log larger than one answer is read to its end, each answer where the one before it ended", async () => {
    const bodies = lines(30, 900_000);
    await make("large", "text/plain", bodies);
    let found = "";
    let answers = 0;
    for (let offset = "-1"; ; answers++) {
      const response = await SELF.fetch(`${at("large")}?offset=${offset}`);
      found += await response.text();
      offset = response.headers.get("stream-next-offset")!;
      if (response.headers.get("stream-up-to-date")) break;
    }
    expect(found === bodies.join("")).toBe(true);
    expect(answers).toBeLessThan(15);
  });

  it("batches come as they are stored, from the one that holds the offset on", async () => {
    const bodies = lines(60, 50_000);
    const type = { "content-type": "text/plain" };
    await (await SELF.fetch(at("batches"), { method: "PUT", headers: type })).arrayBuffer();
    // At once: rows hold several batches.
    await Promise.all(bodies.map((body) => SELF.fetch(at("batches"), { method: "POST", headers: type, body })));
    const rows = await inside("batches", (sql) =>
      sql
        .exec("SELECT base_offset, next_offset, bytes FROM chunk ORDER BY base_offset")
        .toArray()
        .map(({ base_offset, next_offset, bytes }) => ({
          from: Number(base_offset),
          count: Number(next_offset) - Number(base_offset),
          bytes: new Uint8Array(bytes as ArrayBuffer),
        })),
    );
    const stored = rows.flatMap(({ bytes }) => splitBatches(bytes));
    const inner = rows.find(({ count }) => count > 1)!;
    expect([stored.length, rows.length < 60, inner.from < 30]).toEqual([60, true, true]);
    for (const from of [0, inner.from, inner.from + 1]) {
      const response = await SELF.fetch(`${at("batches")}?offset=${offsetOf(from)}`, { headers: { accept: BATCHES } });
      const headers = ["content-type", "stream-next-offset", "stream-up-to-date", "tidemark-from-offset"];
      expect(headers.map((name) => response.headers.get(name))).toEqual([
        BATCHES,
        offsetOf(60),
        "true",
        offsetOf(from),
      ]);
      const found = splitBatches(new Uint8Array(await response.arrayBuffer()));
      expect(found.length).toBe(60 - from);
      for (const [i, batch] of found.entries()) expect(batch).toEqual(stored[from + i]);
    }
    // A row whose batches do not follow each other breaks the answer off, and the next one names the damage.
    await inside("batches", (sql) => {
      const { bytes, from } = inner;
      new DataView(bytes.buffer).setBigInt64(bytes.length / inner.count, BigInt(from + 7));
      sql.exec("UPDATE chunk SET bytes = ? WHERE base_offset = ?", bytes, from);
    });
    const read = (from: number): Promise<Response> =>
      SELF.fetch(`${at("batches")}?offset=${offsetOf(from)}`, { headers: { accept: BATCHES } });
    await expect(read(0).then((response) => response.arrayBuffer())).rejects.toThrow();
    const page = await read(0);
    const next = page.headers.get("stream-next-offset");
    expect([page.status, splitBatches(new Uint8Array(await page.arrayBuffer())).length > 0]).toEqual([200, true]);
    expect(Number(next!.slice(0, 16))).toBeLessThanOrEqual(inner.from + 1);
    const named = await read(inner.from + 1);
    expect([named.status, ((await named.json()) as { error: { code: string } }).error.code]).toEqual([
      500,
      "CORRUPT_RANGE",
    ]);
  });

  it("live readers are served page by page", async () => {
    await make("live", "text/plain", lines(5, 900_000));
    const response = await SELF.fetch(`${at("live")}?offset=${offsetOf(0)}&live=long-poll`);
    expect((await response.text()).length).toBeLessThanOrEqual(2 * MIB);
  });

  it("damage breaks a long answer off; the next reads give what is before it, and then name it", async () => {
    // Less than a segment: sealed segments move to object storage at some time.
    const bodies = lines(12, 300_000);
    await make("rot", "text/plain", bodies);
    await inside("rot", (sql) => {
      // A row may have two of the bodies, and the damaged one may be the first or the second.
      const [row] = sql
        .exec(
          "SELECT base_offset, next_offset, bytes FROM chunk WHERE base_offset <= 6 ORDER BY base_offset DESC LIMIT 1",
        )
        .toArray();
      const [from, to] = [Number(row!["base_offset"]), Number(row!["next_offset"])];
      const bytes = new Uint8Array(row!["bytes"] as ArrayBuffer);
      bytes[(bytes.length / (to - from)) * (6 - from) + 200_000]! ^= 1;
      sql.exec("UPDATE chunk SET bytes = ? WHERE base_offset = ?", bytes, from);
    });
    const broken = await SELF.fetch(`${at("rot")}?offset=-1`)
      .then(async (response) => response.text())
      .then(
        () => "whole",
        () => "broken off",
      );
    expect(broken).toBe("broken off");
    let found = "";
    let code = "";
    for (let offset = "-1"; code === "";) {
      const response = await SELF.fetch(`${at("rot")}?offset=${offset}`);
      if (response.status === 500) code = ((await response.json()) as { error: { code: string } }).error.code;
      else {
        found += await response.text();
        offset = response.headers.get("stream-next-offset")!;
      }
    }
    expect([found === bodies.slice(0, 6).join(""), code]).toEqual([true, "CORRUPT_RANGE"]);
    expect((await (await SELF.fetch(`${at("rot")}?offset=${offsetOf(7)}`)).text()).startsWith("7:")).toBe(true);
  });
});
