/**
 * What the browser says of the storage that a tide lives in: whether it lasts, how much of it is used, how much there
 * may be.
 */
import { sleep } from "../platform/timing.ts";

/** persist() may wait for a prompt that nobody answers. */
const PERSIST_WAIT_MS = 3_000;

export async function storageReport(persist = false) {
  // WebKitGTK has none of it, older engines lack some of its methods.
  const { storage } = navigator as Partial<Navigator>;
  if (persist) await Promise.race([storage?.persist().catch(() => undefined), sleep(PERSIST_WAIT_MS)]);
  const persisted = await storage?.persisted().catch(() => undefined);
  const { usage, quota } = (await storage?.estimate?.().catch(() => undefined)) ?? {};
  return { persisted, usageBytes: usage, quotaBytes: quota };
}
