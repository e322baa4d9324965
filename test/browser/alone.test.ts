/** Whose term it is, by real Web Locks: who watches a worker, and does not run, is not taken for one that leads. */
import { expect, it } from "vitest";
import { proveTerm, waitAlone } from "../../src/browser/volume/sole-writer.ts";
import { takeLock } from "../../src/browser/platform/locks.ts";

it("nobody waits for a watcher with the shared lock of a worker that is gone, but for a living worker", async () => {
  const own = await takeLock("tidemark-worker:alone:own", {});
  const watcher = await takeLock("tidemark-worker:alone:gone", { mode: "shared" });
  const started = performance.now();
  await waitAlone("alone", "tidemark-worker:alone:own");
  expect(performance.now() - started).toBeLessThan(500);
  const other = await takeLock("tidemark-worker:alone:lives", {});
  await expect(waitAlone("alone", "tidemark-worker:alone:own")).rejects.toMatchObject({ code: "ALREADY_OPEN" });
  for (const release of [own, watcher, other]) release!();
});

it("a term is not proved by a watcher's lock", async () => {
  const watcher = await takeLock("tidemark-worker:alone:deposed", { mode: "shared" });
  await expect(proveTerm("tidemark-worker:alone:deposed")).rejects.toMatchObject({
    code: "CLOSED",
    details: { reason: "deposed" },
  });
  watcher!();
});
