/**
 * What operators see and set, inside workerd: metrics, events, traces, rate limits, limits of size, answers' headers.
 */
import { env } from "cloudflare:test";
import { SignJWT } from "jose";
import { describe, expect, it, vi } from "vitest";
import { BatchBuilder } from "../../src/record/batch-builder.ts";
import { concat } from "../../src/record/bytes.ts";
import { gzip } from "../../src/record/codec.ts";
import { BATCH_HEADER_BYTES } from "../../src/record/format.ts";
import { decodeBatch, splitBatches } from "../../src/record/record-batch.ts";
import type { Env } from "../../worker/env.ts";
import { edgeKernel } from "../../worker/kernel.ts";
import { TokenBucket } from "../../worker/log-object/token-bucket.ts";
import { handle } from "../../worker/front/router.ts";
import { fill, settle } from "./archive-tools.ts";

const kernel = await edgeKernel();
const base: Env = { ...env, TIDEMARK_OPEN_ACCESS: "loopback" };
const BATCHES = "application/vnd.tidemark.batches";
let streams = 0;

async function ask(method: string, url: string, init: RequestInit = {}, settings: Env = base): Promise<Response> {
  const headers = new Headers({ "content-type": "text/plain", ...(init.headers as Record<string, string>) });
  const response = await handle(new Request(`http://localhost${url}`, { ...init, method, headers }), settings);
  const bytes = await response.arrayBuffer();
  return new Response([204, 304].includes(response.status) ? null : bytes, response);
}
async function fresh(): Promise<string> {
  const path = `operations/${++streams}`;
  await ask("PUT", `/v1/stream/${path}`);
  return path;
}
const codeOf = async (response: Response): Promise<[number, string]> => [
  response.status,
  ((await response.json()) as { error: { code: string } }).error.code,
];

/** The events that are logged while `work` runs. */
async function eventsOf(
  settings: Partial<Env>,
  work: (settings: Env) => Promise<unknown>,
): Promise<Record<string, unknown>[]> {
  const lines: string[] = [];
  const log = vi.spyOn(console, "log").mockImplementation((line: unknown) => void lines.push(String(line)));
  try {
    await work({ ...base, ...settings });
  } finally {
    log.mockRestore();
  }
  return lines.filter((line) => line.startsWith("{")).map((line) => JSON.parse(line) as Record<string, unknown>);
}

