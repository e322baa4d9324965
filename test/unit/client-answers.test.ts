/**
 * What the client makes of answers that are not the edge's, or that a proxy has changed on their way, and of names and
 * times at the ends of what is allowed. `fetch` is the caller's, so that each answer is exactly the one of the case.
 */
import { describe, expect, it } from "vitest";
import { connect, type ConnectOptions, type TidemarkError } from "../../src/client/index.ts";

type Answer = () => Response;
const page: Answer = () => new Response("<html>Log in</html>", { status: 200 });
/** The answer to a GET, which a redirect of 301 or 302 makes of a POST. */
const redirected: Answer = () =>
  new Response("[]", { headers: { "stream-next-offset": `${"0".repeat(16)}_${"0".repeat(16)}` } });

function topicOf(answer: Answer, options: ConnectOptions = {}) {
  const fetch = (): Promise<Response> => Promise.resolve(answer());
  return connect("http://edge.invalid", { transport: "http", timeoutMs: 150, fetch, ...options }).topic("t");
}

describe("a success that no edge has sent", () => {
  it.each([
    ["create()", (topic) => topic.create(), page],
    ["end()", (topic) => topic.end(), page],
    ["end(), redirected", (topic) => topic.end(), redirected],
    ["trim()", (topic) => topic.trim(1), page],
    ["trim(), redirected", (topic) => topic.trim(1), redirected],
    ["delete()", (topic) => topic.delete(), page],
    ["state()", (topic) => topic.state(), page],
  ] as const satisfies readonly [string, (topic: ReturnType<typeof topicOf>) => Promise<unknown>, Answer][])(
    "%s is CLOSED, and not done",
    async (_, call, answer) => {
      await expect(call(topicOf(answer))).rejects.toMatchObject({ code: "CLOSED", details: { reason: "network" } });
    },
  );

  it("a read that follows outlasts it", async () => {
    const errors: string[] = [];
    let asked = 0;
    const topic = topicOf(
      () => {
        const headers = { "stream-next-offset": `${"0".repeat(16)}_${"0".repeat(16)}`, "stream-closed": "true" };
        return ++asked < 3 ? page() : new Response(null, { headers: { ...headers, "stream-up-to-date": "true" } });
      },
      { onRetry: ({ details }) => errors.push(String(details["reason"])) },
    );
    for await (const _ of topic.read({ from: 0, follow: true })) throw new Error("there is no record");
    expect([asked, errors]).toEqual([3, ["network", "network"]]);
  });
});

it("an export of a damaged answer is CORRUPT_RANGE with the offsets", async () => {
  const offset = (n: number): string => `${String(n).padStart(16, "0")}_${"0".repeat(16)}`;
  const headers = { "tidemark-start-offset": offset(0), "stream-next-offset": offset(3), "stream-up-to-date": "true" };
  const topic = topicOf(() => new Response(new Uint8Array(70), { headers }));
  await expect(topic.export().next()).rejects.toMatchObject({ code: "CORRUPT_RANGE", details: { from: 0, to: 3 } });
});

describe("errors", () => {
  it.each([
    '{"error":{"code":503,"message":"upstream"}}',
    '{"error":{"code":"UNAVAILABLE"}}',
    '{"error":"busy"}',
    "null",
  ])("of something between (%s) are tried again", async (body) => {
    let asked = 0;
    const last = { status: 403, headers: { "tidemark-error": "FORBIDDEN" } };
    const answer: Answer = () => (++asked === 1 ? new Response(body, { status: 503 }) : new Response(null, last));
    const topic = topicOf(answer, { timeoutMs: 60_000 });
    await expect(topic.append({ value: 1 })).rejects.toThrow();
    expect(asked).toBeGreaterThan(1);
  });

  it.each(["CORRUPT_RANGE", "CORRUPT_CATALOG"])(
    "%s of the edge lasts: each call, and a read that follows, says it at once",
    async (code) => {
      const headers = { "tidemark-error": code };
      const error = { code, message: "what is stored is damaged", kind: "stop", details: { from: 5, to: 6 } };
      const topic = topicOf(() => Response.json({ error }, { status: 500, headers }), { timeoutMs: 60_000 });
      const told = { code, details: { from: 5, to: 6, edge: code } };
      for (const follow of [false, true])
        await expect(topic.read({ from: 5, to: 7, follow }).next()).rejects.toMatchObject(told);
      await expect(topic.state()).rejects.toMatchObject(told);
      await expect(topic.append({ value: 1 })).rejects.toMatchObject(told);
    },
  );

  it.each([
    ["seconds", "7", 7_000],
    ["a date", new Date(Date.now() + 60_000).toUTCString(), 50_000],
    ["more than a timer holds", "3000000", 3_600_000],
  ])("Retry-After as %s is waited for, the edge's and a proxy's", async (_, after, least) => {
    for (const edge of [{ "tidemark-error": "CLOSED" }, {}]) {
      let asked = 0;
      const pauses: number[] = [];
      const answer: Answer = () => (
        asked++,
        new Response(null, { status: 503, headers: { "retry-after": after, ...edge } })
      );
      const topic = topicOf(answer, { onRetry: (_, pauseMs) => pauses.push(pauseMs) });
      await expect(topic.state()).rejects.toMatchObject({ code: "TIMEOUT" });
      expect([asked, pauses.length, pauses[0]! >= least]).toEqual([1, 1, true]);
    }
  });

  it("a Retry-After that says nothing is none", async () => {
    const pauses: number[] = [];
    const headers = { "tidemark-error": "CLOSED", "retry-after": "soon" };
    const topic = topicOf(() => new Response(null, { status: 503, headers }), {
      onRetry: (_, pauseMs) => pauses.push(pauseMs),
    });
    await expect(topic.state()).rejects.toMatchObject({ code: "TIMEOUT" });
    expect(pauses.every((ms) => ms >= 25)).toBe(true);
  });
});

describe("ends of what is allowed", () => {
  it("a time that no timer holds is a long one", async () => {
    const timeoutMs = Number.MAX_VALUE;
    const missing = (): Response => new Response(null, { status: 404, headers: { "tidemark-error": "NOT_FOUND" } });
    const later = (): Promise<Response> => new Promise((resolve) => setTimeout(() => resolve(missing()), 20));
    expect(await topicOf(missing, { timeoutMs, fetch: later }).state()).toBeUndefined();
  });

  it("an address below which there is no edge is no topic that is still to come: a read says so", async () => {
    const error = { code: "NOT_FOUND", message: "there is nothing", kind: "fix", details: { reason: "address" } };
    const headers = { "tidemark-error": "NOT_FOUND" };
    const nowhere = (): Response => Response.json({ error }, { status: 404, headers });
    const missing = (): Response => Response.json({ error: { ...error, details: {} } }, { status: 404, headers });
    for (const follow of [false, true])
      await expect(topicOf(nowhere).read({ follow }).next()).rejects.toMatchObject({
        code: "INVALID_ARGUMENT",
        details: { field: "url" },
      });
    expect(await topicOf(missing).read().next()).toEqual({ done: true, value: undefined });
  });

  it.each(["..", ".", "a/..", "../a", "a/../b", "a/./b"])(
    "%s is no name: what is sent to it goes elsewhere",
    (name) => {
      const edge = connect("http://edge.invalid");
      expect(() => edge.topic(name)).toThrow(
        expect.objectContaining({ code: "INVALID_ARGUMENT" } satisfies Partial<TidemarkError>),
      );
      expect(edge.topic(name.replace(/\.+/, "...")).name).toContain("...");
    },
  );
});
