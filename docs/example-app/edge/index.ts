/**
 * The edge: who is signed in, tokens for those, and the logs.
 *
 *   POST /sign-in    the name as the body ─▶ a cookie
 *   GET  /token      the cookie ─▶ a token that lives ten minutes and opens the lists
 *   POST /sign-out   takes the cookie away
 *   /v1/…            the logs, for who has a token
 *   anything else    the built page (wrangler.jsonc, "assets")
 */
import { jwtVerify, SignJWT } from "jose";
import { type Env, handleRequest } from "tidemark/worker";

export { LogObject, SubscriptionObject } from "tidemark/worker";

interface Settings extends Env {
  readonly TIDEMARK_JWT_SECRETS: string;
}

const COOKIE = "session";
const cookie = (value: string, seconds: number): Record<string, string> => ({
  "set-cookie": `${COOKIE}=${value}; Path=/; Max-Age=${seconds}; HttpOnly; Secure; SameSite=Strict`,
});

/** One secret signs both. "use" tells them apart, so that a session is no token for the logs. */
const keyOf = (env: Settings): Uint8Array => new TextEncoder().encode(env.TIDEMARK_JWT_SECRETS.split(",")[0]);
const signed = (claims: Record<string, string>, life: string, env: Settings): Promise<string> =>
  new SignJWT(claims).setProtectedHeader({ alg: "HS256" }).setIssuedAt().setExpirationTime(life).sign(keyOf(env));

async function signIn(request: Request, env: Settings): Promise<Response> {
  const name = await request.text();
  if (!/^[a-z]{1,20}$/.test(name)) return new Response("a name has 1 to 20 small letters", { status: 400 });
  // Here a real application checks a password, a passkey, or another site's answer.
  const session = await signed({ use: "session", user: name }, "30d", env);
  return new Response(null, { status: 204, headers: cookie(session, 30 * 24 * 3600) });
}

async function token(request: Request, env: Settings): Promise<Response> {
  const session = new RegExp(`(?:^|; )${COOKIE}=([^;]+)`).exec(request.headers.get("cookie") ?? "")?.[1];
  try {
    const { payload } = await jwtVerify<{ use?: string; user?: string }>(session ?? "", keyOf(env));
    if (payload.use !== "session" || payload.user === undefined) throw new Error("no session");
    // A guest's changes are refused, so that you see what the page asks then.
    const scope = payload.user === "guest" ? "read:lists/**" : "read:lists/** write:lists/**";
    const claims = { tenant: "home", sub: payload.user, scope };
    return new Response(await signed(claims, "10m", env), { headers: { "cache-control": "no-store" } });
  } catch {
    return new Response("sign in first", { status: 401 });
  }
}

export default {
  async fetch(
    request: Request,
    env: Settings,
    context: { waitUntil(work: Promise<unknown>): void },
  ): Promise<Response> {
    const { pathname } = new URL(request.url);
    switch (`${request.method} ${pathname}`) {
      case "POST /sign-in":
        return signIn(request, env);
      case "GET /token":
        return token(request, env);
      case "POST /sign-out":
        return new Response(null, { status: 204, headers: cookie("", 0) });
      default:
        return handleRequest(request, env, context);
    }
  },
};
