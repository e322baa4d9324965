/**
 * Object storage, inside workerd over its own R2: segments move there, are read from there without the object, and are
 * deleted when the log no longer has them. The object is reset at every step between two writes: nothing may be lost or
 * duplicated, and no object may stay that no row names.
 */
import { abortAllDurableObjects, evictDurableObject, SELF } from "cloudflare:test";
import { describe, expect, it } from "vitest";
import { splitBatches } from "../../src/record/record-batch.ts";
import { decodeFooter, FOOTER_BYTES } from "../../src/store/footer.ts";
import { edgeKernel } from "../../worker/kernel.ts";
import { handle } from "../../worker/front/router.ts";
import { call, fill, inside, look, objectOf, readAll, real, settle, type TestBucket } from "./archive-tools.ts";

const kernel = await edgeKernel();
let streams = 0;
async function fresh(headers: Record<string, string> = {}): Promise<string> {
  const path = `archive/${++streams}`;
  expect((await call(path, "PUT", headers)).status).toBe(201);
  return path;
}

/** Reads by the Worker, and counts the requests that reach objects. */
function counting() {
  let asked = 0;
  const LOGS = {
    idFromName: (name: string) => real.LOGS.idFromName(name),
    get: (id: never) => (asked++, real.LOGS.get(id)),
  };
  const ask = (url: string, init?: RequestInit) => handle(new Request(url, init), { ...real, LOGS } as never);
  return { ask, count: () => asked };
}

