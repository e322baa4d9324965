/** The deployable Worker: a router before one Durable Object per log. docs/edge.md tells how to run and deploy it. */
import type { Env } from "./env.ts";
import { handle } from "./router.ts";
import type { Background } from "./segments.ts";

export { LogObject } from "./log-object.ts";
export { SubscriptionObject } from "./subscription-object.ts";

export default {
  fetch: (request: Request, env: Env, context: Background): Promise<Response> => handle(request, env, context),
};
