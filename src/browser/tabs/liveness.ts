/**
 * Finds out whether a worker still answers. A tab looks only while it has calls under way: without calls it runs no
 * timer.
 *
 *   a call ── 500 ms without its answer ──▶ ping ── no answer in time ──▶ it hangs
 *   a read that waits for new records may wait for ever: it is asked about every ten seconds
 */
import type { PortClient } from "../port/port-client.ts";
import type { Request } from "../port/protocol.ts";
import { SUCCESSOR_WAIT_MS } from "../platform/terms.ts";
import { laterTurn } from "../platform/timing.ts";

/** While calls are under way, the worker is pinged this often. A fail-over takes less time. */
export const SOON_MS = 500;
/** The same for reads that wait for new records. */
const LATE_MS = 10_000;
type Sleeper = (ms: number) => Promise<void>;
/**
 * If a timer comes this much too late, the tab itself was asleep. In a hidden tab each timer may be up to a second
 * late.
 */
const AWAY_MS = 1_500;

/**
 * Waits for `ms`. False if it took far longer: then this tab was asleep, and knows nothing of what others did
 * meanwhile.
 */
export async function pause(ms: number, sleep: Sleeper): Promise<boolean> {
  const until = performance.now() + ms + AWAY_MS;
  await sleep(ms);
  // Messages that have arrived meanwhile are handled first.
  await laterTurn();
  return performance.now() < until;
}

/**
 * Calls `missed` when a ping has no answer in time, again and again as long as there are calls. Returns a function that
 * tells how many appends are under way.
 */
export function watchCalls(
  connection: PortClient,
  timeoutMs: number,
  sleep: Sleeper,
  missed: () => void,
): () => number {
  const soon = { ms: SOON_MS, calls: 0, watched: false };
  const late = { ms: LATE_MS, calls: 0, watched: false };
  let appends = 0;
  const isAnswered = (): Promise<boolean> => {
    const answered = (): boolean => true;
    return Promise.race([
      connection.ping().then(answered, answered),
      pause(timeoutMs - SOON_MS - SUCCESSOR_WAIT_MS, sleep).then((onTime) => !onTime),
    ]);
  };
  const watch = async (kind: typeof soon): Promise<void> => {
    kind.watched = true;
    while (kind.calls > 0 && !connection.ended) {
      await pause(kind.ms, sleep);
      if (kind.calls > 0 && !connection.ended && !(await isAnswered()) && !connection.ended) missed();
    }
    kind.watched = false;
  };
  const kindOf = (request: Request): typeof soon => ("wait" in request && request.wait ? late : soon);
  const isAppend = (request: Request): number => Number(request.op === "append");
  connection.observer = {
    began(request) {
      const kind = kindOf(request);
      kind.calls++;
      appends += isAppend(request);
      if (!kind.watched) void watch(kind);
    },
    ended(request) {
      kindOf(request).calls--;
      appends -= isAppend(request);
    },
  };
  return () => appends;
}
