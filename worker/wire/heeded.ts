/**
 * Headers that a request does not heed. In silence its sender would rely on what nobody looks at: a DELETE with
 * Tidemark-Trim-Before would remove the whole stream, and not what is before an offset. BAD_REQUEST, by name.
 */
import { badRequest } from "../errors.ts";
import { H, type HeadersOf } from "./durable-streams.ts";
import { POLICIES } from "./policies.ts";

/** What an append alone heeds. */
const OF_APPENDS = [H.producerId, H.producerEpoch, H.producerSeq, H.seq, H.expectedOffset, H.resentSince, H.sequences];

/** `what` names the request. */
export function refuseHeaders(headers: HeadersOf, what: string, names: readonly string[] = OF_APPENDS): void {
  const name = names.find((name) => headers.get(name) !== null);
  if (name !== undefined) throw badRequest(`${what} does not heed ${name}: leave it out`, { header: name });
}

/** What a POST heeds, by itself or as an append. */
export const OF_POST = [H.trim, ...OF_APPENDS];

/** `headers` is asked in lower case. */
export function checkHeeded(method: string, { get }: HeadersOf): void {
  const headers = { get: (name: string) => get(name.toLowerCase()) };
  if (method === "PUT" || method === "DELETE") refuseHeaders(headers, `a ${method}`, OF_POST);
  else if (method === "POST")
    refuseHeaders(headers, "a POST (only the PUT that makes a stream says what may be removed of it)", POLICIES);
}
