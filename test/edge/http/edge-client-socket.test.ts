/**
 * `tidemark/client` over its WebSocket, against real workerd: what goes over it, what drops at any byte do, networks
 * that let no socket through, and tokens that are wrong or end.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { type ClientChange, connect, type ConnectOptions, type EdgeClient } from "../../../src/client/index.ts";
import { decodeFrame, FrameType } from "../../../src/sync/frames.ts";
// @ts-expect-error plain JavaScript, because it also runs before any package is installed
import { bundleTs } from "../../../tools/run/run-ts.mjs";
import { FaultProxy } from "../../sync/proxy.ts";
import { SECRET, tokenOf } from "../../sync/tokens.ts";
import { type LocalWorker, startWorker } from "../local-worker.ts";

let worker: LocalWorker;
let guarded: LocalWorker;
let proxy: FaultProxy;
const clients: EdgeClient[] = [];

beforeAll(async () => {
  [worker, guarded] = [await startWorker(), await startWorker({ settings: { TIDEMARK_JWT_SECRETS: SECRET } })];
  proxy = await new FaultProxy(Number(new URL(worker.url).port)).start();
});
afterAll(async () => {
  for (const client of clients) await client.close();
  await proxy.stop();
  await Promise.all([worker.stop(), guarded.stop()]);
});

/** The platform's class, and what was done with it. */
function counted() {
  const seen = { opened: 0, closed: 0, sent: [] as number[] };
  class Counted extends WebSocket {
    constructor(url: string, protocols: string[]) {
      super(url, protocols);
      seen.opened++;
    }
    override close(code?: number, reason?: string): void {
      seen.closed++;
      super.close(code, reason);
    }
    override send(data: string | Blob | ArrayBuffer | ArrayBufferView): void {
      const frame = decodeFrame(data);
      if (frame) seen.sent.push(frame.type);
      super.send(data as string);
    }
  }
  return { seen, WebSocket: Counted as ConnectOptions["WebSocket"] };
}

let made = 0;
const fresh = (): string => `client-socket/${++made}`;
function client(options: ConnectOptions = {}, url = worker.url): EdgeClient {
  const opened = connect(url, options);
  clients.push(opened);
  return opened;
}

/** Values of a follow, and a way to wait until so many have come. */
function following(topic: { read(options: { follow: true; signal: AbortSignal }): AsyncIterable<{ value: unknown }> }) {
  const values: unknown[] = [];
  const over = new AbortController();
  let wake = (): void => undefined;
  const done = (async () => {
    for await (const { value } of topic.read({ follow: true, signal: over.signal })) {
      values.push(value);
      wake();
    }
  })();
  return {
    values,
    async until(count: number) {
      while (values.length < count) await Promise.race([done, new Promise<void>((resolve) => (wake = resolve))]);
    },
    async stop() {
      over.abort();
      await done;
    },
  };
}

async function valuesOf(path: string): Promise<unknown[]> {
  const values = [];
  for await (const { value } of client({ transport: "http" }).topic(path).read()) values.push(value);
  return values;
}

