/**
 * Power cuts below tidemark/node: the file volume over a disk that forgets what was not synced, files and folders
 * (test/power/node). Seeded histories; TIDEMARK_POWER_SEEDS says how many.
 */
import { expect, it, vi } from "vitest";
import type { PowerDisk } from "../power/node/disk.ts";
import { releaseKernel } from "../support/kernels.ts";

const { world } = vi.hoisted(() => ({ world: { disk: undefined as PowerDisk | undefined } }));

/** Calls for paths below /power, and for descriptors of the disk, go to the disk; all others to the system. */
vi.mock("node:fs", async (original) => {
  const real = await original<Record<string, (...given: unknown[]) => unknown>>();
  const names = `closeSync fdatasyncSync fsync mkdirSync openSync readdirSync readSync renameSync rmSync
    statSync writeSync`.split(/\s+/);
  const isOurs = (first: unknown): boolean =>
    typeof first === "number" ? first >= 1_000_000 : String(first).startsWith("/power");
  const call = (name: string) =>
    function (...given: unknown[]): unknown {
      if (!isOurs(given[0])) return real[name]!(...given);
      return (Reflect.get(world.disk!, name) as (...given: unknown[]) => unknown).apply(world.disk, given);
    };
  const ours = Object.fromEntries(names.map((name) => [name, call(name)]));
  const { promisify } = await import("node:util");
  const write = Object.assign((...given: unknown[]) => real["write"]!(...given), {
    [promisify.custom]: (...given: unknown[]): unknown => {
      if (!isOurs(given[0])) return (promisify(real["write"]!) as (...given: unknown[]) => unknown)(...given);
      return (Reflect.get(world.disk!.write, promisify.custom) as (...given: unknown[]) => unknown)(...given);
    },
  });
  return { ...real, ...ours, fdatasync: call("fsync"), write };
});

/** The lock is the kernel's, and ends with the process: it is no matter of the disk. */
vi.mock("../../src/node/folder-lock.ts", () => ({
  lockFolder: async () => ({ means: "flock", isHeld: () => true, release: () => undefined }),
  isSameFile: () => true,
}));

const { runHistory } = await import("../power/node/history.ts");
const { noFaults } = await import("../power/node/disk.ts");
const kernel = await releaseKernel();
const SEEDS = Number(process.env["TIDEMARK_POWER_SEEDS"] ?? 40);
const use = (disk: PowerDisk): void => void (world.disk = disk);

it("no record acked at flushed is lost, and none is invented, at cuts at any call", { timeout: 300_000 }, async () => {
  const faults = noFaults();
  let [acked, read] = [0, 0];
  for (let seed = 1; seed <= SEEDS; seed++) {
    const result = await runHistory(kernel, seed, use);
    expect(result.wrong).toBeUndefined();
    acked += result.acked;
    read += result.read;
    for (const [name, count] of Object.entries(result.faults)) faults[name as keyof typeof faults] += count;
  }
  console.log(`${SEEDS} histories: ${acked} records acked, ${read} read; ${JSON.stringify(faults)}`);
  expect(acked).toBeGreaterThan(SEEDS * 10);
  // A fault that never came was not survived.
  for (const [name, count] of Object.entries(faults)) expect([name, count > 0]).toEqual([name, true]);
});

it.each(["file", "folder", "folder of slots"] as const)(
  "planted bug: without the sync of each %s the histories find a loss",
  async (what) => {
    for (let seed = 1; seed <= 20; seed++) {
      const { wrong } = await runHistory(kernel, seed, use, what);
      if (wrong !== undefined) return console.log(`without the sync of each ${what}: ${wrong}`);
    }
    throw new Error("20 histories found nothing");
  },
);
