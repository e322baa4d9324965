/** What the benchmarks of sync (test/bench/sync) ask of a page: many records, and times by the machine's clock. */
import type { Tide, Topic } from "../../../src/browser/index.ts";
import { TOPIC } from "../events.ts";

export interface Open {
  readonly tide: Tide;
  readonly topic: Topic<Uint8Array>;
}

const now = (): number => performance.timeOrigin + performance.now();
const IN_FLIGHT = 5;

export const measures = (opened: () => Open) => {
  const seen: [id: number, at: number][] = [];
  const numberOf = (value: Uint8Array): number => new DataView(value.buffer, value.byteOffset).getUint32(0);
  const recordOf = (id: number, bytes: number): { readonly value: Uint8Array } => {
    const value = new Uint8Array(bytes).fill(97);
    new DataView(value.buffer).setUint32(0, id);
    return { value };
  };

  return {
    /** Milliseconds that this many batches took until all were acknowledged. */
    async pour(batches: number, records: number, bytes: number): Promise<number> {
      const batch = Array.from({ length: records }, (_, i) => recordOf(i, bytes));
      const { topic } = opened();
      const started = performance.now();
      let left = batches;
      await Promise.all(
        Array.from({ length: IN_FLIGHT }, async () => {
          while (left-- > 0) await topic.appendBatch(batch);
        }),
      );
      return performance.now() - started;
    },
    /** Milliseconds from the end of a pause until all is at the edge, and until the outbox is empty as well. */
    async drain(): Promise<{ readonly drainedMs: number }> {
      const sync = opened().tide.syncing!;
      const started = performance.now();
      await sync.resume();
      await sync.drained();
      return { drainedMs: performance.now() - started };
    },
    /** Resolves when the replica has reached `end`; milliseconds since the call. */
    async reach(end: number): Promise<number> {
      const sync = opened().tide.syncing!;
      const started = performance.now();
      const isThere = (): boolean => (sync.status.topics[TOPIC]?.watermark ?? 0) >= end;
      if (!isThere())
        await new Promise<void>((resolve) => {
          const leave = sync.subscribe(() => {
            if (!isThere()) return;
            leave();
            resolve();
          });
        });
      return performance.now() - started;
    },
    /** Notes when each record that comes from now on is seen. */
    watch(): void {
      void (async () => {
        for await (const { value } of opened().topic.read({ from: "latest", follow: true }))
          seen.push([numberOf(value!), now()]);
      })();
    },
    sightings: () => seen,
    visibility: () => document.visibilityState,
    /** Appends one record and says when it began. */
    async one(id: number, bytes: number): Promise<number> {
      const at = now();
      await opened().topic.append(recordOf(id, bytes));
      return at;
    },
    /** Resolves when the link is live again; milliseconds since `at`. */
    async live(at: number): Promise<number> {
      const sync = opened().tide.syncing!;
      if (sync.status.state !== "live")
        await new Promise<void>((resolve) => {
          const leave = sync.subscribe(({ state }) => {
            if (state !== "live") return;
            leave();
            resolve();
          });
        });
      return now() - at;
    },
    /** Resolves when the link is not live. */
    async down(): Promise<void> {
      const sync = opened().tide.syncing!;
      if (sync.status.state !== "live") return;
      await new Promise<void>((resolve) => {
        const leave = sync.subscribe(({ state }) => {
          if (state === "live") return;
          leave();
          resolve();
        });
      });
    },
  };
};