describe("the socket", () => {
  it("is one for all topics; a read that follows opens it, appends use it, and the last read closes it", async () => {
    const { seen, WebSocket } = counted();
    const edge = client({ WebSocket });
    const [a, b] = [edge.topic<number>(fresh()), edge.topic<number>(fresh())];
    await a.append({ value: 0 });
    await b.append({ value: 0 });
    expect(seen.opened).toBe(0);
    const reads = [following(a), following(b)];
    for (const read of reads) await read.until(1);
    // The follows are live once something came over the socket.
    for (let n = 1; n <= 20; n++) {
      await a.append({ value: n });
      await reads[0]!.until(n + 1);
    }
    expect(seen.opened).toBe(1);
    expect(seen.sent.filter((type) => type === FrameType.APPEND).length).toBeGreaterThan(10);
    expect(seen.sent.filter((type) => type === FrameType.FOLLOW)).toHaveLength(2);
    expect(reads[0]!.values).toEqual(Array.from({ length: 21 }, (_, n) => n));
    await reads[0]!.stop();
    expect(seen.closed).toBe(0);
    await reads[1]!.stop();
    expect(seen.closed).toBe(1);
  });

  it("records that are larger than its window come over it, and so do 10,000 appends of another writer", async () => {
    const path = fresh();
    const edge = client({}, worker.url);
    await edge.topic(path).create();
    const read = following(edge.topic(path));
    const writer = client({ transport: "http" }).topic(path);
    const large = "x".repeat(900_000);
    for (let n = 1; n <= 12; n++) {
      await writer.append({ value: large });
      await read.until(n);
    }
    await Promise.all(Array.from({ length: 10_000 }, (_, n) => writer.append({ value: n })));
    await read.until(10_012);
    expect(read.values.slice(12)).toEqual(Array.from({ length: 10_000 }, (_, n) => n));
    await read.stop();
  });

  it("drops at any byte, either way: each append is there once, each follow has all of them in order", async () => {
    const path = fresh();
    await client().topic(path).create();
    const { seen, WebSocket } = counted();
    const edge = client({ WebSocket }, proxy.url);
    const topic = edge.topic<number>(path);
    const read = following(topic);
    let n = 0;
    const append = async (count: number) => {
      await Promise.all(Array.from({ length: count }, () => topic.append({ value: n++ })));
      await read.until(n);
    };
    await append(1);
    // Frames of an append have some 90 bytes, their answers 80, and the batch that comes back 90.
    for (const way of ["up", "down"] as const)
      for (const bytes of [1, 12, 60, 100, 170]) {
        // A socket is avoided for a while after one that soon ended, so most of these drops meet requests.
        proxy.stopAfter(way, bytes);
        await append(2);
        proxy.heal();
      }
    expect(seen.opened).toBeGreaterThan(0);
    expect(read.values).toEqual(Array.from({ length: n }, (_, i) => i));
    expect(await valuesOf(path)).toEqual(read.values);
    await read.stop();
  });

  it("drops at each frame of a young socket, in a client of its own each", async () => {
    const path = fresh();
    await client().topic(path).create();
    let n = 0;
    for (const way of ["up", "down"] as const)
      for (const bytes of [1, 13, 60, 80]) {
        const edge = client({}, proxy.url);
        const topic = edge.topic<number>(path);
        const read = following(topic);
        await read.until(n);
        await topic.append({ value: n++ });
        await read.until(n);
        proxy.stopAfter(way, bytes);
        await Promise.all([topic.append({ value: n++ }), topic.append({ value: n++ })]);
        await read.until(n);
        expect(proxy.heal()).toBeGreaterThan(0);
        expect(read.values).toEqual(Array.from({ length: n }, (_, i) => i));
        await read.stop();
        await edge.close();
      }
    expect(await valuesOf(path)).toEqual(Array.from({ length: n }, (_, i) => i));
  });

  it("where no socket gets through, requests and long-polls do the same", async () => {
    const path = fresh();
    await client().topic(path).create();
    proxy.noSockets();
    const { seen, WebSocket } = counted();
    const topic = client({ WebSocket }, proxy.url).topic<number>(path);
    const read = following(topic);
    for (let n = 0; n < 5; n++) {
      await topic.append({ value: n });
      await read.until(n + 1);
    }
    expect(read.values).toEqual([0, 1, 2, 3, 4]);
    expect(seen.opened).toBe(1);
    await read.stop();
    proxy.heal();
  });

  it("a topic that is deleted, or closed, ends its follow and says why", async () => {
    const [deleted, closed] = [fresh(), fresh()];
    const edge = client();
    for (const path of [deleted, closed]) await edge.topic(path).append({ value: 1 });
    const reads = [following(edge.topic(deleted)), following(edge.topic(closed))];
    for (const read of reads) await read.until(1);
    const gone = expect(reads[0]!.until(2)).rejects.toMatchObject({ code: "UNKNOWN_TOPIC" });
    await edge.topic(deleted).delete();
    await gone;
    await edge.topic(closed).append({ value: 2 });
    await edge.topic(closed).end();
    await reads[1]!.until(2);
    expect(reads[1]!.values).toEqual([1, 2]);
  });
});

