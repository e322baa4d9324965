/** A log that outgrows its object, with 32 MB. `test/edge/outgrow.ts` runs the same at any size. */
import { expect, test } from "vitest";
import { outgrow } from "../outgrow.ts";

test("32 MB go through one log whose database stays small; all reads back equal, after a restart too", async () => {
  const figures = await outgrow({ megabytes: 32, seed: 5 });
  console.log(JSON.stringify(figures));
  expect(figures).toMatchObject({ equal: true, bytes: 32_000_000, looks: 8 });
  expect(figures.objects).toBeGreaterThanOrEqual(5);
  // If segments did not move to object storage, the database would have all 32 MB.
  expect(figures.databaseBytesMax).toBeLessThan(24e6);
});
