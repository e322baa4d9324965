/** The Authorization header. */
import type { HeadersOf } from "./durable-streams.ts";

/** The token of a request's Authorization header; undefined where it has none, or another scheme. */
export const bearerOf = (headers: HeadersOf): string | undefined =>
  /^Bearer +(\S+)$/i.exec(headers.get("authorization") ?? "")?.[1];
