/** What histories of the whole edge have found, written down. Segments are small here (bundle.ts). */
import { beforeAll, describe, expect, it } from "vitest";
import { importEdge } from "./bundle.ts";
import { Platform } from "./platform.ts";

const BATCHES = "application/vnd.tidemark.batches";
const LINES = "application/x-ndjson";
const offsetText = (offset: number): string => `${String(offset).padStart(16, "0")}_${"0".repeat(16)}`;
const edge = await importEdge();
let platform: Platform;

const ask = (method: string, target: string, headers: Record<string, string> = {}, body?: string) =>
  platform.ask(
    method,
    `/v1/stream/${target}`,
    headers,
    body === undefined ? undefined : new TextEncoder().encode(body),
  );
const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

/** A stream of lines: record `i` has the value `i` and some filling, and the time `100 * i`. */
async function make(path: string, records: number, headers: Record<string, string> = {}): Promise<void> {
  expect((await ask("PUT", path, { "content-type": "text/plain", ...headers })).status).toBe(201);
  for (let i = 0; i < records; i++) await append(path, i);
}
async function append(path: string, i: number): Promise<void> {
  const line = JSON.stringify({ value: `${i}.${"x".repeat(200)};`, timestamp: 100 * i });
  expect((await ask("POST", path, { "content-type": LINES }, line)).status).toBe(204);
}
const first = (bytes: Uint8Array): string => text(bytes).split(".")[0]!;

beforeAll(() => {
  platform = new Platform(edge, true);
});

describe("a trim in the middle of a segment that is in object storage", () => {
  it("is one for readers that the Worker answers from there", async () => {
    await make("trimmed", 20);
    await platform.pass(10_000);
    expect(platform.counts["event archive"]).toBeGreaterThan(1);
    const trimmed = await ask("POST", "trimmed", { "tidemark-trim-before": offsetText(3) });
    expect(trimmed.headers.get("tidemark-start-offset")).toBe(offsetText(3));
    for (const headers of [{}, { accept: BATCHES }]) {
      // The first read may leave a manifest for the second.
      expect(first((await ask("GET", `trimmed?offset=${offsetText(4)}`)).bytes)).toBe("4");
      const { status, headers: told } = await ask("GET", `trimmed?offset=${offsetText(2)}`, headers);
      expect([status, told.get("stream-next-offset")]).toEqual([410, offsetText(3)]);
    }
    expect(first((await ask("GET", "trimmed?offset=-1")).bytes)).toBe("3");
  });
});

describe("a read of a fork by time", () => {
  /** Where the answer to a read from this time begins, as lines and as batches. */
  async function begins(path: string, timestamp: number): Promise<(string | undefined)[]> {
    const time = new Date(timestamp).toISOString();
    const lines = await ask("GET", `${path}?from=${time}`);
    const batches = await ask("GET", `${path}?timestamp=${timestamp}`, { accept: BATCHES });
    const { offset } = JSON.parse(text(lines.bytes).split("\n")[0] || "{}") as { offset?: number };
    const from = batches.headers.get("tidemark-from-offset") ?? undefined;
    return [offset === undefined ? undefined : offsetText(offset), from];
  }

  it("finds records that it has of its source, and of its source's source", async () => {
    await make("source", 20);
    await make("fork", 0, { "stream-forked-from": "/v1/stream/source", "stream-fork-offset": offsetText(15) });
    for (let i = 15; i < 18; i++) await append("fork", i);
    await make("second", 0, { "stream-forked-from": "/v1/stream/fork" });
    await platform.pass(10_000);
    for (const path of ["fork", "second"])
      for (const i of [0, 7, 14, 15, 17])
        expect([path, ...(await begins(path, 100 * i - 1))]).toEqual([path, offsetText(i), offsetText(i)]);
    expect(await begins("second", 1_701)).toEqual([undefined, offsetText(18)]);
  });

  it("finds none before its start", async () => {
    await make("whole", 12);
    await make("cut", 0, { "stream-forked-from": "/v1/stream/whole" });
    expect((await ask("POST", "cut", { "tidemark-trim-before": offsetText(5) })).status).toBe(204);
    expect(await begins("cut", 0)).toEqual([offsetText(5), offsetText(5)]);
    expect(await begins("cut", 900)).toEqual([offsetText(9), offsetText(9)]);
  });
});
