/** Names of the two logs of a synced topic. `topics()` lists the topic once, and neither log by its own name. */

/** The log of partition 0 of a topic. Of a synced topic this log is the replica, and the outbox is a second log. */
export const replicaName = (topic: string): string => `${topic}-0`;
export const outboxName = (topic: string): string => `${replicaName(topic)}.out`;
/** The local topic that a topic's copy becomes when its sync ends, or begins anew. */
export const keptTopic = (topic: string): string => `${topic}.kept`;
