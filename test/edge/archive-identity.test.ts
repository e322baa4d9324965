/**
 * Answers from segments belong to the right stream. A path may get a new stream: whatever Workers, their isolates and
 * the data centre's cache still know of the old one, no reader gets its records or headers. And an answer from segments
 * equals the one that the object would give.
 */
import { evictDurableObject } from "cloudflare:test";
import { describe, expect, it } from "vitest";
import { streamObject } from "../../worker/rpc/stubs.ts";
import { PATH_HEADER, TENANT_HEADER } from "../../worker/rpc/internal-headers.ts";
import * as here from "../../worker/front/archived-reads.ts";
// @ts-expect-error A second instance of the module: it has its own memory, like the module in another isolate.
import * as elsewhere from "../../worker/front/archived-reads.ts?elsewhere";
import { handle } from "../../worker/front/router.ts";
import { call, fill, inside, look, objectOf, real, settle } from "./archive-tools.ts";
import { offsetText } from "./sse-reader.ts";

const BATCHES = "application/vnd.tidemark.batches";
const TEXT = { "content-type": "text/plain" };
let streams = 0;
const fresh = (): string => `identity/${++streams}`;
const at = (path: string): string => `http://localhost/v1/stream/${path}`;

interface Told {
  end: number;
  closed: boolean;
}

/** Catch-up reads by a Worker in one isolate. All isolates share the data centre's cache. */
function isolate({ readThrough }: typeof here, told: (manifest: Told) => object = (manifest) => manifest) {
  let asked = 0;
  const ask = async (path: string, query = "?offset=-1", headers: Record<string, string> = {}): Promise<Response> => {
    const work: Promise<unknown>[] = [];
    const url = new URL(`${at(path)}${query}`);
    const response = await readThrough({
      asked: {},
      env: real as never,
      tenant: "dev",
      path,
      url,
      headers: new Headers(headers),
      background: { waitUntil: (promise) => void work.push(promise) },
      async ask(own) {
        asked++;
        const passed = { ...headers, ...own, [PATH_HEADER]: encodeURIComponent(path), [TENANT_HEADER]: "dev" };
        const answer = await streamObject(real, "dev", path).fetch(new Request(url, { headers: passed }));
        return answer.headers.has("x-tidemark-manifest")
          ? new Response(JSON.stringify(told((await answer.json()) as Told)), answer)
          : answer;
      },
    });
    const bytes = await response.arrayBuffer();
    await Promise.all(work);
    return new Response([204, 304].includes(response.status) ? null : bytes, response);
  };
  return { ask, asked: () => asked };
}
const [first, second] = [isolate(here), isolate(elsewhere as typeof here)];
const both = [first, second];

/** A stream whose oldest records are in R2. Some isolates know its manifest, and the cache has some of its bytes. */
async function archived(headers: Record<string, string> = {}): Promise<{ path: string; etag: string }> {
  const path = fresh();
  expect((await call(path, "PUT", headers)).status).toBe(201);
  await fill(path, 1);
  await settle(path);
  let etag = "";
  for (const { ask, asked } of both) {
    // The first read fills the cache, the second is answered from it.
    for (let i = 0; i < 2; i++) etag = (await ask(path)).headers.get("etag")!;
    const before = asked();
    expect((await (await ask(path)).text()).slice(0, 4)).toBe("0.0;");
    expect(asked()).toBe(before);
  }
  return { path, etag };
}

async function expectNew(path: string, etag: string): Promise<void> {
  for (const { ask } of both) {
    const conditional = await ask(path, "?offset=-1", { "if-none-match": etag });
    expect([conditional.status, await conditional.text(), conditional.headers.get("stream-next-offset")]).toEqual([
      200,
      "NEW",
      offsetText(1),
    ]);
    expect(conditional.headers.get("etag")).not.toBe(etag);
    const batches = await ask(path, "?offset=-1", { accept: BATCHES });
    expect([batches.headers.get("link"), batches.headers.get("stream-next-offset")]).toEqual([null, offsetText(1)]);
    expect((await ask(path, `?offset=${offsetText(2)}`)).status).toBe(416);
  }
}