describe("metrics", () => {
  it("are Prometheus text with counts, sizes and what lies in object storage", async () => {
    const path = await fresh();
    await fill(path, 1);
    await settle(path);
    const response = await ask("GET", `/v1/metrics/${path}`);
    const text = await response.text();
    expect(response.headers.get("content-type")).toContain("version=0.0.4");
    const value = (name: string): number =>
      Number(new RegExp(`^tidemark_${name}\\{tenant="dev",path="${path}"\\} (\\S+)$`, "m").exec(text)?.[1]);
    expect([
      value("appends_total"),
      value("append_bytes_total"),
      value("log_end_offset"),
      value("records"),
      value("objects"),
      value("segments"),
      value("rows"),
    ]).toEqual([6, 5_400_000, 6, 6, 1, 2, 1]);
    expect([
      value("archive_lag_bytes"),
      value("objects_begun"),
      value("objects_doomed"),
      value("forks"),
      value("archived_total"),
    ]).toEqual([0, 0, 0, 0, 1]);
    expect(value("database_bytes")).toBeGreaterThan(900_000);
    expect(value("commits_total")).toBeGreaterThanOrEqual(6);
    // Every line is a comment with a type or help, or a sample, as a scraper expects.
    for (const line of text.trim().split("\n"))
      expect(line).toMatch(/^(# (HELP|TYPE) tidemark_\w+ .+|tidemark_\w+\{tenant="dev",path="[\w/]+"\} [\d.e+]+)$/);
  });

  it("need the admin scope", async () => {
    const settings = {
      ...base,
      TIDEMARK_OPEN_ACCESS: "",
      TIDEMARK_JWT_SECRETS: "a secret of at least thirty-two characters",
    };
    const token = (scope: string) =>
      new SignJWT({ tenant: "dev", scope })
        .setProtectedHeader({ alg: "HS256" })
        .setExpirationTime("1m")
        .sign(new TextEncoder().encode(settings.TIDEMARK_JWT_SECRETS));
    const path = await fresh();
    const get = async (scope?: string) =>
      (
        await ask(
          "GET",
          `/v1/metrics/${path}`,
          { headers: scope === undefined ? {} : { authorization: `Bearer ${await token(scope)}` } },
          settings,
        )
      ).status;
    expect([await get(), await get("read:** write:**"), await get("admin:other"), await get("admin:**")]).toEqual([
      401, 403, 403, 200,
    ]);
  });
});

describe("events", () => {
  it("one line for each append, read and rejection, with what is needed to find it", async () => {
    const path = await fresh();
    const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const events = await eventsOf({ TIDEMARK_EVENTS: "all" }, async (settings) => {
      await ask("POST", `/v1/stream/${path}`, { body: "x", headers: { traceparent: trace } }, settings);
      await ask("GET", `/v1/stream/${path}?offset=-1`, {}, settings);
      await ask("GET", `/v1/stream/${path}?offset=no`, {}, settings);
    });
    const requests = events.filter(({ event }) => event !== "commit");
    expect(requests).toMatchObject([
      { event: "append", tenant: "dev", path, status: 204, trace, next: "0000000000000001_0000000000000000" },
      { event: "read", tenant: "dev", path, status: 200 },
      { event: "rejection", tenant: "dev", path, status: 400, code: "BAD_REQUEST" },
    ]);
    for (const { ms } of requests) expect(ms).toBeGreaterThanOrEqual(0);
  });

  it("by default only changes and rejections; no token ever", async () => {
    const path = await fresh();
    const work = async (settings: Env) => {
      await ask("GET", `/v1/stream/${path}?offset=-1`, {}, settings);
      await ask("GET", `/v1/stream/${path}?offset=-1&token=SECRET`, {}, settings);
    };
    const events = await eventsOf({ TIDEMARK_EVENTS: "changes" }, work);
    expect(events).toMatchObject([{ event: "rejection", code: "UNAUTHORIZED" }]);
    expect(JSON.stringify(await eventsOf({ TIDEMARK_EVENTS: "all" }, work))).not.toContain("SECRET");
    expect(await eventsOf({ TIDEMARK_EVENTS: "none" }, work)).toEqual([]);
  });

  it("become data points where a data set is bound", async () => {
    const points: { indexes?: unknown[]; blobs?: unknown[]; doubles?: unknown[] }[] = [];
    const EVENTS = { writeDataPoint: (point: object) => void points.push(point) } as never;
    const path = await fresh();
    await eventsOf({ TIDEMARK_EVENTS: "all", EVENTS }, (settings) =>
      ask("POST", `/v1/stream/${path}`, { body: "x" }, settings),
    );
    expect(points).toMatchObject([{ indexes: ["dev"], blobs: ["append", path, "", ""] }]);
  });

  it("a trace context is stored in the record's headers; a wrong one is not", async () => {
    const path = await fresh();
    const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    await ask("POST", `/v1/stream/${path}`, { body: "a", headers: { traceparent: trace } });
    await ask("POST", `/v1/stream/${path}`, { body: "b", headers: { traceparent: "not a trace" } });
    const response = await ask("GET", `/v1/stream/${path}?offset=-1`, { headers: { accept: BATCHES } });
    const batches = await Promise.all(
      splitBatches(new Uint8Array(await response.arrayBuffer())).map((bytes) => decodeBatch(kernel, bytes)),
    );
    expect(
      batches.map((batch) => batch.headersAt(0).map(([name, value]) => [name, new TextDecoder().decode(value!)])),
    ).toEqual([[["traceparent", trace]], []]);
  });
});

describe("limits", () => {
  it("the platform's rate limiter decides per tenant and stream, before the object is asked", async () => {
    const keys: string[] = [];
    const RATE_LIMIT = {
      limit: async ({ key }: { key: string }) => (keys.push(key), { success: keys.length <= 2 }),
    } as never;
    const path = await fresh();
    const answers: Response[] = [];
    for (let i = 0; i < 3; i++)
      answers.push(await ask("POST", `/v1/stream/${path}`, { body: "x" }, { ...base, RATE_LIMIT }));
    expect(answers.map(({ status }) => status)).toEqual([204, 204, 429]);
    expect([answers[2]!.headers.get("retry-after"), await codeOf(answers[2]!), keys[0]]).toEqual([
      "10",
      [429, "TOO_MANY_REQUESTS"],
      `dev/${path}`,
    ]);
    expect((await ask("GET", `/v1/stream/${path}?offset=-1`)).headers.get("stream-next-offset")).toMatch(/^0{15}2_/);
  });

  it("without it a token bucket decides: a second's worth at once, then as many as the rate allows", () => {
    const bucket = new TokenBucket(2, 0);
    bucket.take(0);
    bucket.take(0);
    expect(() => bucket.take(0)).toThrow(
      expect.objectContaining({ code: "TOO_MANY_REQUESTS", details: { retryAfter: 1 } }),
    );
    bucket.take(500);
    expect(() => bucket.take(600)).toThrow();
    expect(TokenBucket.of({ ...base, TIDEMARK_RATE_PER_SECOND: "5" }, 0)?.perSecond).toBe(5);
    expect(TokenBucket.of(base, 0)).toBeUndefined();
  });

  it.each<[string, string, RequestInit, number, string]>([
    ["headers without end", "GET", { headers: { "x-long": "a".repeat(40_000) } }, 431, "HEADERS_TOO_LARGE"],
    ["a URL without end", "GET", {}, 414, "URL_TOO_LONG"],
  ])("%s are refused before anything is looked at", async (what, method, init, status, code) => {
    const path = await fresh();
    const query = what.startsWith("a URL") ? `?offset=-1&x=${"a".repeat(20_000)}` : "?offset=-1";
    expect(await codeOf(await ask(method, `/v1/stream/${path}${query}`, init))).toEqual([status, code]);
  });

  it("a compressed bomb is refused within the bound, and changes nothing", async () => {
    const path = await fresh();
    const builder = new BatchBuilder(kernel);
    builder.tryAppend({ key: null, value: new Uint8Array(10), timestamp: 1 });
    const header = builder.build({ producerId: -1, producerEpoch: -1, baseSequence: -1 }).slice(0, BATCH_HEADER_BYTES);
    const bomb = concat([header, await gzip(new Uint8Array(32 * 1024 * 1024))]);
    const view = new DataView(bomb.buffer);
    view.setInt32(8, bomb.length - 12);
    view.setInt16(21, 1);
    view.setUint32(17, kernel.crc32c(bomb.subarray(21)));
    expect(bomb.length).toBeLessThan(100_000);
    const response = await ask("POST", `/v1/stream/${path}`, {
      body: bomb as BodyInit,
      headers: { "content-type": BATCHES },
    });
    expect(await codeOf(response)).toEqual([413, "DECOMPRESSION_LIMIT"]);
    expect((await ask("GET", `/v1/stream/${path}?offset=-1`)).headers.get("stream-up-to-date")).toBe("true");
  });
});

describe("headers", () => {
  it("a preflight allows what clients send, for a day", async () => {
    const response = await ask("OPTIONS", "/v1/stream/a", {
      headers: { origin: "https://app.example", "access-control-request-method": "POST" },
    });
    expect([
      response.status,
      response.headers.get("access-control-allow-origin"),
      response.headers.get("access-control-max-age"),
    ]).toEqual([204, "*", "86400"]);
    const allowed = response.headers.get("access-control-allow-headers")!.toLowerCase();
    for (const name of [
      "authorization",
      "content-type",
      "range",
      "if-none-match",
      "producer-id",
      "producer-epoch",
      "producer-seq",
      "stream-seq",
      "stream-expected-offset",
      "traceparent",
      "tidemark-retention-seconds",
      "tidemark-compaction",
    ])
      expect(allowed).toContain(name);
    for (const method of ["GET", "POST", "PUT", "DELETE", "HEAD"])
      expect(response.headers.get("access-control-allow-methods")).toContain(method);
  });

  it("every answer, errors too, forbids frames and sniffing and is readable by any origin", async () => {
    const path = await fresh();
    for (const response of [
      await ask("GET", `/v1/stream/${path}?offset=-1`),
      await ask("GET", "/nothing"),
      await ask("GET", `/v1/stream/none/${path}?offset=-1`),
    ]) {
      if (response.url.endsWith("/nothing"))
        expect(await response.clone().json()).toMatchObject({ error: { details: { reason: "address" } } });
      expect(response.headers.get("content-security-policy")).toBe(
        "default-src 'none'; frame-ancestors 'none'; sandbox",
      );
      expect(response.headers.get("x-content-type-options")).toBe("nosniff");
      expect(response.headers.get("access-control-allow-origin")).toBe("*");
      for (const name of ["Stream-Next-Offset", "Tidemark-Start-Offset", "Tidemark-Compaction"])
        expect(response.headers.get("access-control-expose-headers")).toContain(name);
      expect(response.headers.get("access-control-allow-credentials")).toBeNull();
      if (response.status >= 400) expect(response.headers.get("tidemark-error")).toBe((await codeOf(response))[1]);
    }
  });
});
