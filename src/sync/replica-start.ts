/** Where a device's copy of a log begins: decided once, when the first join is answered. */
import { readHeader } from "../record/format.ts";
import type { EdgeLog } from "./edge-socket.ts";
import type { Joined } from "./sync-frames.ts";

export type ReplicaStart = "earliest" | "latest" | { readonly last: number } | { readonly timestamp: number };

export async function replicaStart(
  log: EdgeLog,
  { logStartOffset, logEndOffset }: Pick<Joined, "logStartOffset" | "logEndOffset">,
  from: ReplicaStart,
): Promise<number> {
  if (from === "earliest") return logStartOffset;
  if (from === "latest") return logEndOffset;
  if ("last" in from) return Math.max(logStartOffset, logEndOffset - from.last);
  const { timestamp } = from;
  const bytes = await log.fetch({ timestamp });
  return bytes.length === 0 ? logEndOffset : Math.max(logStartOffset, readHeader(bytes).baseOffset);
}
