/**
 * Subscriptions as the protocol words them: what a configuration may say, which paths a pattern means, which webhook
 * addresses are refused. No state, no I/O.
 */
import { badRequest, HttpError } from "./http.ts";

export interface SubscriptionConfig {
  readonly type: "webhook" | "pull-wake";
  readonly pattern: string | null;
  readonly streams: readonly string[];
  readonly webhookUrl: string | null;
  readonly wakeStream: string | null;
  readonly leaseMs: number;
  readonly description: string | null;
}

const LEASE_MS = { min: 1_000, max: 600_000, default: 30_000 };
const STREAMS_MAX = 1_000;
const TEXT_MAX = 1_024;

const textOf = (value: unknown, what: string): string | null => {
  if (value === undefined || value === null) return null;
  if (typeof value !== "string" || value === "" || value.length > TEXT_MAX) throw badRequest(`${what} is a text of 1 to ${TEXT_MAX} characters`);
  return value;
};

export function pathsOf(value: unknown): string[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value) || value.length > STREAMS_MAX) throw badRequest(`streams is a list of at most ${STREAMS_MAX} paths`);
  return [...new Set(value.map((path) => textOf(path, "a path") ?? ""))].sort();
}

export function configOf(body: Record<string, unknown>, allowsLocalhost: boolean): SubscriptionConfig {
  const { type, lease_ttl_ms: lease = LEASE_MS.default } = body;
  if (type !== "webhook" && type !== "pull-wake") throw badRequest("type is webhook or pull-wake");
  if (typeof lease !== "number" || !(lease >= LEASE_MS.min && lease <= LEASE_MS.max)) throw badRequest("lease_ttl_ms is from 1 s to 10 min");
  const config = {
    type,
    pattern: textOf(body["pattern"], "pattern"),
    streams: pathsOf(body["streams"]),
    webhookUrl: type === "webhook" ? textOf((body["webhook"] as { url?: unknown } | undefined)?.url, "webhook.url") : null,
    wakeStream: type === "pull-wake" ? textOf(body["wake_stream"], "wake_stream") : null,
    leaseMs: lease,
    description: textOf(body["description"], "description"),
  } as const;
  if (config.pattern === null && config.streams.length === 0) throw badRequest("a pattern or streams are needed");
  if (type === "webhook" && config.webhookUrl === null) throw badRequest("webhook.url is needed");
  if (type === "pull-wake" && config.wakeStream === null) throw badRequest("wake_stream is needed");
  if (config.webhookUrl !== null) checkWebhook(config.webhookUrl, allowsLocalhost);
  return config;
}

/** https to a public name; http to localhost for development only. An address says nothing of what a name resolves to. */
export function checkWebhook(text: string, allowsLocalhost: boolean): void {
  const refuse = (why: string): never => {
    throw new HttpError(400, "WEBHOOK_URL_REJECTED", why);
  };
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    return refuse("not a URL");
  }
  const host = url.hostname.toLowerCase();
  const isLocalhost = host === "localhost" || /^127\.0\.0\.\d+$/.test(host);
  if (isLocalhost && allowsLocalhost && /^https?:$/.test(url.protocol)) return;
  if (url.protocol !== "https:" || url.username !== "" || url.password !== "") refuse("https and no password");
  const isName = /[a-z]/.test(host) && host.includes(".") && !host.startsWith("[") && !/\.(local|internal|localhost|home|lan)\.?$/.test(host);
  if (!isName && !isPublicAddress(host)) refuse("not a public host");
}

function isPublicAddress(host: string): boolean {
  const [a = -1, b = -1, c, d] = host.split(".").map(Number);
  if (c === undefined || d === undefined || Number.isNaN(a + b + c + d)) return false;
  const isPrivate = a === 0 || a === 10 || a === 127 || a >= 224 || (a === 172 && b >= 16 && b < 32) || (a === 192 && b === 168) ||
    (a === 169 && b === 254) || (a === 100 && b >= 64 && b < 128) || (a === 198 && (b === 18 || b === 19));
  return !isPrivate;
}

/** `*` is one path segment or a part of one, `**` any number of segments. Matched without backtracking over text. */
export function matches(pattern: string, path: string): boolean {
  const wanted = pattern.split("/");
  const given = path.split("/");
  // reach[j]: the pattern so far matches the first j segments.
  let reach = given.map(() => false);
  reach.unshift(true);
  for (const part of wanted) {
    const next = reach.map(() => false);
    for (let j = 0; j <= given.length; j++) {
      if (part === "**") next[j] = reach[j]! || (j > 0 && next[j - 1]!);
      else next[j] = j > 0 && reach[j - 1]! && matchesSegment(part, given[j - 1]!);
    }
    reach = next;
  }
  return reach[given.length]!;
}

function matchesSegment(pattern: string, text: string): boolean {
  const parts = pattern.split("*");
  if (parts.length === 1) return pattern === text;
  const [first, last] = [parts[0]!, parts.at(-1)!];
  if (!text.startsWith(first) || !text.endsWith(last) || text.length < first.length + last.length) return false;
  let at = first.length;
  for (const part of parts.slice(1, -1)) {
    const found = text.indexOf(part, at);
    if (found < 0 || found + part.length > text.length - last.length) return false;
    at = found + part.length;
  }
  return true;
}
