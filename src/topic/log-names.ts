/**
 * Names of the logs that hold a topic, as the store has them. A topic has one log today: its partition 0, as Kafka
 * names it. The longest name of a topic (names.ts) and a partition's number fit the store's 255 bytes.
 *
 *   topic "orders"  ◀──▶  log "orders-0"        further partitions will be "orders-1", "orders-2" …
 */
export const logName = (topic: string): string => `${topic}-0`;
export const topicName = (log: string): string => log.replace(/-\d+$/, "");
