/** Token functions of `tidemark/client` that do not answer, by a clock that is turned by hand. */
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { connect } from "../../src/client/index.ts";

beforeEach(() => void vi.useFakeTimers({ toFake: ["performance", "setTimeout", "clearTimeout"] }));
afterEach(() => void vi.useRealTimers());

/** A client whose first `silent` calls for a token are never answered. */
function clientOf(silent: number) {
  const seen = { asked: [] as string[], sent: [] as unknown[] };
  const token = (reason: string): Promise<string> => {
    seen.asked.push(reason);
    return seen.asked.length <= silent ? new Promise(() => undefined) : Promise.resolve("t");
  };
  const fetch = async (_: string, { headers }: RequestInit): Promise<Response> => {
    seen.sent.push((headers as Record<string, string>)["authorization"]);
    const next = "0000000000000000_0000000000000000";
    const found = { "stream-next-offset": next, "tidemark-start-offset": next, "stream-up-to-date": "true" };
    return new Response(null, { headers: found });
  };
  return { seen, edge: connect("https://edge.example", { fetch, token, transport: "http" }) };
}

it("one that never answers has failed after ten seconds, and the next try asks again", async () => {
  const { edge, seen } = clientOf(1);
  const state = edge.topic("t").state();
  await vi.advanceTimersByTimeAsync(9_999);
  expect(seen).toEqual({ asked: ["connect"], sent: [] });
  await vi.advanceTimersByTimeAsync(201);
  expect(await state).toMatchObject({ logEndOffset: 0 });
  expect(seen).toEqual({ asked: ["connect", "connect"], sent: ["Bearer t"] });
});

it("a call ends as TIMEOUT that names the token function; an append was not sent, and says so", async () => {
  const { edge, seen } = clientOf(Infinity);
  const calls = [edge.topic("t").state(), edge.topic("u").append({ value: 1 })].map((call) =>
    call.catch((thrown: unknown) => thrown),
  );
  await vi.advanceTimersByTimeAsync(30_000);
  for (const error of await Promise.all(calls))
    expect(error).toMatchObject({
      code: "TIMEOUT",
      message: expect.stringContaining("the token function failed") as string,
      details: { reason: "token" },
    });
  expect([seen.asked.length, seen.sent]).toEqual([3, []]);
});
