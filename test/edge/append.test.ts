/**
 * The two ways of an append into its object (worker/log-object/http-append.ts): as a call with the whole body, or as a
 * request with a stream. The sender must not notice which: the same requests take each way, to one stream each, and
 * answers and records are compared.
 */
import { env, SELF } from "cloudflare:test";
import { describe, expect, it } from "vitest";
import { BatchBuilder } from "../../src/record/batch-builder.ts";
import { type AppendCall, CALL_BYTES_MAX, headersInText, textOfAnswer } from "../../worker/rpc/append-call.ts";
import type { Env } from "../../worker/env.ts";
import type { LogObject } from "../../worker/log-object/log-object.ts";
import { edgeKernel } from "../../worker/kernel.ts";
import { handle } from "../../worker/front/router.ts";

const kernel = await edgeKernel();
const base = env;
const TEXT = { "content-type": "text/plain" };
const BATCHES = { "content-type": "application/vnd.tidemark.batches" };
const producing = (epoch: number, seq: number) => ({
  ...TEXT,
  "producer-id": "p",
  "producer-epoch": String(epoch),
  "producer-seq": String(seq),
});
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

function batch(value: string): Uint8Array {
  const builder = new BatchBuilder(kernel);
  builder.tryAppend({ key: null, value: bytes(value), timestamp: 1_000 });
  return builder.build({ producerId: 7, producerEpoch: 0, baseSequence: 0 });
}

/** Sent in this order: appends that are taken, appends that are refused, a repeat, the end of the stream. */
const REQUESTS: readonly (readonly [headers: Record<string, string>, body: Uint8Array, status: number])[] = [
  [TEXT, bytes("one"), 204],
  [{}, bytes("x"), 400],
  [{ "content-type": "no type" }, bytes("x"), 400],
  [{ "content-type": "image/png" }, bytes("x"), 409],
  [TEXT, bytes(""), 400],
  [producing(0, 0), bytes("two"), 200],
  [producing(0, 0), bytes("two"), 204],
  [producing(0, 5), bytes("x"), 409],
  [{ ...TEXT, "producer-id": "p" }, bytes("x"), 400],
  [{ ...TEXT, "stream-seq": "b" }, bytes("three"), 204],
  [{ ...TEXT, "stream-seq": "a" }, bytes("x"), 409],
  [{ ...TEXT, "stream-expected-offset": "0000000000000001_0000000000000000" }, bytes("x"), 409],
  [{ ...TEXT, "stream-expected-offset": "nonsense" }, bytes("x"), 400],
  [{ ...TEXT, traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" }, bytes("four"), 204],
  [BATCHES, batch("five"), 200],
  [BATCHES, batch("five"), 200],
  [BATCHES, bytes("no batch"), 400],
  [BATCHES, bytes(""), 400],
  [{ ...TEXT, "content-encoding": "gzip" }, bytes("x"), 415],
  [{ ...TEXT, "x-tidemark-path": "elsewhere", "x-tidemark-tenant": "other" }, bytes("six"), 204],
  [{ ...TEXT, "stream-closed": "true" }, bytes("end"), 204],
  [TEXT, bytes("x"), 409],
];

type Way = "call" | "fetch";

/** True while calls are made as older Workers make them. */
let isOlder = false;
/** How often the router used each way. */
const counts = { call: 0, fetch: 0 };
const counting: Env = {
  ...base,
  TIDEMARK_OPEN_ACCESS: "loopback",
  LOGS: {
    idFromName: (name: string) => base.LOGS.idFromName(name),
    get: (id: never) => {
      const found = base.LOGS.get(id);
      const stub = found as typeof found &
        AppendCall &
        Pick<LogObject, "append"> & { fetch(request: unknown): unknown };
      return {
        appendByText: async (tenant: string, passed: string, body: Uint8Array) => {
          counts.call++;
          // As a Worker calls that is of an older version than the object.
          if (isOlder) return textOfAnswer(await stub.append(tenant, headersInText(passed), body));
          return stub.appendByText(tenant, passed, body);
        },
        fetch: (request: unknown) => (counts.fetch++, stub.fetch(request)),
      };
    },
  } as never,
};

function post(way: Way, path: string, headers: Record<string, string>, body: Uint8Array): Promise<Response> {
  const length: Record<string, string> = way === "call" ? { "content-length": String(body.length) } : {};
  const stream = new Response(body.length === 0 ? null : (body as BodyInit)).body;
  const request = {
    method: "POST",
    headers: { ...headers, ...length },
    body: way === "call" ? (body as BodyInit) : stream,
  };
  return handle(new Request(`http://localhost/v1/stream/${path}`, request), counting);
}

describe("an append by a call and by a fetch", () => {
  it("is answered alike, status, headers and body, and leaves the same records", async () => {
    const answers: Record<Way, unknown[]> = { call: [], fetch: [] };
    const texts: string[] = [];
    for (const way of ["call", "fetch"] as const) {
      const path = `ways/${way}`;
      await SELF.fetch(`http://localhost/v1/stream/${path}`, { method: "PUT", headers: TEXT });
      const before = { ...counts };
      for (const [headers, body, status] of REQUESTS) {
        const response = await post(way, path, headers, body);
        expect([response.status, new TextDecoder().decode(body)]).toEqual([status, new TextDecoder().decode(body)]);
        answers[way].push([
          response.status,
          [...response.headers].filter(([name]) => name !== "content-length"),
          await response.text(),
        ]);
      }
      const other = way === "call" ? "fetch" : "call";
      // The router itself refuses one of the requests. All others took the way under test.
      expect([counts[way] - before[way], counts[other] - before[other]]).toEqual([REQUESTS.length - 1, 0]);
      texts.push(await (await SELF.fetch(`http://localhost/v1/stream/${path}?offset=-1`)).text());
    }
    expect(answers.call).toEqual(answers.fetch);
    expect(texts).toEqual(["onetwothreefourfivesixend", "onetwothreefourfivesixend"]);
  });

  it("a body above the bound goes by fetch, and one at the bound by a call", async () => {
    const path = "ways/large";
    await SELF.fetch(`http://localhost/v1/stream/${path}`, { method: "PUT", headers: TEXT });
    for (const [size, way] of [
      [CALL_BYTES_MAX, "call"],
      [CALL_BYTES_MAX + 1, "fetch"],
    ] as const) {
      const before = { ...counts };
      expect((await post("call", path, TEXT, new Uint8Array(size).fill(97))).status).toBe(204);
      expect(counts[way]).toBe(before[way] + 1);
    }
  });

  it("by the call of an older Worker it is answered alike as well", async () => {
    const answers: unknown[][] = [];
    for (const older of [false, true]) {
      isOlder = older;
      const path = `ways/older-${older}`;
      await SELF.fetch(`http://localhost/v1/stream/${path}`, { method: "PUT", headers: TEXT });
      for (const [headers, body] of REQUESTS) {
        const response = await post("call", path, headers, body);
        answers.push([older, response.status, [...response.headers], await response.text()]);
      }
    }
    isOlder = false;
    const of = (older: boolean) => answers.filter(([is]) => is === older).map(([, ...answer]) => answer);
    expect(of(true)).toEqual(of(false));
  });

  it("without a stream it is 404 by either", async () => {
    for (const way of ["call", "fetch"] as const)
      expect((await post(way, "ways/none", TEXT, bytes("x"))).status).toBe(404);
  });
});
