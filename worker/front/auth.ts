/**
 * Decides who may do what, in the Worker and before any object is woken. Deny by default: without a configured key
 * every request is 401, unless open access is set for development and the request came to a loopback host.
 *
 *   Authorization: Bearer <JWT>      or Sec-WebSocket-Protocol: tidemark.1, bearer.<JWT> for a browser's WebSocket;
 *                                    or ?token=<JWT> on GET, for EventSource and WebSocket, valid for at most 5 minutes
 *   claims   tenant (text) · exp (required) · iss, aud (checked if configured)
 *            scope: words of the form can:pattern, can is read, write or admin: "read:** write:orders/*"
 *
 * Each key allows certain algorithms: the configured secrets HS256, the keys of the JWKS the others. So no token can
 * have a public key used as its HMAC secret, and `none` is never accepted.
 */
import { textEncoder } from "../../src/record/bytes.ts";
import { bearerOf, protocolToken } from "../wire/bearer.ts";
import {
  createRemoteJWKSet,
  decodeProtectedHeader,
  errors,
  type JWTPayload,
  jwtVerify,
  type JWTVerifyGetKey,
  type JWTVerifyOptions,
} from "jose";
import type { Env } from "../env.ts";
import { OPEN_TENANT } from "../rpc/stubs.ts";
import { isWholeText } from "../wire/fields.ts";
import { EdgeError } from "../errors.ts";
import type { HeadersOf } from "../wire/durable-streams.ts";
import { placeOf } from "../wire/paths.ts";
import { matches } from "../wire/patterns.ts";

export type Action = "read" | "write" | "admin";

export interface Caller {
  readonly tenant: string;
  /** The claim "sub": whose device it is. Empty if the token has none. */
  readonly subject: string;
  /** When the token expires, in seconds since 1970. Undefined without a token. */
  readonly expires: number | undefined;
  /** True without a token: caches may share the answers. */
  readonly isOpen: boolean;
  /** Throws FORBIDDEN if the token does not allow the action. */
  require(action: Action, path: string): void;
}

export const allows = (caller: Caller, action: Action, path: string): boolean => {
  try {
    caller.require(action, path);
    return true;
  } catch {
    return false;
  }
};

const LOOPBACK = new Set(["localhost", "127.0.0.1", "[::1]", "::1"]);
const ASYMMETRIC = ["RS256", "ES256", "EdDSA"];
const QUERY_TOKEN_SECONDS_MAX = 300;
const CLOCK_TOLERANCE_SECONDS = 5;
const TOKEN_BYTES_MAX = 8 * 1024;
const TENANT_CHARS_MAX = 128;
const IN_SECONDS = "it counts seconds since 1970, not milliseconds";
/** The year 5138. As milliseconds it is one of 1973. */
const EXPIRES_MAX = 1e11;
/** Errors which mean that a fetched key set has no key for the token. */
const NO_SUCH_KEY = [errors.JWKSNoMatchingKey, errors.JWKSMultipleMatchingKeys, errors.JOSENotSupported];
const keySets = new Map<string, ReturnType<typeof createRemoteJWKSet>>();

const unauthorized = (message: string): EdgeError => new EdgeError("UNAUTHORIZED", message);

/** A promise only where there is a token. `headers`: those of the request, if the caller has them at hand. */
export function callerOf(request: Request, env: Env, headers: HeadersOf = request.headers): Caller | Promise<Caller> {
  const header = bearerOf(headers) ?? protocolToken(headers);
  const query = request.method === "GET" ? new URL(request.url).searchParams.get("token") : null;
  const token = header ?? query ?? undefined;
  if (token !== undefined) return callerWith(token, header === undefined, env);
  if (isOpen(request, env, headers))
    return { tenant: OPEN_TENANT, subject: "", expires: undefined, isOpen: true, require: () => {} };
  throw unauthorized(`a bearer token is needed, as Authorization: Bearer <JWT>${hintFor(request, env)}`);
}

async function callerWith(token: string, isInUrl: boolean, env: Env): Promise<Caller> {
  if (token.length > TOKEN_BYTES_MAX) throw unauthorized(`the token has more than ${TOKEN_BYTES_MAX} characters`);
  const claims = await verify(token, env);
  // Such a token would never end, and whoever made it believes that it does.
  if (claims.exp! > EXPIRES_MAX) throw unauthorized(`the token's claim "exp" is ${claims.exp}; ${IN_SECONDS}`);
  if (isInUrl) {
    const { exp = Infinity, iat = -Infinity } = claims;
    // Checked by our clock as well: a token that claims to be issued next year would be valid until then.
    const left = exp - Date.now() / 1000 - CLOCK_TOLERANCE_SECONDS;
    if (!(exp - iat <= QUERY_TOKEN_SECONDS_MAX && left <= QUERY_TOKEN_SECONDS_MAX))
      throw unauthorized(`a token in a URL lives at most ${QUERY_TOKEN_SECONDS_MAX} s`);
  }
  const { tenant } = claims;
  if (typeof tenant !== "string" || tenant === "" || tenant.length > TENANT_CHARS_MAX || !isWholeText(tenant)) {
    throw unauthorized(`the token's claim "tenant" must be a text of 1 to ${TENANT_CHARS_MAX} characters`);
  }
  const scopes = scopesOf(claims["scope"]);
  return {
    tenant,
    subject: typeof claims.sub === "string" ? claims.sub : "",
    expires: claims.exp,
    isOpen: false,
    require(action, path) {
      const isAllowed = scopes.some((scope) => scope.action === action && matches(scope.pattern, path));
      if (!isAllowed)
        throw new EdgeError(
          "FORBIDDEN",
          `the token does not allow ${action} here: its claim "scope" needs ${action}:<a pattern of this path>`,
        );
    },
  };
}

