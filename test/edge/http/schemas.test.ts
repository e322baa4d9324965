/**
 * Streams whose Worker has a schema, over HTTP and by sync, in local workerd: what does not fit is 422 with the issues,
 * whichever way it comes, and nothing of it is in the log.
 */
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { BatchBuilder, type Header } from "../../../src/record/batch-builder.ts";
import { releaseKernel } from "../../support/kernels.ts";
import { type LocalWorker, startDevServer } from "../local-worker.ts";
import { SyncDevice } from "./sync-device.ts";

const kernel = await releaseKernel();
const JSON_TYPE = "application/json";
const BATCHES = "application/vnd.tidemark.batches";
let worker: LocalWorker;

beforeAll(async () => {
  worker = await startDevServer({ config: path.join(process.cwd(), "test/edge/http/schemas/wrangler.jsonc") });
});
afterAll(() => worker.stop());

const at = (stream: string): string => `${worker.url}/v1/stream/${stream}`;
const send = (method: string, stream: string, type: string, body?: string | Uint8Array) =>
  fetch(at(stream), { method, headers: { "content-type": type }, ...(body && { body: body as BodyInit }) });
const put = (stream: string, type = JSON_TYPE) => send("PUT", stream, type);
const text = (value: string | null): Uint8Array | null => (value === null ? null : new TextEncoder().encode(value));

interface Given {
  readonly value: string | null;
  readonly headers?: Record<string, string>;
}

const NOBODY = { producerId: -1, producerEpoch: -1, baseSequence: -1 };

function batchOf(records: readonly Given[], producer = NOBODY): Uint8Array {
  const builder = new BatchBuilder(kernel);
  for (const { value, headers = {} } of records) {
    const pairs = Object.entries(headers).map(([name, each]): Header => [name, text(each)]);
    builder.tryAppend({ key: null, value: text(value), timestamp: 1_000, headers: pairs });
  }
  return builder.build(producer);
}

interface Refusal {
  readonly error: {
    readonly code: string;
    readonly kind: string;
    readonly message: string;
    readonly details: { readonly issues: readonly { readonly path: readonly unknown[]; readonly message: string }[] };
  };
}
async function refused(answer: Promise<Response>): Promise<Refusal["error"]> {
  const response = await answer;
  expect([response.status, response.headers.get("tidemark-error")]).toEqual([422, "SCHEMA_MISMATCH"]);
  const { error } = (await response.json()) as Refusal;
  expect(error).toMatchObject({ code: "SCHEMA_MISMATCH", kind: "fix" });
  return error;
}
const contents = async (stream: string): Promise<unknown> => (await fetch(`${at(stream)}?offset=-1`)).json();

