/** Random histories over the public API against a model; `npm run sim -- --api` runs more. */
import { afterAll, expect, test, vi } from "vitest";
import { UpkeepTimer } from "../../src/browser/worker/upkeep.ts";
import { stepsOf } from "../simulation/api/history.ts";
import { Folders } from "../simulation/api/node-host.ts";

const folders = new Folders();
// On a busy machine upkeep that runs by itself would change a topic between two looks: here only steps call clean().
const upkeep = vi.spyOn(UpkeepTimer.prototype, "arm").mockImplementation(() => setTimeout(() => undefined, 0));
afterAll(() => {
  upkeep.mockRestore();
  folders.remove();
});

test("12 histories of topics of every kind: all that can be observed is as the model says", async () => {
  const counts: Record<string, number> = {};
  for (let seed = 1; seed <= 12; seed++)
    expect(await folders.failureOf(seed, stepsOf(seed, 25), counts), `seed ${seed}`).toBe(undefined);
  for (const step of ["crash", "exported", "reopen", "removed by compaction", "view saved"])
    expect(counts[step], step).toBeGreaterThan(0);
});
