/**
 * Where a request carries its token, and the names of WebSocket subprotocols. A browser's WebSocket can send no header
 * of its own, but names of subprotocols: one is the dialect, the other carries the token and is never answered.
 */
import type { HeadersOf } from "./durable-streams.ts";

/** The dialect of src/sync/frames.ts, as a subprotocol. */
export const SUBPROTOCOL = "tidemark.1";
const BEARER = "bearer.";

/** The token of a request's Authorization header; undefined where it has none, or another scheme. */
export const bearerOf = (headers: HeadersOf): string | undefined =>
  /^Bearer +(\S+)$/i.exec(headers.get("authorization") ?? "")?.[1];

const protocolsOf = (headers: HeadersOf): string[] =>
  (headers.get("sec-websocket-protocol") ?? "").split(",").map((name) => name.trim());

/** The subprotocol that is answered; undefined where the client asks for none that is known. */
export const subprotocolOf = (headers: HeadersOf): string | undefined =>
  protocolsOf(headers).find((name) => name === SUBPROTOCOL);

/** The token among the subprotocols; only beside the dialect's own name. */
export const protocolToken = (headers: HeadersOf): string | undefined =>
  subprotocolOf(headers) &&
  protocolsOf(headers)
    .find((name) => name.startsWith(BEARER))
    ?.slice(BEARER.length);