describe("sealed segments", () => {
  it("move to object storage, as the segment format says; their rows go, and all reads back the same", async () => {
    const path = await fresh();
    const all = await fill(path, 3);
    const { sealed, chunks, keys } = await settle(path);
    expect([sealed, keys.length, chunks < 6]).toEqual([3, 3, true]);
    expect((await readAll(path)) === all).toBe(true);
    await evictDurableObject(objectOf(path));
    expect((await readAll(path)) === all).toBe(true);
    let previous = 0;
    for (const key of keys) {
      const bytes = new Uint8Array(await (await real.SEGMENTS.get(key))!.arrayBuffer());
      const footer = decodeFooter(kernel, bytes.slice(-FOOTER_BYTES))!;
      expect(
        footer.bodyBytes + footer.offsetIndexBytes + footer.timeIndexBytes + footer.producersBytes + FOOTER_BYTES,
      ).toBe(bytes.length);
      expect([footer.previousFooterCrc, splitBatches(bytes.slice(0, footer.bodyBytes)).length]).toEqual([
        previous,
        footer.batches,
      ]);
      previous = new DataView(bytes.buffer, bytes.length - 4).getUint32(0);
    }
  });

  it("are read without waking the object, with the same answers that the object gives", async () => {
    const path = await fresh();
    await fill(path, 2);
    await settle(path);
    const { ask, count } = counting();
    const at = (offset: string) => `http://localhost/v1/stream/${path}?offset=${offset}`;
    const first = await ask(at("-1"));
    const next = first.headers.get("stream-next-offset")!;
    const before = count();
    const answers = [await ask(at("-1")), await ask(at(next))];
    expect(count()).toBe(before);
    for (const [i, offset] of ["-1", next].entries()) {
      const own = await objectAnswer(path, offset);
      for (const name of ["etag", "stream-next-offset", "content-type", "cache-control", "stream-up-to-date"])
        expect(answers[i]!.headers.get(name)).toBe(own.headers.get(name));
      expect((await answers[i]!.text()) === (await own.text())).toBe(true);
    }
    const again = await ask(at(next), { headers: { "if-none-match": answers[1]!.headers.get("etag")! } });
    expect([again.status, count()]).toEqual([304, before]);
  });

  /** The object's answer to a caller that does not offer to read segments. */
  async function objectAnswer(path: string, offset: string): Promise<Response> {
    return handle(new Request(`http://localhost/v1/stream/${path}?offset=${offset}`), {
      ...real,
      SEGMENTS: undefined,
    } as never);
  }

  it("have an immutable address, by range too, for readers of batches", async () => {
    const path = await fresh();
    await fill(path, 1);
    const { keys } = await settle(path);
    const response = await SELF.fetch(`http://localhost/v1/stream/${path}?offset=-1`, {
      headers: { accept: "application/vnd.tidemark.batches" },
    });
    const [, link] = /<(.*)>; rel="segment"/.exec(response.headers.get("link")!)!;
    const batches = new Uint8Array(await response.arrayBuffer());
    const { ask, count } = counting();
    const whole = await ask(`http://localhost${link}`);
    expect([whole.headers.get("cache-control"), count()]).toEqual(["public, max-age=31536000, immutable", 0]);
    const bytes = new Uint8Array(await whole.arrayBuffer());
    expect(bytes).toEqual(new Uint8Array(await (await real.SEGMENTS.get(keys[0]!))!.arrayBuffer()));
    expect(bytes.slice(0, batches.length)).toEqual(batches);
    const part = await ask(`http://localhost${link}`, { headers: { range: "bytes=100-199" } });
    expect([part.status, part.headers.get("content-range")]).toEqual([206, `bytes 100-199/${bytes.length}`]);
    expect(new Uint8Array(await part.arrayBuffer())).toEqual(bytes.slice(100, 200));
    expect(
      (await ask(`http://localhost${link}`, { headers: { "if-none-match": whole.headers.get("etag")! } })).status,
    ).toBe(304);
    for (const bad of [`${link}x`, link!.replace(path, "archive/other"), `/v1/segment/${path}/../x`])
      expect((await ask(`http://localhost${bad}`)).status).toBe(404);
  });

  it("report their size to HEAD, and to a GET of a range behind their end", async () => {
    const path = await fresh();
    await fill(path, 1);
    const { keys } = await settle(path);
    const bytes = new Uint8Array(await (await real.SEGMENTS.get(keys[0]!))!.arrayBuffer());
    const url = `http://localhost/v1/segment/${path}/${keys[0]!.slice(keys[0]!.lastIndexOf("/") + 1)}`;
    const asked: string[] = [];
    let isAway = false;
    const bucket = Object.fromEntries(
      (["get", "head", "put", "delete"] as const).map((name) => [
        name,
        async (...args: [string, never]) => {
          asked.push(name);
          if (isAway) throw new Error("unreachable");
          return (
            real.SEGMENTS as typeof real.SEGMENTS & Record<string, (...args: [string, never]) => Promise<object | null>>
          )[name]!(...args);
        },
      ]),
    );
    const ask = (target: string, init?: RequestInit) =>
      handle(new Request(target, init), { ...real, SEGMENTS: bucket } as never);

    // HEAD ignores a range: it has the headers of the whole segment.
    for (const headers of [{}, { range: "bytes=1-2" }] as Record<string, string>[]) {
      const head = await ask(url, { method: "HEAD", headers });
      expect([
        head.status,
        head.headers.get("content-length"),
        head.headers.get("accept-ranges"),
        await head.text(),
      ]).toEqual([200, String(bytes.length), "bytes", ""]);
    }
    const name = url.slice(url.lastIndexOf("/") + 1);
    expect(
      (await ask(url.replace(name, `${name.slice(0, -1)}${name.endsWith("0") ? "1" : "0"}`), { method: "HEAD" }))
        .status,
    ).toBe(404);
    expect(asked).toEqual(["head", "head", "head"]);

    for (const range of [`bytes=${bytes.length}-`, `bytes=${bytes.length + 5}-${bytes.length + 9}`, "bytes=9-8"]) {
      const refused = await ask(url, { headers: { range } });
      const { error } = (await refused.json()) as { error: { code: string; message: string } };
      expect([range, refused.status, refused.headers.get("content-range"), error.code]).toEqual([
        range,
        416,
        `bytes */${bytes.length}`,
        "RANGE_NOT_SATISFIABLE",
      ]);
      expect(error.message).toContain(String(bytes.length));
    }
    const broken = { arrayBuffer: () => Promise.reject(new Error("the connection broke")), size: bytes.length };
    for (const headers of [{}, { range: "bytes=1-2" }] as Record<string, string>[]) {
      const SEGMENTS = { ...bucket, get: async () => broken };
      const { status } = await handle(new Request(url, { headers }), { ...real, SEGMENTS } as never);
      expect(status).toBe(503);
    }
    const last = await ask(url, { headers: { range: `bytes=${bytes.length - 1}-${bytes.length + 9}` } });
    expect([last.status, last.headers.get("content-range")]).toEqual([
      206,
      `bytes ${bytes.length - 1}-${bytes.length - 1}/${bytes.length}`,
    ]);
    expect(new Uint8Array(await last.arrayBuffer())).toEqual(bytes.slice(-1));

    // Without an answer of the bucket nothing is said about ranges.
    isAway = true;
    for (const init of [
      { headers: { range: "bytes=1-2" } },
      { headers: { range: "bytes=2-1" } },
      { method: "HEAD" },
      {},
    ]) {
      const response = await ask(url, init);
      expect([init, response.status, response.headers.get("tidemark-error")]).toEqual([init, 503, "STORAGE_FAILED"]);
    }
  });

  it("serve a fork whose source's rows have moved, and outlive the source's deletion", async () => {
    const source = await fresh();
    const all = await fill(source, 2);
    await settle(source);
    const fork = await fresh({
      "stream-forked-from": `/v1/stream/${source}`,
      "stream-fork-offset": "0000000000000005_0000000000000000",
    });
    await call(fork, "POST", {}, "tail");
    const expected = all.slice(0, 5 * 900_000) + "tail";
    expect((await readAll(fork)) === expected).toBe(true);
    expect((await call(source, "DELETE")).status).toBe(204);
    expect((await readAll(fork)) === expected).toBe(true);
    expect((await call(fork, "DELETE")).status).toBe(204);
    for (let left = 1; left > 0;) {
      await settle(source);
      left = (await look(source)).keys.length;
    }
  });

  it("go when the stream is deleted, and a new stream of the same path has none of it", async () => {
    const path = await fresh();
    await fill(path, 2);
    await settle(path);
    expect((await call(path, "DELETE")).status).toBe(204);
    expect((await call(path, "PUT")).status).toBe(201);
    await call(path, "POST", {}, "new");
    expect(await readAll(path)).toBe("new");
    expect((await settle(path)).keys).toEqual([]);
    expect(await readAll(path)).toBe("new");
  });
});

