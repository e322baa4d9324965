/** Checks of a page's options for a topic and for an append, and the page's own options with their defaults. */
import { type Check, checkOptions, oneOf } from "../../topic/check.ts";
import { checkTopicName } from "../../topic/names.ts";
import { APPEND_OPTIONS, BATCH_BYTES, PRODUCER_OPTIONS, TYPING } from "../../topic/options.ts";
import { checkSerializer } from "../../topic/serializer.ts";
import { SETTING_NAMES, settingsOf } from "../../topic/settings.ts";
import type { EventTypes } from "../../typed/events.ts";
import type { TypedOptions } from "../../typed/typing.ts";
import type { TopicOptions } from "../api.ts";

const IN_FLIGHT_BYTES_MAX = 16 * 1024 * 1024;

const acks = oneOf("accepted", "written", "flushed", "replicated");
export const PAGE_APPEND_OPTIONS = { ...APPEND_OPTIONS, acks };
/**
 * Only reads `~calls`, which the topic takes at once, so that a getter that throws is told here. typing.ts checks all.
 */
const typing: Check = (_, value) => void (Object(value) as EventTypes)["~calls"];
const TOPIC_OPTIONS = {
  ...PRODUCER_OPTIONS,
  acks,
  serializer: checkSerializer,
  ...Object.fromEntries(TYPING.map((name) => [name, typing])),
  ...Object.fromEntries(
    SETTING_NAMES.map((name) => [name, (_: string, value: unknown) => settingsOf({ [name]: value })]),
  ),
};

/** Checks a topic's name and the page's own options. settingsOf checks the settings that the log gets. */
export function checkTopic(name: unknown, options: unknown): void {
  checkTopicName(name);
  checkOptions("topic()", options, TOPIC_OPTIONS);
}

export type AnyTopicOptions = TopicOptions<never> & Partial<TypedOptions>;

/** The page's own options with their defaults. A page can't have the same topic twice with different ones. */
export function ownOptions({
  serializer = "json",
  codec = "none",
  acks = "flushed",
  batchBytes = BATCH_BYTES,
  inFlightBytesMax = IN_FLIGHT_BYTES_MAX,
  ...more
}: AnyTopicOptions) {
  const typing = Object.fromEntries(TYPING.map((name) => [name, more[name]])) as Pick<
    typeof more,
    (typeof TYPING)[number]
  >;
  return { serializer, codec, acks, batchBytes, inFlightBytesMax, ...typing };
}

export type Own = ReturnType<typeof ownOptions>;
