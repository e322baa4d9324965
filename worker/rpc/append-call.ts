/**
 * A small append, which the Worker reads whole and hands over to the log's object by a call (http-append.ts has both
 * ways).
 */
import type { Answer } from "../wire/http.ts";

/** What the Worker reads whole and hands over: small enough to lie in its memory for every connection at once. */
export const CALL_BYTES_MAX = 64 * 1024;

/** An object's way in for appends that are handed over whole. `passed` has names in lower case. */
export interface AppendCall {
  append(tenant: string, passed: Readonly<Record<string, string>>, body: Uint8Array): Promise<Answer>;
}