/** True for an explicit setting, a loopback host, and no header that names a client elsewhere. */
function isOpen(request: Request, env: Env, headers: HeadersOf): boolean {
  if (env.TIDEMARK_OPEN_ACCESS !== "loopback" || !LOOPBACK.has(placeOf(request.url).hostname)) return false;
  const client = headers.get("cf-connecting-ip");
  // A page of another site, which a developer's browser would let call this host, is not let in either.
  const origin = headers.get("origin");
  if (origin !== null && !LOOPBACK.has(URL.parse(origin)?.hostname ?? "")) return false;
  return client === null || LOOPBACK.has(client) || client.startsWith("127.");
}

/** On a developer's own machine: how to get in. Elsewhere nothing is revealed about the settings. */
function hintFor(request: Request, env: Env): string {
  if (!LOOPBACK.has(placeOf(request.url).hostname)) return "";
  if (env.TIDEMARK_OPEN_ACCESS === "loopback")
    return "; open access is for requests from this machine and for pages that it serves";
  return (
    "; on this machine, TIDEMARK_OPEN_ACCESS=loopback in .dev.vars lets requests in without one, " +
    "and `npx tidemark token` makes one"
  );
}

function scopesOf(value: unknown): { action: Action; pattern: string }[] {
  if (typeof value !== "string") return [];
  return value.split(/\s+/).flatMap((word) => {
    const [, action, pattern] = /^(read|write|admin):(.+)$/.exec(word) ?? [];
    return action === undefined || pattern === undefined ? [] : [{ action: action as Action, pattern }];
  });
}

function claimFault({ claim, reason }: errors.JWTClaimValidationFailed): string {
  const what = `the token's claim "${claim}"`;
  if (reason === "missing") return `${what} is missing`;
  return claim === "nbf" ? `${what} is later than now; ${IN_SECONDS}` : `${what} is not one that this edge takes`;
}

async function verify(token: string, env: Env): Promise<JWTPayload> {
  const options: JWTVerifyOptions = {
    requiredClaims: ["exp"],
    clockTolerance: CLOCK_TOLERANCE_SECONDS,
    ...(env.TIDEMARK_JWT_ISSUER && { issuer: env.TIDEMARK_JWT_ISSUER }),
    ...(env.TIDEMARK_JWT_AUDIENCE && { audience: env.TIDEMARK_JWT_AUDIENCE }),
  };
  try {
    const { alg } = decodeProtectedHeader(token);
    if (alg === "HS256") return await verifySecret(token, env, options);
    if (!ASYMMETRIC.includes(alg ?? "") || !env.TIDEMARK_JWKS_URL)
      throw unauthorized("the token is signed with an algorithm that is not accepted here");
    return (await jwtVerify(token, keyOf(env.TIDEMARK_JWKS_URL), { ...options, algorithms: ASYMMETRIC })).payload;
  } catch (thrown) {
    if (thrown instanceof EdgeError) throw thrown;
    if (thrown instanceof errors.JWTExpired) throw unauthorized("the token has expired: get a new one");
    // Its signature is right by then, so its owner may know what is wrong.
    if (thrown instanceof errors.JWTClaimValidationFailed) throw unauthorized(claimFault(thrown));
    if (thrown instanceof errors.JOSEError || thrown instanceof TypeError)
      throw unauthorized(
        "the token is not valid: its signature, its claims or its issuer are not those that this edge takes",
      );
    throw thrown;
  }
}

/**
 * Any of the secrets may have signed the token, so that a secret can be rotated: add the new one, issue tokens with it,
 * remove the old one.
 */
async function verifySecret(token: string, env: Env, options: JWTVerifyOptions): Promise<JWTPayload> {
  const secrets = (env.TIDEMARK_JWT_SECRETS ?? "")
    .split(",")
    .map((text) => text.trim())
    .filter((text) => text.length >= 32);
  for (const secret of secrets) {
    try {
      return (await jwtVerify(token, textEncoder.encode(secret), { ...options, algorithms: ["HS256"] })).payload;
    } catch (thrown) {
      if (!(thrown instanceof errors.JWSSignatureVerificationFailed)) throw thrown;
    }
  }
  throw unauthorized(
    "the token is not valid: its signature, its claims or its issuer are not those that this edge takes",
  );
}

/**
 * Finds the key of a token. If the keys can't be fetched that says nothing about the token, so the caller shall retry.
 */
function keyOf(url: string): JWTVerifyGetKey {
  const known = keySets.get(url) ?? createRemoteJWKSet(new URL(url));
  keySets.set(url, known);
  return async (header, token) => {
    try {
      return await known(header, token);
    } catch (thrown) {
      if (NO_SUCH_KEY.some((kind) => thrown instanceof kind)) throw thrown;
      throw new EdgeError("CLOSED", "the keys that tokens are checked with can't be fetched", { retryAfter: 5 });
    }
  };
}
