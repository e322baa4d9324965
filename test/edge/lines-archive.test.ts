/** Lines of records whose segments are in object storage: the same lines, and damage there is the last one. */
import { evictDurableObject, SELF } from "cloudflare:test";
import { expect, it } from "vitest";
import { call, fill, objectOf, real, settle } from "./archive-tools.ts";

async function linesOf(path: string, query = ""): Promise<Record<string, unknown>[]> {
  const headers = { accept: "application/x-ndjson" };
  const response = await SELF.fetch(`http://localhost/v1/stream/${path}${query}`, { headers });
  expect(response.status).toBe(200);
  const lines = (await response.text()).split("\n").filter(Boolean);
  return lines.map((line) => JSON.parse(line) as Record<string, unknown>);
}

it("lines of old records come from object storage, from any place", async () => {
  const path = "lines/archived";
  await call(path, "PUT");
  const all = await fill(path, 2);
  expect((await settle(path)).keys).toHaveLength(2);
  const lines = await linesOf(path);
  expect(lines.map(({ offset }) => offset)).toEqual(lines.map((_, n) => n));
  expect(lines.map(({ value }) => value).join("") === all).toBe(true);
  // The writer's notes are the server's own.
  expect(lines.every(({ headers }) => JSON.stringify(headers) === "{}")).toBe(true);
  expect((await linesOf(path, "?from=3&limit=4")).map(({ offset }) => offset)).toEqual([3, 4, 5, 6]);
  expect((await linesOf(path, "?from=-2")).map(({ offset }) => offset)).toEqual([9, 10]);
});

it("damage is the last line, behind all records before it", async () => {
  const path = "lines/damaged";
  await call(path, "PUT");
  await fill(path, 1);
  const { keys } = await settle(path);
  const bytes = new Uint8Array(await (await real.SEGMENTS.get(keys[0]!))!.arrayBuffer());
  // In the third record.
  bytes[2_000_000]! ^= 1;
  await real.SEGMENTS.put(keys[0]!, bytes);
  await evictDurableObject(objectOf(path));
  const lines = await linesOf(path);
  expect(lines.slice(0, -1).map(({ offset }) => offset)).toEqual([0, 1]);
  expect(lines.at(-1)).toMatchObject({ error: { code: "CORRUPT_RANGE", details: { from: 2 } } });
});
