/** Where a device's copy of a log begins: decided once, when the first join is answered. */
import { TidemarkError } from "../errors.ts";
import { readHeader } from "../record/format.ts";
import { edgeCodeOf } from "./pump.ts";
import type { EdgeLog } from "./edge-socket.ts";
import type { Joined } from "./sync-frames.ts";
import type { TopicStore } from "./topic-store.ts";

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
        : { timestamp: from.timestamp };
  if (position === 0) return 0;
  const bytes = await log.fetch(position, FETCH_BYTES);
  return bytes.length === 0 ? logEndOffset : readHeader(bytes).baseOffset;
}

/** Makes this device's copy, if there is none yet. Gives the error where the token may not read, which it must for it. */
export async function makeReplica(
  store: TopicStore,
  log: EdgeLog,
  joined: Joined,
  from: ReplicaStart,
): Promise<TidemarkError | undefined> {
  if (store.base !== undefined) return undefined;
  try {
    await store.createReplica(await replicaStart(log, joined, from));
  } catch (thrown) {
    const error = TidemarkError.from(thrown);
    if (edgeCodeOf(error) !== "FORBIDDEN") throw error;
    return error;
  }
  return undefined;
}
