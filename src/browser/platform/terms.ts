/**
 * How long a term's proof counts, and who waits how long for whom when the leader changes.
 *
 *   leader's worker     looks at its lock ── LEASE_MS ──▶ looks again before it writes anything more
 *   successor           takes the lock away ── SUCCESSOR_WAIT_MS ──▶ reads the files
 *
 * The successor waits longer than a look counts: the two run on clocks of their own, and a write that began right at
 * the end of a lease is still under way a moment later. So whatever the old leader wrote within its term is in the
 * files by then.
 */

/**
 * A look at its lock lets the leader's worker write for this long. So the lock is asked for twice a second at most,
 * while something is written.
 */
export const LEASE_MS = 500;
/** After a leader was deposed nobody reads its files for this long. */
export const SUCCESSOR_WAIT_MS = 600;
/**
 * A new follower waits this long before it starts a worker: right after a change of the leader all tabs send again
 * what had no ack.
 */
export const SETTLED_MS = 300;
/**
 * Where all tabs step back, those without a worker queue again this much later: a word does not reach all tabs at
 * once.
 */
export const BEHIND_MS = 50;