/** Follows, and at a word from outside breaks and closes. */
const FOLLOWS_AND_ENDS = (client: string) => `
import { once } from "node:events";
const { connect } = await import(${JSON.stringify(client)});
const edge = connect(process.argv[1]);
const read = edge.topic(process.argv[2]).read({ follow: true });
await read.next();
const live = read.next();
await edge.topic(process.argv[2]).append({ value: 2 });
await live;
console.log("follows");
process.stdin.unref();
await once(process.stdin, "data");
await read.return();
await edge.close();
console.log("closed");
`;

it("a program that follows, breaks and closes ends, also if nothing of its close gets through", async () => {
  const path = fresh();
  await client().topic(path).append({ value: 1 });
  const bundled = await (bundleTs as (file: string) => Promise<string>)("src/client/index.ts");
  const child = spawn(process.execPath, ["--input-type=module", "-e", FOLLOWS_AND_ENDS(bundled), proxy.url, path]);
  const ended = once(child, "exit");
  const said: string[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    said.push(line);
    if (line !== "follows") continue;
    proxy.swallow("up", "down");
    child.stdin.write("go\n");
  }
  expect(await ended).toEqual([0, null]);
  expect(said).toEqual(["follows", "closed"]);
  proxy.heal();
});

describe("changes and views", () => {
  const numbers = (edge = client()) => edge.topic<number>(fresh());
  /** Changes up to the `levels`th level. */
  async function told(changes: AsyncIterable<ClientChange<number>>, levels = 1): Promise<unknown[]> {
    const found: unknown[] = [];
    for await (const change of changes) {
      found.push(change.type === "append" ? change.record.value : change);
      if (change.type === "level" && --levels === 0) break;
    }
    return found;
  }
  const level = (watermark: number) => ({ type: "level", watermark, live: true, copy: null });

  it("changes tell records, when the reader has all, what is gone, and end with the topic", async () => {
    const topic = numbers();
    expect(await told(topic.changes())).toEqual([level(0)]);
    await topic.appendBatch([{ value: 0 }, { value: 1 }]);
    await topic.append({ value: 2 });
    expect(await told(topic.changes({ from: 1 }))).toEqual([1, 2, level(3)]);
    await topic.trim(2);
    for (const from of [0, 9])
      await expect(told(topic.changes({ from }))).rejects.toMatchObject({ code: "OFFSET_OUT_OF_RANGE" });
    const following = topic.changes({ from: "latest" });
    const next = async () => (await following.next()).value as ClientChange<number> | undefined;
    expect(await next()).toEqual(level(3));
    await topic.append({ value: 3 });
    expect(await next()).toMatchObject({ type: "append", record: { offset: 3, value: 3 } });
    expect(await next()).toEqual(level(4));
    await topic.end();
    expect(await next()).toBeUndefined();
    const plain = new AbortController();
    const stopped = told(numbers().changes({ signal: plain.signal }), 2);
    plain.abort();
    expect(await stopped).toEqual([]);
    expect(() => topic.changes({ from: "start" as never })).toThrow(/INVALID_ARGUMENT: from/);
  });

  it("a view folds what is there, follows, and tells its listeners once a turn", async () => {
    const edge = client();
    const topic = numbers(edge);
    await topic.appendBatch([{ value: 1 }, { value: 2 }]);
    const view = topic.view({ name: "sum", initial: () => 0, apply: (sum, { value }) => sum + value!, check: true });
    expect(view.current).toBe(0);
    const shown: number[] = [];
    view.subscribe((sum) => shown.push(sum));
    await view.ready();
    expect([view.current, view.committed, view.at]).toEqual([3, 3, { offset: 2, provisional: 0 }]);
    let wake = (): void => undefined;
    view.subscribe(() => wake());
    const until = async (sum: number) => {
      while (view.current !== sum) await new Promise<void>((resolve) => (wake = resolve));
    };
    await topic.append({ value: 4 });
    await until(7);
    await topic.appendBatch(Array.from({ length: 500 }, () => ({ value: 1 })));
    await until(507);
    expect(shown).toEqual([3, 7, 507]);
    await expect(view.save()).rejects.toMatchObject({ code: "INVALID_ARGUMENT", details: { field: "snapshot" } });
    view.close();
    await topic.append({ value: 1 });
    expect([view.current, await view.ready().catch(({ code }: { code: string }) => code)]).toEqual([507, "CLOSED"]);
    // A view that follows ends with its client, and that is no error.
    const open = topic.view({ name: "open", initial: () => 0, apply: (sum) => sum + 1 });
    await open.ready();
    const ended = new Promise<void>((resolve) => open.subscribe(() => resolve()));
    await edge.close();
    await ended;
    await expect(open.ready()).rejects.toMatchObject({ code: "CLOSED" });
  });

  it("a view ends with what its function throws, and names a wrong option", async () => {
    const topic = numbers();
    await topic.appendBatch([{ value: 1 }, { value: 2 }, { value: 4 }]);
    const reported = vi.fn();
    vi.stubGlobal("reportError", reported);
    const impure = topic.view({
      name: "impure",
      initial: () => [] as number[],
      apply: (list, { value }) => (list.push(value!), list),
      check: true,
    });
    await expect(impure.ready()).rejects.toMatchObject({ code: "VIEW_IMPURE" });
    expect(reported).toHaveBeenCalledTimes(1);
    vi.unstubAllGlobals();
    for (const [options, field] of [
      [{ apply: 5 }, "apply"],
      [{ snapshot: {} }, "snapshot"],
      [{ name: "a/b" }, "name"],
    ] as const) {
      const wrong = topic.view({ name: "v", initial: () => 0, apply: () => 0, ...options } as never);
      await expect(wrong.ready()).rejects.toMatchObject({ code: "INVALID_ARGUMENT", details: { field } });
    }
    expect(() => topic.view({ name: "v" } as never)).toThrow(/INVALID_ARGUMENT: initial/);
  });
});

