/** Who may do what. Deny by default. */
import type { Env } from "./env.ts";
import { HttpError } from "./http.ts";

const LOOPBACK = new Set(["localhost", "127.0.0.1", "[::1]"]);

/** The tenant of a request that may go on; otherwise 401 or 403. */
export async function authorise(request: Request, env: Env, _path: string): Promise<string> {
  if (env.TIDEMARK_OPEN_ACCESS === "loopback" && LOOPBACK.has(new URL(request.url).hostname)) return "dev";
  throw new HttpError(401, "UNAUTHORIZED", "a bearer token is needed", { "www-authenticate": "Bearer" });
}
