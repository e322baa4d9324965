/** `tidemark token` and `tidemark secret`: bearer tokens for an edge. */
import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { parseEnv } from "node:util";
import type { Command } from "../arguments.ts";
import { Failure, UsageError } from "../failure.ts";
import { printLine, timeText } from "../terminal.ts";

const SECRET_CHARS_MIN = 32;
const TENANT_CHARS_MAX = 128;
const MINUTES_MAX = 60 * 24 * 365;
const SCOPE = /^(read|write|admin):\S+$/;
const VARIABLE = "TIDEMARK_JWT_SECRETS";

interface TokenArguments {
  readonly secret?: string;
  readonly tenant: string;
  readonly scope: string;
  readonly minutes: string;
  readonly issuer?: string;
  readonly audience?: string;
  readonly decode?: string;
}

/** The value in .dev.vars, read as Wrangler reads it: with quotes, spaces and comments. */
const fromDevVars = (name: string): string | undefined =>
  existsSync(".dev.vars") ? parseEnv(readFileSync(".dev.vars", "utf8"))[name] : undefined;

function secretsOf(given: string | undefined): string[] {
  const secrets = given ?? process.env[VARIABLE] ?? fromDevVars(VARIABLE) ?? "";
  return secrets
    .split(",")
    .map((text) => text.trim())
    .filter((text) => text !== "");
}

function secretOf(given: string | undefined): string {
  const secrets = secretsOf(given);
  if (secrets.length === 0)
    throw new UsageError(
      `there is no secret: give --secret, set ${VARIABLE}, or write it into .dev.vars (tidemark secret makes one)`,
      "token",
    );
  const newest = secrets.find((text) => text.length >= SECRET_CHARS_MIN);
  if (newest === undefined)
    throw new UsageError(`the secret is too short: it must have at least ${SECRET_CHARS_MIN} characters`, "token");
  return newest;
}

function claimsOf({ tenant, scope, minutes, issuer, audience }: TokenArguments): object {
  if (tenant === "" || tenant.length > TENANT_CHARS_MAX)
    throw new UsageError(`--tenant must have 1 to ${TENANT_CHARS_MAX} characters`, "token");
  const words = scope.split(/\s+/).filter((word) => word !== "");
  const wrong = words.find((word) => !SCOPE.test(word));
  if (words.length === 0 || wrong !== undefined)
    throw new UsageError(
      `--scope ${JSON.stringify(wrong ?? scope)}: each word must be read:, write: or admin: and a pattern of ` +
        `paths, such as read:orders/*`,
      "token",
    );
  if (!/^[1-9]\d{0,6}$/.test(minutes) || Number(minutes) > MINUTES_MAX)
    throw new UsageError(`--minutes ${minutes}: it must be a whole number from 1 to ${MINUTES_MAX}`, "token");
  const iat = Math.floor(Date.now() / 1000);
  const exp = iat + Number(minutes) * 60;
  return {
    tenant,
    scope: words.join(" "),
    iat,
    exp,
    ...(issuer && { iss: issuer }),
    ...(audience && { aud: audience }),
  };
}

const signatureOf = (text: string, secret: string): string =>
  createHmac("sha256", secret).update(text).digest("base64url");

function tokenOf(claims: object, secret: string): string {
  const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");
  const text = `${encode({ alg: "HS256", typ: "JWT" })}.${encode(claims)}`;
  return `${text}.${signatureOf(text, secret)}`;
}

/** What a token says, and what is to be said of it. Its signature is checked where a secret is at hand. */
function decoded(token: string, given: string | undefined): object {
  const [head, claims, signature, ...more] = token
    .trim()
    .replace(/^Bearer\s+/i, "")
    .split(".");
  const parse = (part: string | undefined): Record<string, unknown> => {
    try {
      const value: unknown = JSON.parse(Buffer.from(part ?? "", "base64url").toString("utf8"));
      if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
    } catch {
      // Refused below.
    }
    throw new Failure("this is no token: a token is three texts of base64url with dots between them");
  };
  const header = parse(head);
  const payload = parse(claims);
  if (signature === undefined || more.length > 0)
    throw new Failure("this is no token: a token is three texts of base64url with dots between them");
  const secrets = secretsOf(given);
  const isSigned = (secret: string): boolean => {
    const expected = Buffer.from(signatureOf(`${head}.${claims}`, secret));
    const found = Buffer.from(signature);
    return expected.length === found.length && timingSafeEqual(expected, found);
  };
  const seconds = Date.now() / 1000;
  return {
    header,
    claims: payload,
    ...(typeof payload["exp"] === "number" && {
      expires: timeText(payload["exp"] * 1000),
      isExpired: payload["exp"] < seconds,
    }),
    signature:
      header["alg"] !== "HS256"
        ? "not looked at: it is not HS256"
        : secrets.length === 0
          ? `not looked at: no secret is here (--secret, ${VARIABLE} or .dev.vars)`
          : secrets.some(isSigned)
            ? "good"
            : "not by any secret that is here",
  };
}

export const token: Command = {
  meta: { name: "token", description: "a bearer token for the edge; or what a token says" },
  args: {
    secret: {
      type: "string",
      description: `signs with it. Default: the first of ${VARIABLE}, from the environment or .dev.vars`,
    },
    tenant: {
      type: "string",
      valueHint: "name",
      mayBeEmpty: true,
      default: "dev",
      description: "whose streams. Default: dev",
    },
    scope: {
      type: "string",
      valueHint: "words",
      default: "read:** write:** admin:**",
      description: 'can:pattern, can is read, write or admin. Default: "read:** write:** admin:**"',
    },
    minutes: {
      type: "string",
      valueHint: "n",
      default: "60",
      description: "how long it lives. Default: 60. In a URL (?token=) the edge takes 5 at most",
    },
    issuer: { type: "string", description: "where the edge has TIDEMARK_JWT_ISSUER" },
    audience: { type: "string", description: "where the edge has TIDEMARK_JWT_AUDIENCE" },
    decode: {
      type: "string",
      valueHint: "token",
      description: "shows what this token says, and whether a secret that is here has signed it",
    },
  },
  examples: [
    'curl -H "Authorization: Bearer $(npx tidemark token)" "http://localhost:8787/v1/stream/orders?offset=-1"',
    "npx tidemark token --tenant acme --scope 'read:orders/* write:orders/new' --minutes 5",
    "npx tidemark token --decode eyJhbGciOi…",
  ],
  run({ args }: { readonly args: TokenArguments }) {
    if (args.decode !== undefined) return printLine(JSON.stringify(decoded(args.decode, args.secret), null, 2));
    return printLine(tokenOf(claimsOf(args), secretOf(args.secret)));
  },
};

export const secret: Command = {
  meta: { name: "secret", description: `a new secret for ${VARIABLE}` },
  args: {},
  examples: [`echo "${VARIABLE}=$(npx tidemark secret)" >> .dev.vars`],
  run: () => printLine(randomBytes(SECRET_CHARS_MIN).toString("base64url")),
};
