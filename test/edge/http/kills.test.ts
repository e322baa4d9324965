/** A short run of kills.ts, and planted bugs that it must find. */
import { expect, test } from "vitest";
import { printFinding } from "../../checker/checker.ts";
import { runKills } from "../kills.ts";

test("kill -9 under 16 writers: nothing acknowledged is lost, nothing is there twice, order holds", async () => {
  const { report, ...figures } = await runKills({ rounds: 20, seed: 20 });
  console.log(JSON.stringify(figures));
  for (const finding of report.findings) console.log(printFinding(finding));
  expect(figures).toMatchObject({ lost: 0, duplicated: 0, reordered: 0 });
  expect(figures.acked).toBeGreaterThan(100);
  // Otherwise no kill came between a write to the disk and its answer, and nothing was tested.
  expect(figures.counts["kills with appends under way"]).toBeGreaterThan(10);
  expect(figures.counts["batches sent again over WebSocket"]).toBeGreaterThan(10);
  expect(figures.counts["follows taken up again"]).toBeGreaterThan(10);
  // Segments moved to object storage during the run.
  expect(figures.counts["segments in object storage"]).toBeGreaterThan(10);
  expect(figures.counts["objects that no row knows"]).toBe(0);
  for (const step of ["put arrived", "put stored", "put answered"])
    expect([step, figures.counts[`kills: ${step}`] ?? 0]).not.toEqual([step, 0]);
});

test("planted bug: without sequence numbers the same kills leave messages twice", async () => {
  const { duplicated } = await runKills({ rounds: 30, seed: 21, forgets: true });
  expect(duplicated).toBeGreaterThan(0);
});

test("planted bug: rows that are deleted before their object is stored are lost by a kill", async () => {
  const plant = {
    name: "rows go before the put",
    file: "worker/log-object/archiver.ts",
    find: "    const stored = await bucket.put(",
    replace:
      "    const gone = log.moved(wanted.row, entry);\n    if (gone) return void (await bucket.put(key, bytes, { " +
      'onlyIf: { etagDoesNotMatch: "*" } })) ?? true;\n    const stored = await bucket.put(',
  };
  // A lost range reads as CORRUPT_RANGE, which makes the reading fail.
  const found = await runKills({ rounds: 20, seed: 22, plant }).then(
    ({ lost }) => lost,
    (thrown: unknown) => String(thrown),
  );
  expect(found).toMatch(/CORRUPT_RANGE/);
});
