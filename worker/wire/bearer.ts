/**
 * Where a request carries its token, and the names of WebSocket subprotocols. A browser's WebSocket can't send headers
 * of its own, but it can name subprotocols: one is the dialect, another carries the token and is never sent back.
 */
import type { HeadersOf } from "./durable-streams.ts";

/** The dialect of src/sync/frames.ts, as a subprotocol. */
const SUBPROTOCOL = "tidemark.1";
const BEARER = "bearer.";

/**
 * The token of a request's Authorization header, also one that can't be any, as with a space: it is judged like others.
 * Undefined if there is none, or it has another scheme.
 */
export const bearerOf = (headers: HeadersOf): string | undefined =>
  /^Bearer +(.+)$/i.exec(headers.get("authorization") ?? "")?.[1];

const protocolsOf = (headers: HeadersOf): string[] =>
  headers
    .get("sec-websocket-protocol")
    ?.split(",")
    .map((name) => name.trim()) ?? [];

/** The subprotocol that is answered. Undefined if the client asks for no known one. */
export const subprotocolOf = (headers: HeadersOf): string | undefined =>
  protocolsOf(headers).find((name) => name === SUBPROTOCOL);

/** The token among the subprotocols. It counts only beside the dialect's own name. */
export const protocolToken = (headers: HeadersOf): string | undefined =>
  subprotocolOf(headers) &&
  protocolsOf(headers)
    .find((name) => name.startsWith(BEARER))
    ?.slice(BEARER.length);
