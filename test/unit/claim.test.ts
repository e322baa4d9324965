/** How a claim ends where this device can't note what the edge has granted, and what it keeps of what it looks at. */
import { describe, expect, it } from "vitest";
import { TidemarkError } from "../../src/errors.ts";
import { BATCH_HEADER_BYTES, readHeader, stampBaseOffset } from "../../src/record/format.ts";
import { claim, type ClaimHost } from "../../src/sync/claimer.ts";
import type { EdgeLog } from "../../src/sync/edge-socket.ts";
import { Signal } from "../../src/sync/signal.ts";
import type { Joined } from "../../src/sync/sync-frames.ts";
import type { ClaimLook, TopicStore } from "../../src/sync/topic-store.ts";
import { batchOf } from "./log-fixtures.ts";

const JOINED = { logStartOffset: 0, logEndOffset: 0, since: 0 } as Joined;
const full = new TidemarkError("QUOTA_EXCEEDED", "the device is full", {});

function made(granted: () => Promise<void>, push: EdgeLog["push"]) {
  const store: Partial<TopicStore> = {
    outboxNote: { outbox: "00000000000000aa" } as TopicStore["outboxNote"],
    watermark: 0,
    base: 0,
    firstUnsettled: 0,
    claimStand: () => Promise.resolve({ inDoubt: [], unsettled: 1, found: 0, readTo: 0 }),
    unsettledFrom: () => Promise.resolve({ at: 0, next: 1, lastCrc: 7, batches: [] }),
    granted,
  };
  const host: Partial<ClaimHost> = {
    store: store as TopicStore,
    changed: new Signal(),
    again: [],
    isOver: () => false,
    proveTerm: () => Promise.resolve(),
    claimed: () => undefined,
    taken: () => undefined,
  };
  return claim(host as ClaimHost, { push } as Partial<EdgeLog> as EdgeLog, JOINED);
}

const pushed = { generation: 2, next: 1, appended: [], duplicate: false, lastOffset: 0 };

describe("a claim", () => {
  it("that is granted goes on from there", async () => {
    const end = await made(
      () => Promise.resolve(),
      () => Promise.resolve(pushed),
    );
    expect(end).toEqual({ then: "granted", chain: { expected: 1, previous: 7 } });
  });

  it("that can't be noted here, because the device is full, is no answer of the edge", async () => {
    const end = made(
      () => Promise.reject(full),
      () => Promise.resolve(pushed),
    );
    await expect(end).rejects.toBe(full);
  });

  it("that the edge has no room for comes later", async () => {
    const end = await made(
      () => Promise.resolve(),
      () => Promise.reject(full.with({ edge: "QUOTA_EXCEEDED", retryAfter: 5 })),
    );
    expect(end).toEqual({ then: "retry", code: "QUOTA_EXCEEDED", floorMs: 5000 });
  });

  it("keeps headers of what is below the replica's start, which may be gigabytes, and no records", async () => {
    const looks: ClaimLook[] = [];
    const store: Partial<TopicStore> = {
      outboxNote: { outbox: "00000000000000aa" } as TopicStore["outboxNote"],
      watermark: 3,
      base: 3,
      claimStand: (look) => (
        looks.push(look),
        Promise.resolve({ inDoubt: [[0, 1]], unsettled: 1, found: 0, readTo: 3 })
      ),
    };
    const host: Partial<ClaimHost> = {
      store: store as TopicStore,
      again: [],
      isOver: () => false,
      setBlock: () => undefined,
    };
    const fetch = async (from: number): Promise<Uint8Array> => {
      const batch = batchOf(["x".repeat(1_000)]);
      stampBaseOffset(batch, from);
      return batch;
    };
    const log = { fetch } as Partial<EdgeLog> as EdgeLog;
    expect(await claim(host as ClaimHost, log, JOINED)).toEqual({ then: "blocked" });
    const [{ fetched }] = looks as [ClaimLook];
    expect(fetched.map((batch) => readHeader(batch).baseOffset)).toEqual([0, 1, 2]);
    for (const { buffer } of fetched) expect(buffer.byteLength).toBe(BATCH_HEADER_BYTES);
  });
});
