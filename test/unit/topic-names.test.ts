/** Names of topics and of their logs. */
import { expect, test } from "vitest";
import { LOG_NAME_BYTES_MAX } from "../../src/store/slot-layout.ts";
import { logName, topicName } from "../../src/topic/log-names.ts";
import { checkTopicName } from "../../src/topic/names.ts";

test.each(["a", "a.b", "..a", "...", "orders-0", "A_z-9.", "x".repeat(249)])("%j is a topic's name", (name) => {
  checkTopicName(name);
  expect(logName(name)).toBe(`${name}-0`);
  expect(topicName(logName(name))).toBe(name);
});

test.each(["", ".", "..", "a b", "a/b", "ä", "a\n", "x".repeat(250), 7, null, undefined])("%j is none", (name) => {
  expect(() => checkTopicName(name)).toThrow(
    expect.objectContaining({ code: "INVALID_ARGUMENT", details: expect.objectContaining({ field: "name" }) }),
  );
});

test("a further partition's log is the same topic's, and the longest name leaves room for its number", () => {
  expect(topicName("orders-12")).toBe("orders");
  expect(topicName("orders-0-12")).toBe("orders-0");
  expect("x".repeat(249).length + "-99999".length).toBeLessThanOrEqual(LOG_NAME_BYTES_MAX);
});
