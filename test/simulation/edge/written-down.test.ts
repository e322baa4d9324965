/** What histories of the whole edge have found, written down. Segments are small here (bundle.ts). */
import { beforeAll, describe, expect, it } from "vitest";
import { importEdge } from "./bundle.ts";
import { LOST, type ObjectHost } from "./object-host.ts";
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

describe("a fork that was noted and never made", () => {
  it("lets its source be trimmed, ten minutes after a trim was refused", async () => {
    await make("held", 3);
    platform.hostOf("never").commitsLeft = 0;
    const forked = await ask("PUT", "never", { "stream-forked-from": "/v1/stream/held" });
    expect([forked.status, (await ask("HEAD", "never")).status]).toEqual([503, 404]);
    const trim = () => ask("POST", "held", { "tidemark-trim-before": offsetText(2) });
    expect((await trim()).status).toBe(409);
    await platform.pass(11 * 60_000);
    expect((await trim()).status).toBe(204);
  });
});

/** The next calls of this method are lost with the object. */
function lose({ instance }: ObjectHost, method: string, times: number): void {
  const real = Reflect.get(instance, method) as () => Promise<unknown>;
  let left = times;
  const lossy = (...given: []): Promise<unknown> =>
    left-- > 0 ? Promise.reject(new Error(LOST)) : Reflect.apply(real, instance, given);
  Reflect.set(instance, method, lossy);
}
const code = (headers: Headers): string | null => headers.get("tidemark-error");

describe("a stream that was deleted, and stayed for its fork", () => {
  it("tells its source that it is gone, although the source was lost when the last fork went", async () => {
    await make("root", 3);
    await make("middle", 1, { "stream-forked-from": "/v1/stream/root" });
    await make("leaf", 1, { "stream-forked-from": "/v1/stream/middle" });
    expect((await ask("DELETE", "middle")).status).toBe(204);
    expect((await ask("HEAD", "middle")).status).toBe(410);
    // One call, and the call that follows a lost one at once.
    lose(platform.hostOf("root"), "releaseFork", 2);
    expect((await ask("DELETE", "leaf")).status).toBe(204);
    await platform.pass(5_000);
    const trim = () => ask("POST", "root", { "tidemark-trim-before": offsetText(2) });
    expect((await trim()).status).toBe(409);
    await platform.pass(60_000);
    expect((await trim()).status).toBe(204);
    expect(platform.logOf("middle")!.rows("SELECT name FROM sqlite_master WHERE name = 'meta'")).toEqual([]);
    expect(platform.faults).toEqual([]);
  });
});

describe("the object of the server's key that ends while it is asked", () => {
  it("is asked once more by the PUT of a subscription", async () => {
    const config = JSON.stringify({ type: "webhook", webhook: { url: "http://127.0.0.1:9/" }, streams: ["none"] });
    const put = () => ask("PUT", "__ds/subscriptions/keys", { "content-type": "application/json" }, config);
    lose(platform.keys, "signingKey", 2);
    const { status, headers } = await put();
    expect([status, code(headers)]).toEqual([503, "CLOSED"]);
    lose(platform.keys, "signingKey", 1);
    expect((await put()).status).toBe(201);
  });
});

describe("subscriptions that end between the question for a stream and their note of it", () => {
  it("are told of the stream again", async () => {
    await make("telling", 0);
    lose(platform.subscriptions, "created", 1);
    platform.subscriptions.commitsLeft = 0;
    expect((await ask("PUT", "told", { "content-type": "text/plain" }, "x")).status).toBe(201);
    await platform.pass(20_000);
    expect(JSON.parse(text((await ask("GET", "__ds/streams")).bytes))).toMatchObject({
      streams: expect.arrayContaining(["told"]) as string[],
    });
  });
});

describe("a source whose object ends while its fork asks it", () => {
  const forkOf = (path: string): Record<string, string> => ({
    "content-type": "application/json",
    "stream-forked-from": `/v1/stream/${path}`,
  });

  beforeAll(async () => {
    expect((await ask("PUT", "lost", { "content-type": "application/json" }, "[1,2]")).status).toBe(201);
  });

  it("is asked once more by a PUT, also by one that is refused", async () => {
    lose(platform.hostOf("lost"), "forkFrom", 1);
    expect((await ask("PUT", "lost/a", forkOf("lost"), "[3]")).status).toBe(201);
    lose(platform.hostOf("lost"), "releaseFork", 1);
    expect((await ask("PUT", "lost/b", forkOf("lost"), "no JSON")).status).toBe(400);
    lose(platform.hostOf("lost"), "forkFrom", 2);
    const { status, headers } = await ask("PUT", "lost/b", forkOf("lost"));
    expect([status, code(headers)]).toEqual([503, "CLOSED"]);
    expect((await ask("PUT", "lost/b", forkOf("lost"))).status).toBe(201);
  });

  it("is asked once more by a read", async () => {
    lose(platform.hostOf("lost"), "readSource", 1);
    expect(text((await ask("GET", "lost/a?offset=-1")).bytes)).toBe("[1,2,3]");
    lose(platform.hostOf("lost"), "readSource", 2);
    const { status, headers } = await ask("GET", "lost/a?offset=-1");
    expect([status, code(headers)]).toEqual([503, "CLOSED"]);
  });
});
