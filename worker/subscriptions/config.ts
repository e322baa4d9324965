/** Subscriptions in the protocol's words: what a configuration may say. No state, no I/O. */
import { type Fields, listField, numberField, objectField, optionalText, quoted, textField } from "../wire/fields.ts";
import { badRequest } from "../errors.ts";
import { checkPath } from "../wire/paths.ts";
import { matches } from "../wire/patterns.ts";
import { checkWebhook } from "./webhook-address.ts";

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
export const PATH_CHARS_MAX = 1_024;
const TEXT_MAX = 1_024;

export function pathsOf(value: unknown): string[] {
  const paths = listField(value, "streams", STREAMS_MAX).map((path, i) =>
    checkPath(textField(path, `streams[${i}]`, PATH_CHARS_MAX), `streams[${i}]`),
  );
  return [...new Set(paths)].sort();
}

export function configOf(body: Fields, allowsLocalhost: boolean): SubscriptionConfig {
  const { type, lease_ttl_ms: lease } = body;
  if (type !== "webhook" && type !== "pull-wake")
    throw badRequest(`type is ${quoted(type)}; it must be "webhook" or "pull-wake"`);
  const config = {
    type,
    pattern: optionalText(body["pattern"], "pattern", TEXT_MAX),
    streams: pathsOf(body["streams"]),
    webhookUrl:
      type === "webhook" ? textField(objectField(body["webhook"], "webhook")["url"], "webhook.url", TEXT_MAX) : null,
    wakeStream:
      type === "pull-wake"
        ? checkPath(textField(body["wake_stream"], "wake_stream", PATH_CHARS_MAX), "wake_stream")
        : null,
    leaseMs: lease === undefined || lease === null ? LEASE_MS.default : numberField(lease, "lease_ttl_ms", LEASE_MS),
    description: optionalText(body["description"], "description", TEXT_MAX),
  } as const;
  if (config.pattern === null && config.streams.length === 0)
    throw badRequest("pattern and streams are both absent; give one of them to say which streams are meant");
  if (config.webhookUrl !== null) checkWebhook(config.webhookUrl, allowsLocalhost);
  if (config.pattern !== null && config.wakeStream !== null && matches(config.pattern, config.wakeStream)) {
    throw badRequest(
      `pattern is ${quoted(config.pattern)}, which matches wake_stream ${quoted(config.wakeStream)}; ${NO_CIRCLE}`,
    );
  }
  checkStreams(config, config.streams, "streams");
  return config;
}

const NO_CIRCLE = "it must not be a stream that is subscribed to, because each wake would cause the next";

/** A subscription must not watch its own wake stream, by its configuration or by a later link. */
export function checkStreams(
  { wakeStream }: Pick<SubscriptionConfig, "wakeStream">,
  streams: readonly string[],
  name: string,
): void {
  if (wakeStream !== null && streams.includes(wakeStream))
    throw badRequest(`${name} has wake_stream ${quoted(wakeStream)}; ${NO_CIRCLE}`);
}
