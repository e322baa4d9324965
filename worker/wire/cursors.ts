/**
 * Cursors of live answers. Readers at one offset share a URL for 20 s, so that a cache can answer all of them with one
 * answer. A client that sends back the current cursor, or a later one, gets a strictly greater one. Otherwise a cached
 * answer could be repeated for ever.
 */
const EPOCH_MS = Date.UTC(2024, 9, 9);
const INTERVAL_MS = 20_000;
const JITTER_S = 3600;
/** A cursor of ours never has this many digits. A longer one is ignored. */
const DIGITS_MAX = 64;

const presentCursor = (nowMs: number): bigint => BigInt(Math.floor((nowMs - EPOCH_MS) / INTERVAL_MS));

/** The cursor of an answer to a request that sent `echoed` back. */
export function nextCursor(nowMs: number, echoed: string | undefined, random: () => number): string {
  const present = presentCursor(nowMs);
  const given = echoed !== undefined && echoed.length <= DIGITS_MAX && /^\d+$/.test(echoed) ? BigInt(echoed) : -1n;
  if (given < present) return String(present);
  const jitterS = 1 + Math.floor(random() * JITTER_S);
  return String(given + BigInt(Math.max(1, Math.ceil((jitterS * 1000) / INTERVAL_MS))));
}

/** The cursor of a later event in the same answer. It never precedes `last`. */
export function laterCursor(nowMs: number, last: string): string {
  const present = presentCursor(nowMs);
  return last === String(present) || BigInt(last) > present ? last : String(present);
}
