/** An edge as a target: what a proxy or another site answers in its stead is taken for nothing that an edge says. */
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, expect, it } from "vitest";
import { edgeTarget } from "../../cli/edge-target.ts";
import { lineOf } from "../../cli/failure.ts";
import type { LogTarget } from "../../cli/target.ts";
import { ownKernel } from "../../cli/targets.ts";
import { connect } from "../../src/client/index.ts";
import { TidemarkError } from "../../src/errors.ts";
import { readHeader } from "../../src/record/format.ts";
import type { KafkaFiles } from "../../src/store/kafka-files.ts";
import { formatOffset } from "../../src/sync/http-words.ts";
import { batchAt } from "../support/kafka-batches.ts";
import { releaseKernel } from "../support/kernels.ts";

let server: Server;
afterEach(() => server.close());

/** A site that is no edge, unless its headers say so; `asked` is called for each request. */
async function siteOf(
  status: number,
  body: string,
  asked: () => void = () => undefined,
  headers: Readonly<Record<string, string>> = { "content-type": "text/html" },
) {
  server = createServer((_, response) => {
    asked();
    response.writeHead(status, headers).end(body);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  return edgeTarget(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, undefined, await ownKernel());
}
const SENDING = { since: 0, isResent: false, makes: true };

it.each([404, 403])("a %i that is not the edge's says nothing of a topic: it is asked again", async (status) => {
  let seen = 0;
  let again = (): void => undefined;
  const twice = new Promise<string>((resolve) => (again = () => resolve("asked again")));
  const target = await siteOf(status, "<html>", () => ++seen === 2 && again());
  const end = target.end("t");
  expect(await Promise.race([end, twice])).toBe("asked again");
  await target.close();
  await expect(end).rejects.toMatchObject({ name: "AbortError" });
});

it.each(["", "<html>", "{}", '{"appended":[]}', '{"appended":[{"lastOffset":"7"}]}'])(
  "a success that is not the edge's is none: %s",
  async (body) => {
    const target = await siteOf(200, body);
    await expect(target.end("t")).rejects.toThrow("not from an edge: check the address");
    await expect(target.resolve("t", { timestamp: 5 })).rejects.toThrow("not from an edge: check the address");
    await expect(target.append("t", new Uint8Array(61), SENDING)).rejects.toThrow("not from an edge");
    await target.close();
  },
);

it("a success that is not the edge's is no place for a read from a time, nor for an append", async () => {
  const target = await siteOf(200, "<html>");
  const edge = connect(target.where);
  const topic = edge.topic("t");
  const foreign = { code: "CLOSED", details: { reason: "network", status: 200 } };
  await expect(topic.read({ from: { timestamp: 5 } }).next()).rejects.toMatchObject(foreign);
  await expect(topic.state()).rejects.toMatchObject(foreign);
  await Promise.all([edge.close(), target.close()]);
});

it.each(["", "one two", "<!doctype html>\n"])(
  "what is no token is told with the option's name, and not sent: %j",
  async (token) => {
    const target = edgeTarget("http://127.0.0.1:1", token, await ownKernel());
    const thrown: unknown = await target.end("t").catch((error: unknown) => error);
    expect(lineOf(thrown)).toMatch(/^--token, or TIDEMARK_TOKEN, is no token: /);
    await target.close();
  },
);

it.each([
  ["QUOTA_EXCEEDED", 507, "QUOTA_EXCEEDED: what the edge says"],
  ["CORRUPT_RANGE", 500, "CORRUPT_RANGE: what the edge says (--from with an offset behind the damage reads on)"],
] as const)("advice on %s of an edge speaks of no folder and no disk of this machine", (code, status, line) => {
  const thrown = TidemarkError.fromWire({ code, message: "what the edge says", details: { status, edge: code } });
  expect(lineOf(thrown)).toBe(line);
});

it("topics are listed page by page; an edge without a list, and what is no edge, are told apart", async () => {
  const pages = new Map([
    ["", { streams: ["a", "b/ü"], next: "b/ü" }],
    ["b/ü", { streams: [], next: "x" }],
    ["x", { streams: ["y"], next: null }],
  ]);
  server = createServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url!, "http://edge");
    const page = pathname === "/v1/stream/__ds/streams" ? pages.get(searchParams.get("after")!) : undefined;
    response.writeHead(page ? 200 : 500).end(JSON.stringify(page));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const target = edgeTarget(url, undefined, await ownKernel());
  expect(await target.topics()).toEqual(["a", "b/ü", "y"]);
  expect(await target.topics(1)).toEqual(["a", "b/ü"]);
  await target.close();
  server.close();
  const said = '{"error":{"code":"NOT_FOUND","message":"no such resource"}}';
  const earlier = await siteOf(404, said, undefined, { "tidemark-error": "NOT_FOUND" });
  await expect(earlier.topics()).rejects.toThrow("is of an earlier version and keeps no list");
  await earlier.close();
  server.close();
  for (const body of ["<html>", "{}", '{"streams":[1],"next":null}', '{"streams":[],"next":5}']) {
    const other = await siteOf(200, body);
    await expect(other.topics(), body).rejects.toThrow("not from an edge: check the address");
    await other.close();
    server.close();
  }
});

it.each<[string, (target: LogTarget, signal: AbortSignal) => Promise<unknown>]>([
  ["place", (target, signal) => target.place("t", signal)],
  ["trim", (target, signal) => target.trim("t", 1, signal)],
  ["take", (target, signal) => target.take!("t", [], signal)],
  ["segments", (target, signal) => target.segments("t", 0, signal)[Symbol.asyncIterator]().next()],
])("%s: an interrupt ends it, also while it tries again", async (_, ask) => {
  const stop = new AbortController();
  const stopped = new Error("stopped");
  let seen = 0;
  const target = await siteOf(
    503,
    '{"error":{"code":"CLOSED","message":"busy"}}',
    () => ++seen === 2 && stop.abort(stopped),
  );
  await expect(ask(target, stop.signal)).rejects.toBe(stopped);
  expect(seen).toBe(2);
  await target.close();
});

/** An edge that says that its topic begins and ends there, and gives these answers from offsets. */
async function edgeOf(start: number, end: number, answers: ReadonlyMap<number, readonly [next: number, Uint8Array]>) {
  server = createServer((request, response) => {
    const headers = { "tidemark-start-offset": formatOffset(start), "stream-next-offset": formatOffset(end) };
    const from = Number.parseInt(new URL(request.url!, "http://edge").searchParams.get("offset") ?? "", 10);
    const [next, bytes] = answers.get(from) ?? [];
    if (request.method === "HEAD") response.writeHead(200, headers).end();
    else if (next === undefined) response.writeHead(200, { "content-type": "text/html" }).end("<html>");
    else response.writeHead(200, { "stream-next-offset": formatOffset(next) }).end(bytes);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  return edgeTarget(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, undefined, await ownKernel());
}
async function segmentsOf(target: ReturnType<typeof edgeTarget>, from: number): Promise<KafkaFiles[]> {
  const all: KafkaFiles[] = [];
  try {
    for await (const files of target.segments("t", from)) all.push(files);
    return all;
  } finally {
    await target.close();
  }
}

it("an export of segments fails where another site answers, or nothing more comes", async () => {
  const first = batchAt(await releaseKernel(), 0);
  const foreign = await edgeOf(0, 6, new Map([[0, [3, first]]]));
  await expect(segmentsOf(foreign, 0)).rejects.toThrow("not from an edge: check the address");
  server.close();
  const stuck = await edgeOf(
    0,
    6,
    new Map([
      [0, [3, first]],
      [3, [3, new Uint8Array(0)]],
    ]),
  );
  await expect(segmentsOf(stuck, 0)).rejects.toThrow(/gives nothing of t from offset 3: try again/);
});

it("an export of segments of a topic that begins inside a batch has the whole batch", async () => {
  const kernel = await releaseKernel();
  const target = await edgeOf(1, 6, new Map([[1, [6, Buffer.concat([batchAt(kernel, 0), batchAt(kernel, 3)])]]]));
  const [files, ...more] = await segmentsOf(target, 1);
  expect([files!.name, readHeader(files!.log).baseOffset, more]).toEqual(["0".repeat(20), 0, []]);
});
