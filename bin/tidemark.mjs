#!/usr/bin/env node
/**
 * `npx tidemark`: small tools for users of the package. It imports Node's own modules only.
 *
 *   npx tidemark assets    copies the files that open() loads, for apps whose bundler does not (esbuild, Rollup)
 *   npx tidemark secret    a new secret for TIDEMARK_JWT_SECRETS
 *   npx tidemark token     a bearer token for the edge, signed with that secret
 */
import { createHmac, randomBytes } from "node:crypto";
import { copyFileSync, existsSync, mkdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { parseArgs } from "node:util";

class UsageError extends Error {}

const SECRET_CHARS_MIN = 32;
const TENANT_CHARS_MAX = 128;
const MINUTES_MAX = 60 * 24 * 365;
const SCOPE = /^(read|write|admin):\S+$/;
const VARIABLE = "TIDEMARK_JWT_SECRETS";

const ASSETS = [
  "core.js",
  "recovery.js",
  "segments.js",
  "indexeddb.js",
  "extras.js",
  "tabs.js",
  "sync.js",
  "views.js",
  "typed.js",
  "tunnel.js",
  "answers.js",
  "kernel.wasm",
];

const HELP = `npx tidemark <command>

  assets   copies the package's files into a folder of an app
  secret   prints a new secret for ${VARIABLE}
  token    prints a bearer token for the edge

npx tidemark assets FOLDER
  Copies ${ASSETS.join(", ")} into FOLDER, which is made if it is not there.
  Serve it with the app, name it in open(name, { assets: "/FOLDER/" }), and copy again with every new version.

npx tidemark token [options]
  --secret TEXT     the secret to sign with. Default: the first of ${VARIABLE},
                    from the environment or from .dev.vars here
  --tenant NAME     whose streams. Default: dev
  --scope WORDS     can:pattern, can is read, write or admin. Default: "read:** write:** admin:**"
  --minutes N       how long it lives. Default: 60. In a URL (?token=) the edge takes 5 at most
  --issuer TEXT     where the edge has TIDEMARK_JWT_ISSUER
  --audience TEXT   where the edge has TIDEMARK_JWT_AUDIENCE

  curl -H "Authorization: Bearer $(npx tidemark token)" "http://localhost:8787/v1/stream/orders?offset=-1"
`;

const OPTIONS = {
  help: { type: "boolean", short: "h" },
  secret: { type: "string" },
  tenant: { type: "string", default: "dev" },
  scope: { type: "string", default: "read:** write:** admin:**" },
  minutes: { type: "string", default: "60" },
  issuer: { type: "string" },
  audience: { type: "string" },
};

/** The value of a line NAME=value in .dev.vars, with or without quotes. */
function fromDevVars(name) {
  if (!existsSync(".dev.vars")) return undefined;
  const line = readFileSync(".dev.vars", "utf8")
    .split(/\r?\n/)
    .find((each) =>
      each
        .replace(/^\s*export\s+/, "")
        .trimStart()
        .startsWith(`${name}=`),
    );
  return line
    ?.slice(line.indexOf("=") + 1)
    .trim()
    .replace(/^(["'])(.*)\1$/, "$2");
}

function secretOf(given) {
  const secrets = given ?? process.env[VARIABLE] ?? fromDevVars(VARIABLE);
  if (secrets === undefined) {
    throw new UsageError(
      `there is no secret: give --secret, set ${VARIABLE}, or write it into .dev.vars (npx tidemark secret makes one)`,
    );
  }
  const [newest] = secrets
    .split(",")
    .map((text) => text.trim())
    .filter((text) => text.length >= SECRET_CHARS_MIN);
  if (newest === undefined)
    throw new UsageError(`the secret is too short: it must have at least ${SECRET_CHARS_MIN} characters`);
  return newest;
}

function claimsOf({ tenant, scope, minutes, issuer, audience }) {
  if (tenant === "" || tenant.length > TENANT_CHARS_MAX)
    throw new UsageError(`--tenant must have 1 to ${TENANT_CHARS_MAX} characters`);
  const words = scope.split(/\s+/).filter((word) => word !== "");
  const wrong = words.find((word) => !SCOPE.test(word));
  if (words.length === 0 || wrong !== undefined) {
    throw new UsageError(
      `--scope ${JSON.stringify(wrong ?? scope)}: each word must be read:, write: or admin: and a pattern of ` +
        `paths, such as read:orders/*`,
    );
  }
  if (!/^[1-9]\d{0,6}$/.test(minutes) || Number(minutes) > MINUTES_MAX)
    throw new UsageError(`--minutes ${minutes}: it must be a whole number from 1 to ${MINUTES_MAX}`);
  const iat = Math.floor(Date.now() / 1000);
  return {
    tenant,
    scope: words.join(" "),
    iat,
    exp: iat + Number(minutes) * 60,
    ...(issuer && { iss: issuer }),
    ...(audience && { aud: audience }),
  };
}

function tokenOf(claims, secret) {
  const encode = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const text = `${encode({ alg: "HS256", typ: "JWT" })}.${encode(claims)}`;
  return `${text}.${createHmac("sha256", secret).update(text).digest("base64url")}`;
}

function copyAssets(folder) {
  if (folder === undefined || folder === "")
    throw new UsageError("assets needs a folder: npx tidemark assets public/tidemark");
  try {
    mkdirSync(folder, { recursive: true });
    for (const file of ASSETS) copyFileSync(path.join(import.meta.dirname, "../dist", file), path.join(folder, file));
  } catch (thrown) {
    throw new UsageError(`the files could not be copied: ${thrown.message}`);
  }
  return `${ASSETS.length} files in ${path.resolve(folder)}`;
}

const COMMANDS = {
  assets: (_, [folder]) => copyAssets(folder),
  secret: () => randomBytes(SECRET_CHARS_MIN).toString("base64url"),
  token: (values) => tokenOf(claimsOf(values), secretOf(values.secret)),
};

function main(args) {
  let parsed;
  try {
    parsed = parseArgs({ args, options: OPTIONS, allowPositionals: true });
  } catch (thrown) {
    throw new UsageError(thrown.message);
  }
  const {
    values,
    positionals: [name, ...rest],
  } = parsed;
  if (values.help || name === "help") return HELP;
  if (name === undefined || !Object.hasOwn(COMMANDS, name))
    throw new UsageError(
      `${name === undefined ? "a command is needed" : `there is no command ${JSON.stringify(name)}`}; there are ` +
        `${Object.keys(COMMANDS).join(", ")}`,
    );
  const folder = name === "assets" ? rest.splice(0, 1) : [];
  if (rest.length > 0) throw new UsageError(`${JSON.stringify(rest[0])} is one argument too many`);
  return `${COMMANDS[name](values, folder)}\n`;
}

try {
  process.stdout.write(main(process.argv.slice(2)));
} catch (thrown) {
  if (!(thrown instanceof UsageError)) throw thrown;
  process.stderr.write(`tidemark: ${thrown.message}\n(npx tidemark --help)\n`);
  process.exitCode = 2;
}
