/**
 * The list of a tenant's streams, page by page:
 *
 *   GET /v1/stream/__ds/streams?after=PATH&limit=N  ──▶  {"streams":["a","b"],"next":"b"}
 *
 * Paths stand in the order of their UTF-8 bytes, and only those that the token may read. `next` is the `after` of the
 * next page; null says that there is none. The object of the tenant's subscriptions answers: each stream tells it of
 * its beginning and its end, maybe some seconds later.
 */
import type { Env } from "../env.ts";
import { subscriptionsOf } from "../rpc/subscription-peer.ts";
import { checkOnce, parseInteger } from "../wire/durable-streams.ts";
import { json } from "../wire/http.ts";
import { STREAM_PREFIX } from "../wire/paths.ts";
import { textParameter } from "../wire/record-query.ts";
import { allows, callerOf } from "./auth.ts";
import { askedAgain } from "../rpc/lost.ts";
import { checkRate } from "./request-limits.ts";

const LIST_NAME = "__ds/streams";
export const LIST_PATH = `${STREAM_PREFIX}${LIST_NAME}`;
const LIMIT_MAX = 1_000;
/** Paths that one request looks at. A token for a few of very many streams gets pages with few or none. */
const LOOKED_AT_MAX = 10_000;

export async function streamList(request: Request, env: Env): Promise<Response> {
  const url = new URL(request.url);
  checkOnce(url, "limit", "after");
  const caller = await callerOf(request, env);
  const asked = url.searchParams.get("limit");
  const limit = asked === null ? LIMIT_MAX : parseInteger(asked, "limit", { min: 1, max: LIMIT_MAX });
  await checkRate(env, caller.tenant, LIST_NAME);
  const streams: string[] = [];
  let after = textParameter(url, "after") ?? "";
  // A token that may read everything leaves out no path, so no more paths are looked at than are wanted.
  const size = allows(caller, "read", "**") ? limit : LIMIT_MAX;
  for (let looked = 0; looked < LOOKED_AT_MAX; looked += size) {
    const subscriptions = subscriptionsOf(env, caller.tenant);
    const page = await askedAgain(() => subscriptionsOf(env, caller.tenant).paths(after, size), subscriptions);
    for (const path of page) {
      after = path;
      if (allows(caller, "read", path) && streams.push(path) === limit) return answer(streams, after);
    }
    if (page.length < size) return answer(streams, null);
  }
  return answer(streams, after);
}

const answer = (streams: readonly string[], next: string | null): Response => json(200, { streams, next });
