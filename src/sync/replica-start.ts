/** Where a device's copy of a log begins: decided once, when the first join is answered. */
import { readHeader } from "../record/format.ts";
import type { EdgeLog } from "./edge-socket.ts";
import type { Joined } from "./sync-frames.ts";

export type ReplicaStart = "earliest" | "latest" | { readonly last: number } | { readonly timestamp: number };

/** More than the largest batch. */
const FETCH_BYTES = 2 * 1024 * 1024;

/** The offset at which a batch of the edge begins, or the log's end. */
export async function replicaStart(
  log: EdgeLog,
  { logStartOffset, logEndOffset }: Pick<Joined, "logStartOffset" | "logEndOffset">,
  from: ReplicaStart,
): Promise<number> {
  if (from === "latest") return logEndOffset;
  const position =
    from === "earliest"
      ? logStartOffset
      : "last" in from
        ? Math.max(logStartOffset, logEndOffset - from.last)
        : { timestamp: Math.ceil(from.timestamp) };
  if (position === 0) return 0;
  const bytes = await log.fetch(position, FETCH_BYTES);
  return bytes.length === 0 ? logEndOffset : readHeader(bytes).baseOffset;
}