describe("a new stream at the path of an old one", () => {
  it("is what every isolate reads, also those that remember the old one", async () => {
    const { path, etag } = await archived();
    expect((await call(path, "DELETE")).status).toBe(204);
    // The isolate that passed on the DELETE.
    expect((await first.ask(path)).status).toBe(404);
    expect((await call(path, "PUT", TEXT, "NEW")).status).toBe(201);
    await expectNew(path, etag);
  });

  it("also when the object slept in between, and when the new stream has another content type", async () => {
    const { path } = await archived();
    expect((await call(path, "DELETE")).status).toBe(204);
    await evictDurableObject(objectOf(path));
    expect((await call(path, "PUT", { "content-type": "application/json" }, '["NEW"]')).status).toBe(201);
    for (const { ask } of both) {
      const response = await ask(path);
      expect([response.headers.get("content-type"), await response.json()]).toEqual(["application/json", ["NEW"]]);
    }
  });

  it("also when the old one has expired", async () => {
    const { path, etag } = await archived({ "stream-expires-at": new Date(Date.now() + 4_000).toISOString() });
    while ((await call(path, "HEAD")).status !== 404) await new Promise((resolve) => setTimeout(resolve, 10));
    for (const { ask } of both) expect((await ask(path)).status).toBe(404);
    expect((await call(path, "PUT", TEXT, "NEW")).status).toBe(201);
    await expectNew(path, etag);
  });

  it("also when it is a fork, and when the old one was kept for a fork of it", async () => {
    const { path, etag } = await archived();
    const fork = fresh();
    expect(
      (await call(fork, "PUT", { "stream-forked-from": `/v1/stream/${path}`, "stream-fork-offset": offsetText(1) }))
        .status,
    ).toBe(201);
    expect((await (await second.ask(fork)).text()).slice(0, 4)).toBe("0.0;");
    expect((await call(path, "DELETE")).status).toBe(204);
    expect((await call(path, "PUT", TEXT, "NEW")).status).toBe(409);
    expect((await call(fork, "DELETE")).status).toBe(204);
    for (let status = 410; status === 410;) ({ status } = await call(path, "HEAD"));
    const source = fresh();
    await call(source, "PUT", TEXT, "NEW");
    expect((await call(path, "PUT", { "stream-forked-from": `/v1/stream/${source}` })).status).toBe(201);
    await expectNew(path, etag);
  });

  it("is not made while object storage can't say that the old one's segments are gone", async () => {
    const { path } = await archived();
    let isAway = true;
    await inside(path, (instance) => {
      const away = () => Promise.reject(new Error("unreachable"));
      const get = (key: string, options: unknown) => real.SEGMENTS.get(key, options);
      instance.env = {
        ...instance.env,
        SEGMENTS: { get, put: away, delete: (keys: string[]) => (isAway ? away() : real.SEGMENTS.delete(keys)) },
      };
    });
    expect((await call(path, "DELETE")).status).toBe(204);
    const refused = await call(path, "PUT", TEXT, "NEW");
    expect([
      refused.status,
      refused.headers.get("retry-after"),
      ((await refused.json()) as { error: object }).error,
    ]).toMatchObject([503, "1", { code: "STORAGE_FAILED" }]);
    expect((await call(path, "HEAD")).status).toBe(404);
    isAway = false;
    expect((await call(path, "PUT", TEXT, "NEW")).status).toBe(201);
    expect(await (await first.ask(path)).text()).toBe("NEW");
    expect((await look(path)).keys).toEqual([]);
  });
});

describe("an answer from segments", () => {
  /** All headers but `link`: the object does not know the segment's address. */
  const headersOf = (response: Response): Record<string, string> =>
    Object.fromEntries([...response.headers].filter(([name]) => name !== "link"));

  it("has every header that the object's has", async () => {
    const { path } = await archived();
    const own = (query: string, accept: string): Promise<Response> =>
      handle(new Request(at(path) + query, { headers: { accept } }), { ...real, SEGMENTS: undefined } as never);
    for (const accept of ["*/*", "text/plain", BATCHES, `${BATCHES};q=0.5, text/plain;q=0.4`, "image/png"]) {
      for (const offset of ["-1", ...Array.from({ length: 7 }, (_, i) => offsetText(i)), offsetText(9), "now"]) {
        const [found, expected] = [
          await handle(new Request(`${at(path)}?offset=${offset}`, { headers: { accept } }), real as never),
          await own(`?offset=${offset}`, accept),
        ];
        const [got, wanted] = [headersOf(found), headersOf(expected)];
        // The answer ends with the last segment, but the object's may contain more.
        const endsBefore = got["stream-next-offset"] !== wanted["stream-next-offset"];
        if (endsBefore)
          for (const name of ["stream-next-offset", "stream-up-to-date", "etag"]) [got[name], wanted[name]] = ["", ""];
        expect([accept, offset, found.status, got]).toEqual([accept, offset, expected.status, wanted]);
        expect(endsBefore && offset !== offsetText(4)).toBe(false);
        const [text, whole] = await Promise.all(
          [found, expected].map(async (answer) => new TextDecoder("latin1").decode(await answer.arrayBuffer())) as [
            Promise<string>,
            Promise<string>,
          ],
        );
        expect(endsBefore ? whole.startsWith(text) : text === whole).toBe(true);
        if (found.status === 200)
          expect([found.headers.get("vary"), found.headers.get("tidemark-from-offset")]).toEqual([
            "accept",
            expect.stringMatching(/^\d{16}_0{16}$/),
          ]);
      }
    }
  });

  it("reports the end of a closed log; at the end of an open log the object is asked", async () => {
    const { path } = await archived();
    for (const accept of ["text/plain", BATCHES]) {
      const closed = isolate(here, (manifest) => ({ ...manifest, end: 5, closed: true }));
      here.forgetManifest("dev", path);
      const last = await closed.ask(path, `?offset=${offsetText(4)}`, { accept });
      expect(
        ["stream-next-offset", "stream-up-to-date", "stream-closed"].map((name) => last.headers.get(name)),
      ).toEqual([offsetText(5), "true", "true"]);
      if (accept !== BATCHES) expect(last.headers.get("etag")).toMatch(/:4:5:c"$/);
      expect(closed.asked()).toBe(1);
      const open = isolate(here, (manifest) => ({ ...manifest, end: 5 }));
      here.forgetManifest("dev", path);
      const own = await open.ask(path, `?offset=${offsetText(4)}`, { accept });
      expect([own.headers.get("link"), own.headers.get("stream-closed"), open.asked()]).toEqual([null, null, 2]);
      here.forgetManifest("dev", path);
    }
  });

  it("varies by Accept wherever a cache may keep it", async () => {
    const path = fresh();
    await call(path, "PUT", { "content-type": "application/json" }, "[1]");
    for (const query of ["", "?offset=-1", "?offset=now", `?offset=${offsetText(1)}`, "?offset=-1&live=long-poll"]) {
      for (const accept of ["*/*", BATCHES])
        expect((await call(path + query, "GET", { accept })).headers.get("vary")).toBe("accept");
    }
    const { headers } = await call(path, "GET", { accept: "*/*" });
    const unchanged = await call(`${path}?offset=-1`, "GET", { "if-none-match": headers.get("etag")! });
    expect([unchanged.status, unchanged.headers.get("vary")]).toEqual([304, "accept"]);
  });
});