describe("tokens", () => {
  const at = (token: ConnectOptions["token"], options: ConnectOptions = {}): EdgeClient =>
    client({ token, ...options }, guarded.url);

  it("a wrong one is told to the caller, and a function is asked once more", async () => {
    const path = fresh();
    const wrong = await tokenOf("ann", 60, "a secret that the edge does not know at all");
    await expect(at(wrong).topic(path).append({ value: 1 })).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      details: { edge: "UNAUTHORIZED", status: 401 },
    });
    await expect(at(undefined).topic(path).state()).rejects.toMatchObject({ details: { edge: "UNAUTHORIZED" } });
    const reasons: string[] = [];
    const good = await tokenOf("ann", 60);
    const edge = at((reason) => {
      reasons.push(reason);
      return reasons.length === 1 ? wrong : Promise.resolve(good);
    });
    await Promise.all([edge.topic(path).append({ value: 1 }), edge.topic(path).state(), edge.topic(path).state()]);
    expect(reasons).toEqual(["connect", "refused"]);
  });

  it("a function that fails is asked again until the call's time is over; one that gives nonsense is not", async () => {
    let asked = 0;
    const failing = at(() => Promise.reject(new Error(`no ${++asked}`)), { timeoutMs: 400 });
    await expect(failing.topic("a").append({ value: 1 })).rejects.toMatchObject({
      code: "TIMEOUT",
      message: expect.stringMatching(/the token function failed: Error: no \d/) as string,
    });
    expect(asked).toBeGreaterThan(1);
    for (const nonsense of [5, "", "two words", "ä"])
      await expect(
        at(() => nonsense as string)
          .topic("a")
          .state(),
      ).rejects.toMatchObject({ code: "INVALID_ARGUMENT", details: { field: "token" } });
    const never = at(() => new Promise(() => undefined), { timeoutMs: 100 });
    await expect(never.topic("a").append({ value: 1 })).rejects.toMatchObject({ code: "TIMEOUT" });
  });

  it("one that ends while a read follows is replaced, and nothing is missed", async () => {
    const path = fresh();
    let asked = 0;
    // The edge takes a token 5 s beyond its end.
    const edge = at(() => tokenOf("ann", asked++ === 0 ? -3 : 60));
    const topic = edge.topic<number>(path);
    await topic.append({ value: 0 });
    const read = following(topic);
    for (let n = 1; asked < 2 || n < 5; n++) {
      await read.until(n);
      await new Promise((resolve) => setTimeout(resolve, 100));
      await topic.append({ value: n });
    }
    await read.until(5);
    expect(read.values).toEqual(read.values.map((_, n) => n));
    await read.stop();
  });
});
