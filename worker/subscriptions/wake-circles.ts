/**
 * Wakes that would cause themselves. A wake is a record of the wake stream, so a subscription to that stream is woken
 * by it and writes to a wake stream of its own:
 *
 *   subscription A ──wakes──▶ stream a ◀──watches── subscription B ──wakes──▶ stream b ◀──watches── subscription A
 *
 * Workers that acknowledge these wakes keep them going without end. So a call that would close such a circle, of any
 * length, is refused. Patterns also count for streams that do not exist yet, so that no circle can close later.
 */
import { EdgeError } from "../errors.ts";
import { quoted } from "../wire/fields.ts";
import { matches } from "../wire/patterns.ts";
import type { SubscriptionConfig } from "./config.ts";
import type { SubscriptionStore } from "./tables.ts";

/** What a subscription would watch after the call. */
type Watching = Pick<SubscriptionConfig, "wakeStream" | "pattern" | "streams">;

/** Throws CONFLICT if wakes would come back to the subscription by way of others. */
export function checkWakeCircle(store: SubscriptionStore, { wakeStream, pattern, streams }: Watching): void {
  if (wakeStream === null) return;
  const patterns = store.patterns();
  const causedBy = (path: string): (string | null)[] => [
    ...store.wakeStreamsOf(path),
    ...patterns.filter((each) => matches(each.pattern, path)).map((each) => each.wakeStream),
  ];
  const isWatched = (path: string): boolean => streams.includes(path) || (pattern !== null && matches(pattern, path));
  /** Each wake stream that is reached, and the one before it on the way. */
  const from = new Map<string, string | undefined>([[wakeStream, undefined]]);
  for (const path of from.keys()) {
    if (isWatched(path)) throw circleError(from, path);
    // Iterating a Map includes keys that are added meanwhile.
    for (const next of causedBy(path)) if (next !== null && !from.has(next)) from.set(next, path);
  }
}

function circleError(from: ReadonlyMap<string, string | undefined>, last: string): EdgeError {
  const way: string[] = [];
  for (let path: string | undefined = last; path !== undefined; path = from.get(path)) way.unshift(path);
  const message =
    `wake_stream is ${quoted(way[0])}; over other subscriptions its wakes lead to ${quoted(last)}, which this one ` +
    "watches: each wake would cause the next, without end";
  return new EdgeError("CONFLICT", message, { wakeStream: way[0], watched: last, steps: way.length - 1 });
}
