/** Where a device's copy begins, by `from`: what the edge is asked for. */
import { expect, it } from "vitest";
import { checkSync } from "../../src/browser/sync/sync-checks.ts";
import type { EdgeLog } from "../../src/sync/edge-socket.ts";
import { type ReplicaStart, replicaStart } from "../../src/sync/replica-start.ts";

it.each<[ReplicaStart, unknown]>([
  [{ last: 3 }, 7],
  [{ last: 100 }, 2],
  [{ timestamp: 1_767_225_600_000 }, { timestamp: 1_767_225_600_000 }],
  // A frame has whole milliseconds, and a record of the one before is not wanted.
  [{ timestamp: 1_767_225_600_000.25 }, { timestamp: 1_767_225_600_001 }],
  ["earliest", 2],
])("%o is taken, and asks for %o", async (from, position) => {
  expect(checkSync({ url: "http://edge", topics: { a: { from } } }).topics["a"]).toEqual({ from });
  const asked: unknown[] = [];
  const fetch = (at: unknown): Promise<Uint8Array<ArrayBuffer>> => (asked.push(at), Promise.resolve(new Uint8Array(0)));
  const log = { fetch } as Partial<EdgeLog> as EdgeLog;
  expect(await replicaStart(log, { logStartOffset: 2, logEndOffset: 10 }, from)).toBe(10);
  expect(asked).toEqual([position]);
});
