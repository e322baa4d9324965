/** A full disk, and site data cleared under an open tide: Chromium's own switches for both, through its DevTools protocol. */
import { afterEach, describe, expect, it } from "vitest";
import { cdp } from "vitest/browser";
import { open, TidemarkError } from "../../src/browser/index.ts";

interface Session {
  send(method: string, params: Record<string, unknown>): Promise<unknown>;
}
const session = () => cdp() as unknown as Session;
const { origin } = location;
let names = 0;
const fresh = () => `quota-${Date.now()}-${names++}`;
const MIB = 1024 * 1024;

const setQuota = (quotaSize?: number) => session().send("Storage.overrideQuotaForOrigin", { origin, ...(quotaSize !== undefined && { quotaSize }) });
const usage = async () => ((await session().send("Storage.getUsageAndQuota", { origin })) as { usage: number }).usage;

afterEach(() => setQuota());

describe("a full disk", () => {
  it("is QUOTA_EXCEEDED, keeps what was acked readable, and takes more once room was made", async () => {
    const name = fresh();
    const tide = await open(name, { engine: "opfs", segmentBytes: MIB });
    const topic = tide.topic<Uint8Array>("t", { serializer: "bytes" });
    const value = crypto.getRandomValues(new Uint8Array(50_000));
    await topic.append({ value });
    await setQuota((await usage()) + 12 * MIB);
    let acked = 1;
    let refused: TidemarkError | undefined;
    while (!refused && acked < 2000) {
      const attempts = await Promise.allSettled(Array.from({ length: 10 }, () => topic.append({ value })));
      acked += attempts.filter(({ status }) => status === "fulfilled").length;
      refused = attempts.find((attempt) => attempt.status === "rejected")?.reason as TidemarkError | undefined;
    }
    expect(refused, `${acked} acked`).toBeInstanceOf(TidemarkError);
    expect([refused!.code, refused!.kind]).toEqual(["QUOTA_EXCEEDED", "retry"]);
    expect(acked).toBeGreaterThan(20);
    let read = 0;
    for await (const batch of topic.readBatches()) for (const record of batch) read += record.valueBytes![7] === value[7] ? 1 : 0;
    expect(read).toBeGreaterThanOrEqual(acked);
    const { segments } = await topic.state();
    await topic.trim(segments.at(-1)!.baseOffset);
    expect((await topic.append({ value })).offset).toBeGreaterThanOrEqual(acked);
    await tide.close();
    await setQuota();
    const again = await open(name);
    expect(again.recovery[0]!.quarantined).toEqual([]);
    await again.close();
  });
});

describe("site data cleared under an open tide", () => {
  it("stops the acks with a typed event: writes to orphaned files would go on succeeding", async () => {
    const tide = await open(fresh(), { engine: "opfs", segmentBytes: MIB });
    const topic = tide.topic<number>("t");
    await topic.append({ value: 1 });
    const closed = new Promise<string>((resolve) => tide.on((event) => event.type === "closed" && resolve(event.reason)));
    await session().send("Storage.clearDataForOrigin", { origin, storageTypes: "all" });
    // Acks stop within the time of a check, by the first append behind it.
    let code = "";
    const ticking = setInterval(() => void topic.append({ value: 2 }).catch((error: TidemarkError) => (code ||= error.code)), 50);
    expect(await closed).toMatch(/cleared/);
    clearInterval(ticking);
    await expect(topic.append({ value: 3 })).rejects.toMatchObject({ kind: "reopen" });
    expect(["CLOSED", "OUTCOME_UNKNOWN", ""]).toContain(code);
    await tide.close().catch(() => undefined);
  });
});
