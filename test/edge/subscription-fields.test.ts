/**
 * Fields of a wrong kind in the bodies of subscription calls, inside workerd: each is refused by its name, and nothing
 * is changed.
 */
import { beforeAll, describe, expect, it } from "vitest";
import {
  admin,
  ask,
  at,
  type Claim,
  claimed,
  codeOf,
  cursorOf,
  messageOf,
  prepare,
  ROOT,
  subscribed,
} from "./subscription-access.ts";

beforeAll(prepare);

/** Values that no field takes, but for those that a case lists as fine. */
const WRONG: readonly unknown[] = [
  null,
  0,
  -1,
  1.5,
  true,
  "",
  "x".repeat(2_000),
  "\ud800",
  [],
  [null],
  {},
  { toString: 1 },
  "__proto__",
];
type Case = readonly [
  call: string,
  field: string,
  body: (value: unknown, wake: Claim, id: string) => unknown,
  fine: readonly unknown[],
];
const CASES: readonly Case[] = [
  ["claim", "worker", (worker) => ({ worker }), ["__proto__"]],
  ["ack", "wake_id", (wake_id, { generation }) => ({ wake_id, generation }), ["__proto__"]],
  ["ack", "generation", (generation, { wake_id }) => ({ wake_id, generation }), [0]],
  ["ack", "done", (done, { wake_id, generation }) => ({ wake_id, generation, done }), [null, true]],
  ["ack", "acks", (acks, { wake_id, generation }) => ({ wake_id, generation, acks }), [null, []]],
  ["ack", "acks[0]", (ack, { wake_id, generation }) => ({ wake_id, generation, acks: [ack] }), []],
  [
    "ack",
    "acks[0].stream",
    (stream, { wake_id, generation }) => ({ wake_id, generation, acks: [{ stream, offset: at(1) }] }),
    [],
  ],
  [
    "ack",
    "acks[0].offset",
    (offset, { wake_id, generation }, id) => ({ wake_id, generation, acks: [{ stream: `in-${id}`, offset }] }),
    [],
  ],
  ["streams", "streams", (streams) => ({ streams }), [null, [], "__proto__"]],
  ["streams", "streams[0]", (path) => ({ streams: [path] }), ["__proto__"]],
];

const PULL = { type: "pull-wake", wake_stream: "w", streams: ["a"] };
/** Configurations with one wrong field, and how the message names it. */
const PUTS: readonly (readonly [field: string, body: unknown])[] = [
  ["type", { ...PULL, type: "constructor" }],
  ["pattern", { ...PULL, pattern: 5 }],
  ["streams", { ...PULL, streams: { length: 1 } }],
  ["streams[1]", { ...PULL, streams: ["a", 7] }],
  ["streams[0]", { ...PULL, streams: ["a\u0000b"] }],
  ["wake_stream", { ...PULL, wake_stream: ["w"] }],
  ["wake_stream", { ...PULL, wake_stream: null }],
  ["lease_ttl_ms", { ...PULL, lease_ttl_ms: "5000" }],
  ["lease_ttl_ms", { ...PULL, lease_ttl_ms: 1e9 }],
  ["lease_ttl_ms", { ...PULL, lease_ttl_ms: 1000.5 }],
  ["description", { ...PULL, description: {} }],
  ["webhook", { type: "webhook", streams: ["a"], webhook: null }],
  ["webhook", { type: "webhook", streams: ["a"], webhook: "https://example.com" }],
  ["webhook.url", { type: "webhook", streams: ["a"], webhook: { url: 5 } }],
  ["pattern and streams", { ...PULL, streams: [] }],
  ["the body", []],
  ["the body", "nonsense"],
  ["the body", "null"],
  // A stream whose name is no UTF-8 would be another one.
  [
    "the body is not UTF-8",
    Uint8Array.from(JSON.stringify({ ...PULL, streams: ["\xff"] }), (each) => each.charCodeAt(0)),
  ],
];

describe("fields of a wrong kind", () => {
  it.each(CASES)("POST …/%s: %s is refused by name, and changes nothing", async (call, field, bodyWith, fine) => {
    const id = await subscribed();
    const wake = await claimed(id);
    for (const value of WRONG) {
      if (fine.some((each) => JSON.stringify(each) === JSON.stringify(value))) continue;
      const token = call === "ack" ? wake.token : admin;
      const response = await ask("POST", `${ROOT}/${id}/${call}`, token, bodyWith(value, wake, id));
      expect([field, value, response.status]).toEqual([field, value, 400]);
      expect(await messageOf(response)).toContain(field);
    }
    expect(await cursorOf(id)).toBe(at(1));
  });

  it.each(PUTS)("PUT: %s is refused by name", async (field, body) => {
    const response = await ask("PUT", `${ROOT}/wrong`, admin, body);
    expect(response.status).toBe(400);
    expect(await messageOf(response)).toContain(field);
    expect((await ask("GET", `${ROOT}/wrong`, admin)).status).toBe(404);
  });

  it("a body that is too large is 413 before it is parsed", async () => {
    const response = await ask("PUT", `${ROOT}/large`, admin, `{"streams":[${"{},".repeat(1_000_000)}{}]}`);
    expect([response.status, await codeOf(response)]).toEqual([413, "TOO_LARGE"]);
  });
});
