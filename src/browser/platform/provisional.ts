/** What an application asks of an offset. */
import { PROVISIONAL_FROM } from "../../log/provisional-layout.ts";

/**
 * True for the offset of a record that was written here and has no place at the edge yet. Once it has one, its offset
 * is another: `ack.committed` and `topic.changes()` tell it. Always false in a topic that is not synced.
 */
export const isProvisional = (offset: number): boolean => offset >= PROVISIONAL_FROM;
