/**
 * A small append, which the Worker reads whole and passes to the log's object by an RPC call (http-append.ts has both
 * ways).
 */
import type { Answer } from "../wire/http.ts";

/**
 * Largest body that the Worker reads whole and passes on: small enough to be in memory for every connection at once.
 */
export const CALL_BYTES_MAX = 64 * 1024;

/** The object's method for small appends. Names in `passed` are in lower case. */
export interface AppendCall {
  append(tenant: string, passed: Readonly<Record<string, string>>, body: Uint8Array): Promise<Answer>;
}
