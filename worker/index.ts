/**
 * The deployable Worker: a router in front of one Durable Object for each log. docs/edge.md says how to run and deploy
 * it.
 */
import type { Env } from "./env.ts";
import { handle } from "./front/router.ts";
import type { Background } from "./front/segment-cache.ts";

export { LogObject } from "./log-object/log-object.ts";
export { SubscriptionObject } from "./subscriptions/subscription-object.ts";

export default {
  fetch: (request: Request, env: Env, context: Background): Promise<Response> => handle(request, env, context),
};
