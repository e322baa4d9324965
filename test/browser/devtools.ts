/** Chromium's own switches for a full disk and for cleared site data, through its DevTools protocol. */
import { cdp } from "vitest/browser";

interface Session {
  send(method: string, params: Record<string, unknown>): Promise<unknown>;
}
const session = () => cdp() as unknown as Session;
const { origin } = location;

/** Room for so many bytes more than are used; without a number the real quota again. */
export async function leaveRoom(bytes?: number): Promise<void> {
  const { usage } = (await session().send("Storage.getUsageAndQuota", { origin })) as { usage: number };
  await session().send("Storage.overrideQuotaForOrigin", { origin, ...(bytes !== undefined && { quotaSize: usage + bytes }) });
}

export async function clearSiteData(): Promise<void> {
  await session().send("Storage.clearDataForOrigin", { origin, storageTypes: "all" });
}
