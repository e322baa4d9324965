/**
 * The rule for names of topics in the browser, and for those of views. At the edge a topic's name is a path
 * (worker/wire/paths.ts).
 */
import { refused } from "./check.ts";

/** Kafka's rule. */
const TOPIC_NAME = /^(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}$/;

export function checkTopicName(name: unknown): void {
  if (typeof name !== "string" || !TOPIC_NAME.test(name))
    throw refused("name", name, "1 to 249 of A-Z a-z 0-9 . _ - (and neither . nor ..)");
}
