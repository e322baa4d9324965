/** Checks of what sync() and its calls are given. Each error names the field. */
import { TidemarkError } from "../../errors.ts";
import { checkCompaction, checkRetention } from "../../log/limits.ts";
import { optionsAfter } from "../../sync/topic-options.ts";
import {
  type Check,
  checkOptions,
  integer,
  isObject,
  isWellFormed,
  oneOf,
  refused,
  signal,
} from "../../topic/check.ts";
import { checkTopicName } from "../../topic/names.ts";
import { position } from "../../topic/options.ts";
import type { SyncedTopicOptions, SyncOptions } from "../sync-api.ts";
import { hasDotPart } from "../../topic/dot-parts.ts";

/** The edge's limit of a path, in bytes. */
const PATH_BYTES_MAX = 1024;

const path: Check = (field, value) => {
  const isPath =
    typeof value === "string" &&
    value !== "" &&
    isWellFormed(value) &&
    !/[\0-\x1f\x7f]/.test(value) &&
    !hasDotPart(value) &&
    new TextEncoder().encode(value).length <= PATH_BYTES_MAX;
  if (!isPath)
    throw refused(
      field,
      value,
      `a path at the edge: 1 to ${PATH_BYTES_MAX} bytes, no control characters, no part that is . or ..`,
    );
};

const create: Check = (field, value) => {
  if (value === false) return;
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw refused(field, value, "false, or { retention, compaction }");
  checkOptions(field, value, {
    retention: (name, given) => checkRetention(given, `${field}.${name}`),
    compaction: (name, given) => checkCompaction(given, `${field}.${name}`),
  });
};

const TOPIC_OPTIONS = {
  path,
  from: (field: string, value: unknown) => position(field, value, false),
  create,
  outboxBytesMax: integer(1),
  keep: (field: string, value: unknown) => checkRetention(value, field),
  onTrimmed: oneOf("skip", "stop"),
  serializer: oneOf("json", "text", "bytes"),
};

function edgeOf(url: unknown): string {
  const allowed = "an http or https address without a query, a fragment, a name or a password";
  if (typeof url !== "string" && !(url instanceof URL)) throw refused("url", url, allowed);
  try {
    const { protocol, href, username, password } = new URL(url);
    // A mark with nothing behind it is in the address as well, and not in `search` and `hash`.
    if (/^https?:$/.test(protocol) && username + password === "" && !/[?#]/.test(href)) return href.replace(/\/+$/, "");
  } catch {
    // Refused below.
  }
  throw refused("url", url, allowed);
}

/** Most characters of a synced topic's name. They leave room for `.aside` and `.kept` behind it. */
const NAME_CHARS_MAX = 243;

/** The name of a topic that may be synced. Those that begin with two underscores belong to the library. */
export function checkSyncedName(name: unknown): asserts name is string {
  checkTopicName(name);
  if ((name as string).startsWith("__"))
    throw refused("name", name, "one that does not begin with __, as the library's own topics do");
  if ((name as string).length > NAME_CHARS_MAX)
    throw refused("name", name, `at most ${NAME_CHARS_MAX} characters where the topic is synced`);
}

export function checkToken(token: unknown): void {
  if (token !== undefined && typeof token !== "string" && typeof token !== "function")
    throw refused("token", token, "a string or a function");
  if (typeof token === "string") checkGivenToken(token);
}

/** The form of a token that the edge takes and a header holds. A web page that was fetched instead does not have it. */
const TOKEN = /^[\x21-\x7e]{1,8192}$/;

/** Checks the token that a page's function has given. undefined counts as a page that has no token. */
export function checkGivenToken(token: unknown): asserts token is string | null | undefined {
  if (token === undefined || token === null) return;
  if (typeof token !== "string")
    throw refused("token", token, "a string from the function, or null where nobody is signed in");
  // Even a wrong value may be a secret, so the message does not show it.
  if (!TOKEN.test(token))
    throw new TidemarkError("INVALID_ARGUMENT", "token must be 1 to 8192 letters, digits and signs without a space", {
      field: "token",
    });
}

/** The topics with the options of each. */
function namedIn(topics: unknown): [unknown, SyncedTopicOptions][] {
  const named: [unknown, SyncedTopicOptions][] = Array.isArray(topics)
    ? topics.map((name: unknown) => [name, {}])
    : Object.entries(isObject(topics) ? topics : {});
  if (named.length === 0) throw refused("topics", topics, "names of topics, or an object with options by name");
  return named;
}

const SYNC_OPTIONS = {
  url: (_: string, value: unknown) => void edgeOf(value),
  topics: (_: string, value: unknown) => void namedIn(value),
  token: (_: string, value: unknown) => checkToken(value),
  background: oneOf("pause", "keep"),
};

export interface CheckedSync extends Pick<SyncOptions, "background"> {
  /** Without a slash at its end. */
  readonly url: string;
  readonly topics: Readonly<Record<string, SyncedTopicOptions>>;
}

/** `serializerOf`: what the page has a topic with already; undefined if it has not. */
export function checkSync(options: unknown, serializerOf: (topic: string) => unknown = () => undefined): CheckedSync {
  if (!isObject(options) || Array.isArray(options)) throw refused("sync", options, "{ url, topics, token }");
  checkOptions("sync()", options, SYNC_OPTIONS);
  const { url, topics, background } = options as SyncOptions;
  const edge = edgeOf(url);
  const checked = namedIn(topics).map(([name, given]): [string, SyncedTopicOptions] => {
    checkSyncedName(name);
    checkOptions(`topics.${name}`, given, TOPIC_OPTIONS);
    const used = serializerOf(name);
    const serializer = given.serializer ?? (typeof used === "object" ? "bytes" : used);
    if (typeof used === "string" && serializer !== used)
      throw refused("serializer", serializer, `"${used}", as this page has the topic ${name}`);
    return [name, { path: given.path, ...optionsAfter({}, { ...given, serializer } as SyncedTopicOptions) }];
  });
  return { url: edge, topics: Object.fromEntries(checked), ...(background && { background }) };
}

/** INVALID_ARGUMENT for an answer that a call does not know. */
export function checkChoice(topic: unknown, choice: unknown, ...allowed: readonly string[]): void {
  checkSyncedName(topic);
  oneOf(...allowed)("choice", choice);
}

/** The options of waits. */
export function checkWait(call: string, options: unknown): void {
  const topic = (field: string, value: unknown): void => {
    if (typeof value !== "string") throw refused(field, value, "a topic's name");
    checkSyncedName(value);
  };
  checkOptions(call, options, { topic, signal });
}
