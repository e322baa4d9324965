/** Chromium's own switches for a full disk and for cleared site data, through its DevTools protocol. */
import { cdp } from "vitest/browser";

interface Session {
  send(method: string, params: Record<string, unknown>): Promise<unknown>;
}
const session = () => cdp() as Session;
const { origin } = location;

/** Room for so many bytes more than are used; without a number the real quota again. */
export async function leaveRoom(bytes?: number): Promise<void> {
  const { usage } = (await session().send("Storage.getUsageAndQuota", { origin })) as { usage: number };
  await session().send("Storage.overrideQuotaForOrigin", {
    origin,
    ...(bytes !== undefined && { quotaSize: usage + bytes }),
  });
}

/**
 * The same for IndexedDB, which asks for the quota once, and then for half a minute goes by what it was told. It
 * forgets that with the origin's data, which must be there no longer: all databases of an origin count as one.
 */
export async function leaveRoomAnew(bytes: number): Promise<void> {
  await clearSiteData("indexeddb");
  await leaveRoom(bytes);
}

export async function clearSiteData(storageTypes = "all"): Promise<void> {
  await session().send("Storage.clearDataForOrigin", { origin, storageTypes });
}
