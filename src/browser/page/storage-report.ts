/**
 * What the browser says about the storage of a tide: whether it is persistent, how much is used, how much is allowed.
 */
import { sleep } from "../platform/timing.ts";

/** persist() may wait for a prompt that nobody answers, so it is waited for only this long. */
const PERSIST_WAIT_MS = 3_000;

export async function storageReport(persist = false) {
  // WebKitGTK does not have this API, and older engines lack some of its methods.
  const { storage } = navigator as Partial<Navigator>;
  if (persist) await Promise.race([storage?.persist().catch(() => undefined), sleep(PERSIST_WAIT_MS)]);
  const persisted = await storage?.persisted().catch(() => undefined);
  const { usage, quota } = (await storage?.estimate?.().catch(() => undefined)) ?? {};
  return { persisted, usageBytes: usage, quotaBytes: quota };
}
