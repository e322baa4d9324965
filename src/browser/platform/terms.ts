/**
 * How long a proof of a term counts, and how long the successor waits when the leader changes.
 *
 *   leader's worker     checks its lock ── LEASE_MS ──▶ checks again before it writes anything more
 *   successor           takes the lock away ── SUCCESSOR_WAIT_MS ──▶ reads the files
 *
 * The successor waits longer than a check counts: the two have clocks of their own, and a write that began at the very
 * end of a lease takes a moment. So everything that the old leader wrote within its term is in the files by then.
 */

/**
 * After a check of its lock the leader's worker may write for this long. So the lock is checked at most twice a second,
 * and only while something is written.
 */
export const LEASE_MS = 500;
/** The successor of a leader that was deposed reads no file for this long. */
export const SUCCESSOR_WAIT_MS = 600;
/**
 * A new follower waits this long before it starts a standby worker: right after a change of the leader all tabs re-send
 * batches without an ack.
 */
export const SETTLED_MS = 300;
/**
 * When all tabs step back for a visible one, those without a standby worker queue again this much later, because a
 * message does not reach all tabs at the same time.
 */
export const BEHIND_MS = 50;