/** Makes a bucket with a fault between two steps. `abort` resets the object, as a loss of power would. */
type Fault = (bucket: TestBucket, abort: () => Promise<never>) => Partial<TestBucket>;
const once = (): (() => boolean) => {
  let left = 1;
  return () => left-- > 0;
};

const FAULTS: Record<string, () => Fault> = {
  "power lost before the put": () => (_, abort) => ({ put: abort }),
  "power lost after the put, before it is noted": () => (bucket, abort) => ({
    put: async (...args) => (await bucket.put(...args), abort()),
  }),
  "the put fails": () => {
    const first = once();
    return (bucket) => ({
      put: (...args) => (first() ? Promise.reject(new Error("unreachable")) : bucket.put(...args)),
    });
  },
  "the put is through, and its answer is lost": () => {
    const first = once();
    return (bucket) => ({
      put: async (...args) => {
        const stored = await bucket.put(...args);
        if (first()) throw new Error("connection lost");
        return stored;
      },
    });
  },
  "the key is taken": () => {
    const first = once();
    return (bucket) => ({ put: async (...args) => (first() ? null : bucket.put(...args)) });
  },
};

async function breakBucket(path: string, fault: Fault): Promise<() => number> {
  let fired = 0;
  await inside(path, (instance) => {
    const abort = (): Promise<never> => {
      fired++;
      instance.ctx.abort("power lost");
      return new Promise(() => {});
    };
    const broken = fault(real.SEGMENTS, abort);
    const counted = Object.fromEntries(
      Object.entries(broken).map(([name, method]) => [
        name,
        (...args: never[]) => (fired++, (method as (...args: never[]) => unknown)(...args)),
      ]),
    );
    const methods = ["put", "get", "delete"] as const;
    const SEGMENTS = Object.fromEntries(
      methods.map((name) => [
        name,
        counted[name] ?? ((...args: never[]) => (real.SEGMENTS[name] as (...args: never[]) => unknown)(...args)),
      ]),
    );
    instance.env = { ...instance.env, SEGMENTS };
  });
  return () => fired;
}

