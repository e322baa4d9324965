/** An interrupt in an import of segments: what it ends, and what it does not hide. */
import { mkdirSync } from "node:fs";
import { afterAll, afterEach, expect, it, vi } from "vitest";
import { importCommand, takeSegments } from "../../cli/commands/import.ts";
import type { LogTarget } from "../../cli/target.ts";
import { ownKernel } from "../../cli/targets.ts";
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
  expect(String(noted.mock.lastCall?.[0])).toBe("1 records imported, offsets 0 to 0\n");
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
  expect(String(noted.mock.lastCall?.[0])).toMatch(/^stopped, .* the same call goes on there\n$/);
});

it("an error that is not the interrupt's own is told", async () => {
  const stop = new AbortController();
  const target = await taking(async () => {
    stop.abort();
    throw new Error("the disk is gone");
  });
  await expect(takeSegments(target, "t", [program.path("0.log")], stop.signal)).rejects.toThrow("the disk is gone");
});
