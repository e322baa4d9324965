/**
 * Where a synced topic's records lie: two logs of the volume (log-names.ts), and two ranges of offsets.
 *
 *   log "orders-0"        the edge's records, as far as they are here      offsets of the edge, below 2^52
 *   log "orders-0.out"    own batches on their way to the edge             2^52 + position: provisional
 *
 * No topic's log is taken for an outbox, even if the topic is called "x.out": its log is "x.out-0".
 */

/** The topic whose outbox this log is; undefined for any other. */
export const topicOfOutbox = (log: string): string | undefined => /^(.+)-0\.out$/.exec(log)?.[1];