describe("a fault at each step", () => {
  it.each(Object.keys(FAULTS))("%s: nothing is lost or duplicated, and no orphan stays", async (name) => {
    const path = await fresh();
    const fired = await breakBucket(path, FAULTS[name]!());
    let all = "";
    for (let i = 0; i < 2; i++) all += await fill(path, 1, i * 100);
    // Wait until the fault has occurred; the alarm comes by itself.
    for (let turn = 0; fired() === 0 && turn < 500; turn++) await new Promise((resolve) => setTimeout(resolve, 10));
    expect(fired()).toBeGreaterThan(0);
    expect((await readAll(path)) === all).toBe(true);
    const { sealed, keys } = await settle(path);
    expect([sealed, keys.length]).toEqual([2, 2]);
    expect((await readAll(path)) === all).toBe(true);
  });

  it("reset right after the transaction: the object continues from what its tables say", async () => {
    const path = await fresh();
    const all = await fill(path, 1);
    await settle(path);
    await abortAllDurableObjects();
    expect((await readAll(path)) === all).toBe(true);
    expect(await settle(path)).toMatchObject({ sealed: 1, states: [0, 1, 0] });
  });

  it.each(["before", "after"])("reset %s objects are deleted: the next run deletes them", async (when) => {
    const path = await fresh();
    await fill(path, 1);
    await settle(path);
    const fired = await breakBucket(path, (bucket, abort) => ({
      delete: async (keys) => (when === "after" && (await bucket.delete(keys)), abort()),
    }));
    await call(path, "DELETE");
    for (let turn = 0; fired() === 0 && turn < 500; turn++) await new Promise((resolve) => setTimeout(resolve, 10));
    expect(fired()).toBeGreaterThan(0);
    expect((await settle(path)).keys).toEqual([]);
  });

  it("the stream is deleted and made anew while the put is on its way", async () => {
    const path = await fresh();
    let release = (): void => {};
    const held = new Promise<void>((resolve) => (release = resolve));
    const first = once();
    const fired = await breakBucket(path, (bucket) => ({
      put: async (...args) => {
        if (first()) await held;
        return bucket.put(...args);
      },
    }));
    await fill(path, 1);
    for (let turn = 0; fired() === 0 && turn < 500; turn++) await new Promise((resolve) => setTimeout(resolve, 10));
    await call(path, "DELETE");
    await call(path, "PUT");
    const all = await fill(path, 1, 50);
    release();
    const { sealed, keys } = await settle(path);
    expect([sealed, keys.length]).toEqual([1, 1]);
    expect((await readAll(path)) === all).toBe(true);
  });
});

it("an answer that is being read goes on while its rows move", async () => {
  const path = await fresh();
  let release = (): void => {};
  const held = new Promise<void>((resolve) => (release = resolve));
  await breakBucket(path, (bucket) => ({ put: async (...args) => (await held, bucket.put(...args)) }));
  const all = await fill(path, 2);
  const { body } = await SELF.fetch(`http://localhost/v1/stream/${path}?offset=-1`);
  const reader = body!.getReader();
  const parts = [(await reader.read()).value!];
  release();
  expect((await settle(path)).chunks).toBeLessThan(3);
  for (let part = await reader.read(); !part.done; part = await reader.read()) parts.push(part.value);
  expect((await new Blob(parts as BlobPart[]).text()) === all).toBe(true);
});

