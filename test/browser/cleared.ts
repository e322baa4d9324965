/** Site data cleared under an open tide; writes to orphaned files would go on succeeding. */
import { expect } from "vitest";
import { open, type TidemarkError } from "../../src/browser/index.ts";
import type { Engine } from "../../src/store/volume.ts";
import { clearSiteData } from "./devtools.ts";

/**
 * Acks stop with a typed event. A document does this once: its Web Locks are gone with the data, until it is loaded
 * anew.
 */
export async function clearedUnderOpenTide(engine: Engine): Promise<void> {
  const tide = await open(`cleared-${Date.now()}`, { engine, segmentBytes: 1024 * 1024 });
  const topic = tide.topic<number>("t");
  await topic.append({ value: 1 });
  const closed = new Promise<string>((resolve) => tide.on((event) => event.type === "closed" && resolve(event.reason)));
  await clearSiteData();
  // Acks stop within the time of a check, by the first append behind it.
  let code = "";
  let acked = 0;
  const ticking = setInterval(
    () =>
      void topic.append({ value: 2 }).then(
        () => acked++,
        (error: TidemarkError) => (code ||= error.code),
      ),
    50,
  );
  expect(await closed).toMatch(/cleared|gone/);
  clearInterval(ticking);
  const before = acked;
  await expect(topic.append({ value: 3 })).rejects.toMatchObject({ kind: "reopen" });
  expect(["CLOSED", "OUTCOME_UNKNOWN", "STORAGE_FAILED", ""]).toContain(code);
  expect(acked).toBe(before);
  await tide.close().catch(() => undefined);
}
