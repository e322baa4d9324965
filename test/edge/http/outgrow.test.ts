/** A share of the log that outgrows its object; `test/edge/outgrow.ts` runs it at any size. */
import { expect, test } from "vitest";
import { outgrow } from "../outgrow.ts";

test("32 MB go through one log whose database stays small; all reads back equal, after a restart too", async () => {
  const figures = await outgrow({ megabytes: 32, seed: 5 });
  console.log(JSON.stringify(figures));
  expect(figures).toMatchObject({ equal: true, bytes: 32_000_000, looks: 8 });
  expect(figures.objects).toBeGreaterThanOrEqual(5);
  // Whatever does not move adds up to all of it.
  expect(figures.databaseBytesMax).toBeLessThan(24e6);
});
