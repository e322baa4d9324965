/**
 * Opens a topic's log at the edge, and makes it where it is missing and none was joined before; and what it means for
 * the session if that fails.
 *
 *   open ─┬─▶ hello
 *         └─▶ not found ─┬─ the note has no stream, and the topic allows it ─▶ made (options.create) ─▶ open again
 *                        └─ else ─▶ missing: with a stream in the note the log was deleted
 */
import { TidemarkError } from "../errors.ts";
import type { EdgeLog, EdgeSocket } from "./edge-socket.ts";
import { streamOf } from "./joining.ts";
import { edgeCodeOf, floorOf } from "./pump.ts";
import { classOf } from "./push-answers.ts";
import type { SessionOptions } from "./session-options.ts";
import type { SessionEvent } from "./session-state.ts";
import type { TopicStore } from "./topic-store.ts";

export async function openedLog(
  socket: EdgeSocket,
  options: Pick<SessionOptions, "path" | "store" | "create">,
): Promise<EdgeLog> {
  const { path, store } = options;
  try {
    return await socket.open(path);
  } catch (thrown) {
    const isMissing = thrown instanceof TidemarkError && edgeCodeOf(thrown) === "NOT_FOUND";
    const making = isMissing && streamOf(store) === null && options.create();
    if (!making) throw thrown;
    await making;
    return socket.open(path);
  }
}

/** What a session is told of an opening that failed. */
export function failedOpening(error: TidemarkError, store: TopicStore): SessionEvent {
  const code = edgeCodeOf(error);
  const floorMs = floorOf(error);
  return code === "NOT_FOUND" || code === "GONE"
    ? { on: "missing", stream: streamOf(store), floorMs }
    : { on: "failed", code, floorMs };
}

/** Another token is needed. */
export const isTokenError = (error: TidemarkError): boolean => classOf(edgeCodeOf(error)) === "token";
