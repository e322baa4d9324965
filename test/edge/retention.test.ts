/**
 * Retention at the edge, inside workerd: what is removed from the front of a log, in rows and in R2, and what keeps it.
 */
import { describe, expect, it } from "vitest";
import { call, fill, inside, look, readAll, settle } from "./archive-tools.ts";

let streams = 0;
async function fresh(headers: Record<string, string>): Promise<string> {
  const path = `retention/${++streams}`;
  expect((await call(path, "PUT", headers)).status).toBe(201);
  return path;
}
const at = (offset: number): string => `${String(offset).padStart(16, "0")}_${"0".repeat(16)}`;
const startOf = async (path: string): Promise<string | null> =>
  (await call(path, "HEAD")).headers.get("tidemark-start-offset");

/** Waits for the alarm to do its work: it comes by itself. */
async function until(what: () => Promise<boolean>): Promise<void> {
  for (let turn = 0; turn < 500; turn++) {
    if (await what()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error("it never came to that");
}

describe("retention", () => {
  it("by bytes: whole segments and their objects are removed from the front and are 410; the rest stays", async () => {
    const path = await fresh({ "tidemark-retention-bytes": "6000000" });
    const all = await fill(path, 4);
    await until(async () => (await startOf(path)) === at(15));
    const { sealed, keys } = await settle(path);
    expect([sealed, keys.length]).toEqual([1, 1]);
    expect((await readAll(path)) === all.slice(15 * 900_000)).toBe(true);
    const gone = await call(`${path}?offset=${at(3)}`, "GET");
    expect([gone.status, gone.headers.get("tidemark-error"), gone.headers.get("stream-next-offset")]).toEqual([
      410,
      "OFFSET_OUT_OF_RANGE",
      at(15),
    ]);
  });

  it("by age: also the last records of a log that gets no more appends", async () => {
    const path = await fresh({ "tidemark-retention-seconds": "1" });
    await call(path, "POST", {}, "soon gone");
    await until(async () => (await startOf(path)) === at(1));
    expect(await readAll(path)).toBe("");
    await call(path, "POST", {}, "new");
    expect(await readAll(path)).toBe("new");
  });

  it("keeps everything while a fork reads from it", async () => {
    const source = await fresh({ "tidemark-retention-bytes": "1000000" });
    await call(source, "POST", {}, "root ");
    const fork = await fresh({ "stream-forked-from": `/v1/stream/${source}` });
    const all = await fill(source, 1);
    await until(async () => (await look(source)).states[1] === 1);
    expect([await startOf(source), (await readAll(source)) === `root ${all}`]).toEqual([at(0), true]);
    expect(await readAll(fork)).toBe("root ");
  });

  it("a fork of what is left begins where its source began then", async () => {
    const source = await fresh({ "tidemark-retention-bytes": "1000000" });
    const all = await fill(source, 2);
    await until(async () => (await startOf(source)) === at(10));
    const fork = await fresh({ "stream-forked-from": `/v1/stream/${source}` });
    await call(fork, "POST", {}, "more");
    expect([await startOf(fork), (await readAll(fork)) === `${all.slice(10 * 900_000)}more`]).toEqual([at(10), true]);
    expect((await call(`${fork}?offset=${at(2)}`, "GET")).status).toBe(410);
  });

  it("is reported by HEAD, is compared by a repeated PUT, and bad numbers are refused", async () => {
    const path = await fresh({ "tidemark-retention-records": "10", "tidemark-retention-seconds": "60" });
    const { headers } = await call(path, "HEAD");
    expect([
      headers.get("tidemark-retention-records"),
      headers.get("tidemark-retention-seconds"),
      headers.get("tidemark-retention-bytes"),
    ]).toEqual(["10", "60", null]);
    expect((await call(path, "PUT")).status).toBe(200);
    expect(
      (await call(path, "PUT", { "tidemark-retention-records": "11", "tidemark-retention-seconds": "60" })).status,
    ).toBe(409);
    expect((await call("retention/bad", "PUT", { "tidemark-retention-bytes": "-1" })).status).toBe(400);
    await inside(path, (_, { storage: { sql } }) =>
      expect(sql.exec("SELECT count(*) AS n FROM chunk").toArray()[0]!["n"]).toBe(0),
    );
  });
});
