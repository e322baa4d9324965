/** An interrupt in an import of segments: what it ends, and what it does not hide. */
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdirSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { afterAll, afterEach, expect, it, vi } from "vitest";
import { importCommand, takeSegments } from "../../cli/commands/import.ts";
import type { LogTarget } from "../../cli/target.ts";
import { ownKernel } from "../../cli/targets.ts";
import { formatOffset } from "../../src/sync/http-words.ts";
import { Program } from "./program.ts";

const program = await new Program().build();
afterAll(() => program.remove());
afterEach(() => vi.restoreAllMocks());

/** A target of an empty topic whose import does this. */
const taking = async (take: NonNullable<LogTarget["take"]>): Promise<LogTarget> =>
  ({ kernel: await ownKernel(), place: async () => undefined, take }) as Partial<LogTarget> as LogTarget;

it("a folder's ends the process, as nothing could stop it well", async () => {
  mkdirSync(program.path("segments"));
  program.good(["append", "from", "t", "--as", "text"], { input: "one\n" });
  program.good(["export", "from", "t", "segments", "--to", "kafka"]);
  const listeners = (): number => ["SIGINT", "SIGTERM"].reduce((sum, name) => sum + process.listenerCount(name), 0);
  const before = listeners();
  const noted = vi.spyOn(process.stderr, "write").mockReturnValue(true);
  const args = { _: [program.path("to"), "t", program.path("segments")], target: program.path("to"), topic: "t" };
  await importCommand.run({ args: { ...args, as: "records" } as never });
  expect(String(noted.mock.lastCall?.[0])).toBe("1 record imported, offset 0\n");
  expect(listeners()).toBe(before);
});

it("an edge's says that the same call goes on there", async () => {
  const stop = new AbortController();
  const target = await taking(async (_topic, _files, signal) => {
    stop.abort();
    signal!.throwIfAborted();
    throw new Error("unreached");
  });
  const noted = vi.spyOn(process.stderr, "write").mockReturnValue(true);
  await takeSegments(target, "t", [program.path("0.log")], stop.signal);
  expect(String(noted.mock.lastCall?.[0])).toMatch(/^stopped .* the same call goes on there\n$/);
});

it("the program ends at the first interrupt while an edge is asked again and again", async () => {
  let child: ChildProcess | undefined;
  let seen = 0;
  const server = createServer((request, response) => {
    const headers = { "tidemark-start-offset": formatOffset(0), "stream-next-offset": formatOffset(6) };
    if (request.method === "HEAD") return response.writeHead(200, headers).end();
    if (++seen === 2) child!.kill("SIGINT");
    response.writeHead(503).end('{"error":{"code":"CLOSED","message":"busy"}}');
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  child = program.start(["export", url, "t", "out", "--to", "kafka"]);
  const [told, [code]] = await Promise.all([text(child.stderr!), once(child, "close")]);
  expect([code, told]).toEqual([130, "stopped after 0 segments; the same call goes on there\n"]);
  server.close();
});

it("an error that is not the interrupt's own is told", async () => {
  const stop = new AbortController();
  const target = await taking(async () => {
    stop.abort();
    throw new Error("the disk is gone");
  });
  await expect(takeSegments(target, "t", [program.path("0.log")], stop.signal)).rejects.toThrow("the disk is gone");
});
