/** What answers of the edge say about a topic. */
import { TidemarkError } from "../errors.ts";
import { offsetInHeader } from "../sync/http-words.ts";
import type { EdgeReply } from "./requests.ts";

export const NEXT = "stream-next-offset";
export const START = "tidemark-start-offset";
export const CLOSED = "stream-closed";

export const isClosed = ({ headers }: EdgeReply): boolean => headers.get(CLOSED) === "true";

/** CLOSED: a success has no such header, so something between has answered in the edge's stead. */
export function offsetOf(answer: EdgeReply, name: string): number {
  const text = answer.headers.get(name);
  if (text === null && answer.status < 300) throw notOfTheEdge(answer);
  return offsetInHeader(text);
}

export const notOfTheEdge = ({ status }: EdgeReply): TidemarkError =>
  new TidemarkError("CLOSED", `status ${status}, and not from an edge: check the address`, {
    reason: "network",
    status,
  });