describe("damage in object storage", () => {
  async function archived(): Promise<{ path: string; key: string; all: string }> {
    const path = await fresh();
    const all = await fill(path, 1);
    const { keys } = await settle(path);
    return { path, key: keys[0]!, all };
  }
  const codeAt = async (path: string, offset: string): Promise<[number, string]> => {
    const response = await SELF.fetch(`http://localhost/v1/stream/${path}?offset=${offset}`);
    return [response.status, ((await response.json()) as { error: { code: string } }).error.code];
  };
  const flip = async (key: string, at: number): Promise<void> => {
    const bytes = new Uint8Array(await (await real.SEGMENTS.get(key))!.arrayBuffer());
    bytes[at < 0 ? bytes.length + at : at]! ^= 1;
    await real.SEGMENTS.put(key, bytes);
  };

  it("a flipped bit in a record is CORRUPT_RANGE, and records behind the segment stay readable", async () => {
    const { path, key, all } = await archived();
    await flip(key, 1_000);
    await evictDurableObject(objectOf(path));
    expect(await codeAt(path, "-1")).toEqual([500, "CORRUPT_RANGE"]);
    const behind = await SELF.fetch(`http://localhost/v1/stream/${path}?offset=0000000000000005_0000000000000000`);
    expect(all.slice(5 * 900_000).startsWith((await behind.text()).slice(0, 100_000))).toBe(true);
  });

  it.each([
    ["the length", 10],
    ["the magic", 16],
    ["the base offset", 7],
  ])("a flipped bit in %s, which no batch checksum covers, is CORRUPT_RANGE", async (_, at) => {
    const { path, key } = await archived();
    await flip(key, at);
    await evictDurableObject(objectOf(path));
    expect(await codeAt(path, "-1")).toEqual([500, "CORRUPT_RANGE"]);
  });

  it.each([
    ["an index", -150],
    ["the footer", -50],
  ])("a flipped bit in %s is made good from the batches", async (_, at) => {
    const { path, key, all } = await archived();
    await flip(key, at);
    await evictDurableObject(objectOf(path));
    expect((await readAll(path)) === all).toBe(true);
  });

  it(
    "another stream's object under a segment's key is CORRUPT_RANGE over it, whatever its length; never that " +
      "stream's records",
    { timeout: 120_000 },
    async () => {
      const { path, key, all } = await archived();
      const bytesAt = async (at: string) => new Uint8Array(await (await real.SEGMENTS.get(at))!.arrayBuffer());
      const own = await bytesAt(key);
      // The same batches at the same offsets, of another stream: its segment has the same shape to the byte.
      const alike = await bytesAt((await archived()).key);
      const others: [string, Uint8Array][] = [
        ["of the same shape", alike],
        ["shorter", own.slice(0, 2_000_000)],
        ["shorter than its footer", own.slice(0, -60)],
        ["longer", Uint8Array.from([...alike, 0])],
      ];
      for (const [what, bytes] of others) {
        await real.SEGMENTS.put(key, bytes);
        await evictDurableObject(objectOf(path));
        expect(await codeAt(path, "-1"), what).toEqual([500, "CORRUPT_RANGE"]);
        expect(await codeAt(path, "0000000000000002_0000000000000000"), what).toEqual([500, "CORRUPT_RANGE"]);
        const behind = await SELF.fetch(`http://localhost/v1/stream/${path}?offset=0000000000000005_0000000000000000`);
        expect([behind.status, (await behind.arrayBuffer()).byteLength > 0], what).toEqual([200, true]);
      }
      await real.SEGMENTS.put(key, own);
      await evictDurableObject(objectOf(path));
      const again = await SELF.fetch(`http://localhost/v1/stream/${path}?offset=-1`);
      expect([again.status, (await again.text()).slice(0, 20)], "put back it is read again").toEqual([
        200,
        all.slice(0, 20),
      ]);
    },
  );

  it("a missing object is CORRUPT_RANGE over its segment, never a gap", async () => {
    const { path, key } = await archived();
    await real.SEGMENTS.delete(key);
    expect(await codeAt(path, "-1")).toEqual([500, "CORRUPT_RANGE"]);
    expect(await codeAt(path, "0000000000000002_0000000000000000")).toEqual([500, "CORRUPT_RANGE"]);
    expect(
      (await SELF.fetch(`http://localhost/v1/stream/${path}?offset=0000000000000005_0000000000000000`)).status,
    ).toBe(200);
  });

  it("a bucket that does not answer is 503: ask again", async () => {
    const { path, all } = await archived();
    const away = () => Promise.reject(new Error("unreachable"));
    const failing = { ...real, SEGMENTS: { put: away, get: away, delete: away } };
    await inside(path, (instance) => void (instance.env = { ...instance.env, SEGMENTS: failing.SEGMENTS }));
    await evictDurableObject(objectOf(path));
    await inside(path, (instance) => void (instance.env = { ...instance.env, SEGMENTS: failing.SEGMENTS }));
    const response = await handle(new Request(`http://localhost/v1/stream/${path}?offset=-1`), failing as never);
    expect([response.status, response.headers.get("retry-after"), await response.json()]).toMatchObject([
      503,
      "1",
      { error: { code: "STORAGE_FAILED" } },
    ]);
    await evictDurableObject(objectOf(path));
    expect((await readAll(path)) === all).toBe(true);
  });
});
