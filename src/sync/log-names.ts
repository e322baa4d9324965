/** The two logs of a synced topic. `topics()` lists neither by its own name: a topic is there once. */

/** Partition 0 of a topic. Of a synced topic it is the replica, and the outbox stands beside it. */
export const replicaName = (topic: string): string => `${topic}-0`;
export const outboxName = (topic: string): string => `${replicaName(topic)}.out`;
