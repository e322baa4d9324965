/**
 * The edge: the logs below /v1/, and the built page for everything else (wrangler.jsonc, "assets"). `npm start` lets
 * requests of this machine in without a token. Before you deploy it, give out tokens: docs/example-app of the package.
 */
import { handleRequest } from "tidemark/worker";

export { LogObject, SubscriptionObject } from "tidemark/worker";

export default { fetch: handleRequest };