describe("a stream with a schema", () => {
  it("takes messages that fit and refuses others with their issues; other streams take anything", async () => {
    await put("orders/1");
    const post = (body: unknown) => send("POST", "orders/1", JSON_TYPE, JSON.stringify(body));
    expect((await post({ id: "a", total: 1 })).status).toBe(204);
    expect(
      (
        await post([
          { id: "b", total: 2 },
          { id: "c", total: 3 },
        ])
      ).status,
    ).toBe(204);
    const error = await refused(
      post([
        { id: "d", total: 4 },
        { id: "e", total: -5 },
      ]),
    );
    expect(error.details).toMatchObject({ record: 1, issueCount: 1, issues: [{ path: ["total"] }] });
    expect(error.message).toMatch(/^message 1 does not fit the schema of the topic: total: /);
    await refused(post(null));
    await refused(post([null]));
    await refused(send("POST", "orders/1", JSON_TYPE, JSON.stringify({ id: "x".repeat(100_000), total: -1 })));
    // What is no JSON at all is refused as ever.
    expect((await send("POST", "orders/1", JSON_TYPE, "{")).status).toBe(400);
    expect(await contents("orders/1")).toEqual(["a", "b", "c"].map((id, i) => ({ id, total: i + 1 })));
    await refused(send("PUT", "orders/2", JSON_TYPE, "[5]"));
    expect((await fetch(at("orders/2"), { method: "HEAD" })).status).toBe(404);
    await put("others/1");
    expect((await send("POST", "others/1", JSON_TYPE, "[5]")).status).toBe(204);
    await put("notes/a/b", "text/plain");
    expect((await send("POST", "notes/a/b", "text/plain", "long")).status).toBe(204);
    await refused(send("POST", "notes/a/b", "text/plain", "no"));
    const close = await fetch(at("notes/a/b"), {
      method: "POST",
      headers: { "stream-closed": "true", "content-type": "text/plain" },
    });
    expect(close.status).toBe(204);
  });

  it("judges batches record by record, with event types and versions of their headers", async () => {
    for (const stream of ["orders/3", "events/1", "versions/1"]) await put(stream);
    const post = (stream: string, ...records: Given[]) => send("POST", stream, BATCHES, batchOf(records));
    const good = { value: '{"id":"a","total":1}' };
    expect((await post("orders/3", good, { value: null })).status).toBe(200);
    const error = await refused(post("orders/3", good, { value: '{"id":"a"}' }));
    expect(error.details).toMatchObject({ batch: 0, record: 1 });
    expect(await contents("orders/3")).toHaveLength(1);
    expect((await post("events/1", { value: '{"id":"a"}', headers: { "tm.type": "added" } })).status).toBe(200);
    await refused(post("events/1", { value: '{"id":"a"}', headers: { "tm.type": "gone" } }));
    await refused(send("POST", "events/1", JSON_TYPE, '{"id":"a"}'));
    const lines = (...types: string[]) => {
      const all = types.map((type) => JSON.stringify({ headers: { "tm.type": type }, value: { id: type } }));
      return send("POST", "events/1", "application/x-ndjson", all.join("\n"));
    };
    expect((await lines("added", "added")).status).toBe(204);
    expect((await refused(lines("added", "gone"))).details).toMatchObject({ record: 1 });
    expect(await contents("events/1")).toHaveLength(3);
    expect((await post("versions/1", { value: "7" })).status).toBe(200);
    expect((await post("versions/1", { ...good, headers: { "tm.schema": "2" } })).status).toBe(200);
    await refused(post("versions/1", { ...good, headers: { "tm.schema": "3" } }));
    expect(await contents("versions/1")).toEqual([7, { id: "a", total: 1 }]);
  });

  it("an asynchronous schema: what is posted one after the other stays so", async () => {
    await put("slow/1");
    const producer = (seq: number) => ({ "producer-id": "p", "producer-epoch": "0", "producer-seq": String(seq) });
    const post = (value: number, seq: number) =>
      fetch(at("slow/1"), {
        method: "POST",
        headers: { "content-type": JSON_TYPE, ...producer(seq) },
        body: JSON.stringify(value),
      });
    expect((await post(0, 0)).status).toBe(200);
    await refused(post(-1, 1));
    // A refused request used no sequence.
    expect((await post(1, 1)).status).toBe(200);
    expect(await contents("slow/1")).toEqual([0, 1]);
  });

  it("a text that is not UTF-8 fits no schema, whichever way it comes", async () => {
    await put("notes/c", "text/plain");
    const bad = Uint8Array.from([0x61, 0x62, 0x63, 0xff]);
    const error = await refused(send("POST", "notes/c", "Text/Plain", bad));
    expect(error.details.issues).toEqual([{ message: "it is no text: its bytes are not UTF-8", path: [] }]);
    const builder = new BatchBuilder(kernel);
    builder.tryAppend({ key: null, value: bad, timestamp: 1_000 });
    await refused(send("POST", "notes/c", BATCHES, builder.build(NOBODY)));
    await put("notes/d", "TEXT/Plain");
    await refused(send("POST", "notes/d", "text/plain", bad));
    await refused(send("PUT", "notes/e", "text/plain", bad));
    expect((await send("POST", "notes/c", "text/plain", "abcd")).status).toBe(204);
    expect(await (await fetch(`${at("notes/c")}?offset=-1`)).text()).toBe("abcd");
  });

  it("what was appended before the schema changed is acknowledged again, and is there once", async () => {
    await put("changed/1");
    const post = (body: string, seq: number, more: Record<string, string> = {}) => {
      const producer = { "producer-id": "p", "producer-epoch": "0", "producer-seq": String(seq) };
      return fetch(at("changed/1"), {
        method: "POST",
        headers: { "content-type": JSON_TYPE, ...producer, ...more },
        body,
      });
    };
    const lines = { "content-type": "application/x-ndjson" };
    const batch = (value: string, baseSequence: number) =>
      send("POST", "changed/1", BATCHES, batchOf([{ value }], { producerId: 7, producerEpoch: 0, baseSequence }));
    const told = async (answer: Promise<Response>) => (await (await answer).json()) as object;
    expect((await post('"a"', 0)).status).toBe(200);
    expect((await post('{"value":"b"}', 1, lines)).status).toBe(200);
    expect(await told(batch('"c"', 0))).toMatchObject({ appended: [{ baseOffset: 2, duplicate: false }] });
    for (const again of [post('"a"', 0), post('{"value":"b"}', 1, lines)]) {
      const { status, headers } = await again;
      expect([status, headers.get("producer-seq")]).toEqual([204, "1"]);
    }
    expect(await told(batch('"c"', 0))).toMatchObject({ appended: [{ baseOffset: 2, duplicate: true }] });
    // The same values under the next sequence are new, and so are those of nobody.
    await refused(post('"a"', 2));
    await refused(batch('"c"', 1));
    await refused(send("POST", "changed/1", JSON_TYPE, '"a"'));
    const last = { "stream-closed": "true" };
    expect((await post('"d"', 2, last)).status).toBe(200);
    const closed = await post('"d"', 2, last);
    expect([closed.status, closed.headers.get("stream-closed")]).toEqual([204, "true"]);
    expect(await contents("changed/1")).toEqual(["a", "b", "c", "d"]);
  });

  it("its object tells how long each commit took until it was stored, once", async () => {
    await put("orders/flushed");
    await fetch(`${worker.url}/flushes`);
    const good = JSON.stringify({ id: "a", total: 1 });
    for (let n = 0; n < 3; n++) expect((await send("POST", "orders/flushed", JSON_TYPE, good)).status).toBe(204);
    await refused(send("POST", "orders/flushed", JSON_TYPE, "[5]"));
    const told: { readonly ms: number }[] = [];
    const more = async (): Promise<number> =>
      told.push(...((await (await fetch(`${worker.url}/flushes`)).json()) as typeof told));
    await expect.poll(more).toBe(3);
    expect(told.map(({ ms, ...rest }) => [rest, ms >= 0 && ms < 60_000])).toEqual(
      Array.from({ length: 3 }, () => [{ tenant: "dev", topic: "orders/flushed" }, true]),
    );
  });

  it("a device's record that does not fit blocks its topic; set aside, what is behind it goes on", async () => {
    const device = await SyncDevice.open();
    await device.start({ url: worker.url, topics: { orders: { path: "orders/4" } } });
    await device.level();
    await device.page.pause();
    const raw = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value));
    await device.write(raw({ id: "a", total: 1 }), raw({ id: "b", total: -1 }), raw({ id: "c", total: 3 }));
    await device.page.resume();
    await device.until(() => device.of().blocked);
    expect(device.of().blocked).toMatchObject({ code: "SCHEMA_MISMATCH", records: 1 });
    await device.page.unblock("orders", "setAside");
    await device.level();
    expect(await contents("orders/4")).toEqual([
      { id: "a", total: 1 },
      { id: "c", total: 3 },
    ]);
    await device.close();
  });
});
