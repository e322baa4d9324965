/** Trims at the edge, inside workerd: a POST with Tidemark-Trim-Before. */
import { abortAllDurableObjects } from "cloudflare:test";
import { describe, expect, it } from "vitest";
import { call, fill, look, readAll, settle } from "./archive-tools.ts";

let streams = 0;
async function fresh(headers: Record<string, string> = {}): Promise<string> {
  const path = `trim/${++streams}`;
  expect((await call(path, "PUT", headers)).status).toBe(201);
  return path;
}
const at = (offset: number): string => `${String(offset).padStart(16, "0")}_${"0".repeat(16)}`;
const trim = (path: string, before: string, more: Record<string, string> = {}, body?: string): Promise<Response> =>
  call(path, "POST", { "tidemark-trim-before": before, ...more }, body);
const refusal = async (answer: Response): Promise<unknown[]> => {
  const { error } = (await answer.json()) as { error: { code: string; details: Record<string, unknown> } };
  return [answer.status, error.code, error.details["reason"]];
};

describe("a trim", () => {
  it("removes exactly what is before the offset; what stays keeps its offsets", async () => {
    const path = await fresh();
    for (const text of ["a", "b", "c"]) await call(path, "POST", {}, text);
    const { status, headers } = await trim(path, at(2));
    expect([status, headers.get("tidemark-start-offset"), headers.get("stream-next-offset")]).toEqual([
      204,
      at(2),
      at(3),
    ]);
    expect(await readAll(path)).toBe("c");
    const gone = await call(`${path}?offset=${at(1)}`, "GET");
    expect([gone.status, gone.headers.get("tidemark-error"), gone.headers.get("stream-next-offset")]).toEqual([
      410,
      "OFFSET_OUT_OF_RANGE",
      at(2),
    ]);
    // Said again, and said of what is gone already, it changes nothing.
    for (const before of [2, 0])
      expect((await trim(path, at(before))).headers.get("tidemark-start-offset")).toBe(at(2));
    expect((await trim(path, at(3))).status).toBe(204);
    expect(await readAll(path)).toBe("");
    await call(path, "POST", {}, "d");
    expect([await readAll(path), (await call(path, "HEAD")).headers.get("tidemark-start-offset")]).toEqual([
      "d",
      at(3),
    ]);
  });

  it("lets go of segments in object storage, and of what this isolate remembers of them", async () => {
    const path = await fresh();
    const all = await fill(path, 3);
    await settle(path);
    const before = (await look(path)).keys.length;
    expect(await readAll(path)).toBe(all);
    expect((await trim(path, at(12))).status).toBe(204);
    const { keys } = await settle(path);
    expect([before - keys.length > 0, keys.length > 0]).toEqual([true, true]);
    expect((await readAll(path)) === all.slice(12 * 900_000)).toBe(true);
    expect((await call(`${path}?offset=${at(3)}`, "GET")).status).toBe(410);
  });

  it.each([1, 2, 3, 4])("to %i keeps what is known of writers, also once the object has slept", async (before) => {
    const path = await fresh();
    const producer = (seq: number) => ({ "producer-id": "p", "producer-epoch": "0", "producer-seq": String(seq) });
    const append = async (headers: Record<string, string>) => (await call(path, "POST", headers, "x")).status;
    for (const seq of [0, 1, 2]) expect(await append(producer(seq))).toBe(200);
    expect(await append({ "stream-seq": "b" })).toBe(204);
    expect((await trim(path, at(before))).status).toBe(204);
    for (const _ of ["awake", "slept", "slept again"]) {
      for (const seq of [0, 1, 2]) expect(await append(producer(seq)), `sequence ${seq} again`).toBe(204);
      expect([await append(producer(4)), await append({ "stream-seq": "a" })]).toEqual([409, 409]);
      expect((await call(path, "HEAD")).headers.get("stream-next-offset")).toBe(at(4));
      await abortAllDurableObjects();
    }
    expect([await append(producer(3)), await append({ "stream-seq": "c" })]).toEqual([200, 204]);
    expect(await readAll(path)).toBe("x".repeat(4 - before + 2));
  });

  it("that can't be is refused by its name, and removes nothing", async () => {
    const path = await fresh();
    await call(path, "POST", {}, "kept");
    expect(await refusal(await trim(path, at(2)))).toEqual([416, "OFFSET_OUT_OF_RANGE", undefined]);
    for (const wrong of ["1", "-1", "now", "", "1e3"])
      expect(await refusal(await trim(path, wrong)), wrong).toEqual([400, "BAD_REQUEST", undefined]);
    expect(await refusal(await trim(path, at(1), {}, "a body"))).toEqual([400, "BAD_REQUEST", undefined]);
    expect(await refusal(await trim(path, at(1), { "stream-closed": "true" }))).toEqual([
      400,
      "BAD_REQUEST",
      undefined,
    ]);
    expect(await refusal(await trim("trim/missing", at(0)))).toEqual([404, "NOT_FOUND", undefined]);
    const fork = await fresh({ "stream-forked-from": `/v1/stream/${path}` });
    expect(await refusal(await trim(path, at(1)))).toEqual([409, "CONFLICT", "held"]);
    expect([await readAll(path), await readAll(fork)]).toEqual(["kept", "kept"]);
    await call(fork, "DELETE");
    expect((await trim(path, at(1))).status).toBe(204);
  });
});
