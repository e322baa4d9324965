/**
 * A path whose stream is deleted or expires, and gets a new stream: subscriptions and forks that knew the old stream by
 * its path must treat the new one as another stream.
 */
import { evictDurableObject, runInDurableObject } from "cloudflare:test";
import { describe, expect, it } from "vitest";
import { objectName } from "../../worker/rpc/stubs.ts";
import type { Peer } from "../../worker/rpc/fork-peer.ts";
import { type SubscriptionPeer, subscriptionsOf } from "../../worker/rpc/subscription-peer.ts";
import { call as rawCall, inside, objectOf, real } from "./archive-tools.ts";
import { offsetText } from "./sse-reader.ts";

const JSON_TYPE = { "content-type": "application/json" };
let names = 0;
const fresh = (): string => `anew/${++names}`;
const call = (path: string, method: string, headers: Record<string, string> = {}, body?: string): Promise<Response> =>
  rawCall(path, method, { ...JSON_TYPE, ...headers }, body);
const subscriptions = (): SubscriptionPeer => subscriptionsOf(real, "dev");

async function make(path: string, records: number, headers: Record<string, string> = {}): Promise<void> {
  const body = JSON.stringify(Array.from({ length: records }, (_, i) => i));
  expect((await call(path, "PUT", headers, records > 0 ? body : undefined)).status).toBe(201);
}

/** Makes a pull-wake subscription with a wake stream of its own. */
async function subscribe(of: { streams?: string[]; pattern?: string }): Promise<{ id: string; wakes: string }> {
  const [id, wakes] = [`s${++names}`, `wakes/${++names}`];
  await make(wakes, 0);
  expect(
    (
      await call(
        `__ds/subscriptions/${id}`,
        "PUT",
        {},
        JSON.stringify({ type: "pull-wake", wake_stream: wakes, ...of }),
      )
    ).status,
  ).toBe(201);
  return { id, wakes };
}

interface Linked {
  readonly path: string;
  readonly acked_offset: string;
  readonly tail_offset: string;
  readonly has_pending: boolean;
}
interface Claim {
  readonly wake_id: string;
  readonly generation: number;
  readonly token: string;
  readonly streams: Linked[];
}

const claim = async (id: string): Promise<Claim> =>
  (await (await call(`__ds/subscriptions/${id}/claim`, "POST", {}, '{"worker":"w"}')).json()) as Claim;
const ack = ({ wake_id, generation, token }: Claim, id: string, acks: object[], done = true): Promise<Response> =>
  call(
    `__ds/subscriptions/${id}/ack`,
    "POST",
    { authorization: `Bearer ${token}` },
    JSON.stringify({ wake_id, generation, acks, done }),
  );

/** Waits until the wake stream has `count` events. Returns the streams that they name. */
async function woken(wakes: string, count: number): Promise<string[]> {
  for (;;) {
    const events = (await (await call(wakes, "GET")).json()) as { stream: string }[];
    if (events.length >= count) return events.map(({ stream }) => stream);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** A subscription that has acknowledged all five records of a stream. */
async function acknowledged(path: string, of: object, headers: Record<string, string> = {}) {
  await make(path, 0, headers);
  const subscription = await subscribe(of);
  expect((await call(path, "POST", {}, "[1,2,3,4,5]")).status).toBe(204);
  expect(await woken(subscription.wakes, 1)).toEqual([path]);
  const first = await claim(subscription.id);
  expect((await ack(first, subscription.id, [{ stream: path, offset: offsetText(5) }])).status).toBe(200);
  return subscription;
}

async function expectFollowed({ id, wakes }: { id: string; wakes: string }, path: string, tail: number): Promise<void> {
  expect((await woken(wakes, 2))[1]).toBe(path);
  const { streams, ...rest } = await claim(id);
  expect(streams.filter((stream) => stream.path === path)).toEqual([
    {
      path,
      link_type: expect.any(String),
      acked_offset: offsetText(0),
      tail_offset: offsetText(tail),
      has_pending: true,
    },
  ]);
  expect((await ack({ streams, ...rest }, id, [{ stream: path, offset: offsetText(tail) }])).status).toBe(200);
  expect((await claim(id)).streams.find((stream) => stream.path === path)).toMatchObject({
    acked_offset: offsetText(tail),
    has_pending: false,
  });
}

describe("a subscription follows the stream that is made anew", () => {
  it.each([
    ["named", (path: string) => ({ streams: [path] })],
    ["by a pattern", (path: string) => ({ pattern: `${path.slice(0, -1)}*` })],
  ])("%s", async (_, of) => {
    const path = `${fresh()}/x`;
    const subscription = await acknowledged(path, of(path));
    expect((await call(path, "DELETE")).status).toBe(204);
    await make(path, 3);
    expect((await call(path, "POST", {}, '["d"]')).status).toBe(204);
    await expectFollowed(subscription, path, 4);
  });

  it("behind one that has expired, through sleep", async () => {
    const path = fresh();
    const subscription = await acknowledged(
      path,
      { streams: [path] },
      { "stream-expires-at": new Date(Date.now() + 1_500).toISOString() },
    );
    while ((await call(path, "HEAD")).status !== 404) await new Promise((resolve) => setTimeout(resolve, 10));
    await evictDurableObject(objectOf(path));
    await make(path, 0);
    await evictDurableObject(objectOf(path));
    expect((await call(path, "POST", {}, '["a"]')).status).toBe(204);
    await expectFollowed(subscription, path, 1);
  });

  it("as a fork: what it has from its source is pending, too", async () => {
    const [path, source] = [fresh(), fresh()];
    const subscription = await acknowledged(path, { streams: [path] });
    await make(source, 2);
    expect((await call(path, "DELETE")).status).toBe(204);
    expect((await call(path, "PUT", { "stream-forked-from": `/v1/stream/${source}` })).status).toBe(201);
    await expectFollowed(subscription, path, 2);
  });

  it("the wake that was under way is fenced: its offsets are the other stream's", async () => {
    const [path, other] = [fresh(), fresh()];
    await make(other, 0);
    await make(path, 0);
    const { id, wakes } = await subscribe({ streams: [path, other] });
    await call(path, "POST", {}, "[1,2]");
    await woken(wakes, 1);
    const held = await claim(id);
    expect((await call(path, "DELETE")).status).toBe(204);
    await make(path, 3);
    const late = await ack(held, id, [{ stream: path, offset: offsetText(2) }]);
    expect([late.status, ((await late.json()) as { error: { code: string } }).error.code]).toEqual([409, "FENCED"]);
    expect((await claim(id)).streams.find((stream) => stream.path === path)).toMatchObject({
      acked_offset: offsetText(0),
      tail_offset: offsetText(3),
      has_pending: true,
    });
    // A stream at a path that had none before fences no wake.
    const { id: second, wakes: events } = await subscribe({ streams: [other, "anew/later"] });
    await call(other, "POST", {}, "[1]");
    await woken(events, 1);
    const present = await claim(second);
    await make("anew/later", 1);
    expect((await ack(present, second, [{ stream: other, offset: offsetText(1) }])).status).toBe(200);
  });

  it("when news of the old stream come late, and when its end was never reported", async () => {
    const path = fresh();
    const subscription = await acknowledged(path, { streams: [path] });
    const id = await inside(
      path,
      (_, { storage: { sql } }) =>
        (
          JSON.parse(String(sql.exec("SELECT value FROM meta WHERE key = 'config'").toArray()[0]!["value"])) as {
            id: string;
          }
        ).id,
    );
    expect((await call(path, "DELETE")).status).toBe(204);
    await make(path, 3);
    await subscriptions().moved("dev", { path, id, tail: 9 });
    await subscriptions().removed(path, id);
    await expectFollowed(subscription, path, 3);
    // When the news of a creation were lost, the first append makes the stream known.
    const other = fresh();
    const named = await subscribe({ streams: [other] });
    await make(other, 2);
    await woken(named.wakes, 1);
    await runInDurableObject(
      real.SUBSCRIPTIONS.get(real.SUBSCRIPTIONS.idFromName(objectName("dev", ""))) as never,
      (_: unknown, state: { storage: { sql: { exec(query: string, ...values: unknown[]): unknown } } }) => {
        state.storage.sql.exec("UPDATE identity SET id = 'another' WHERE path = ?", other);
        state.storage.sql.exec("UPDATE link SET acked = 7 WHERE path = ?", other);
      },
    );
    await call(other, "POST", {}, "[3]");
    await woken(named.wakes, 2);
    expect((await claim(named.id)).streams).toMatchObject([
      { path: other, acked_offset: offsetText(0), tail_offset: offsetText(3) },
    ]);
  });

  it("a stream that is gone is linked by no pattern", async () => {
    const path = `${fresh()}/gone`;
    await make(path, 1);
    expect((await call(path, "DELETE")).status).toBe(204);
    const { id } = await subscribe({ pattern: path.replace("gone", "*") });
    expect((await claim(id)).streams).toEqual([]);
  });
});

describe("a fork and its source", () => {
  const peer = (path: string): Peer => objectOf(path) as Peer;

  it("a new stream at the source's path is not the fork's source", async () => {
    const [source, fork] = [fresh(), fresh()];
    await make(source, 3);
    expect((await call(fork, "PUT", { "stream-forked-from": `/v1/stream/${source}` })).status).toBe(201);
    await call(fork, "POST", {}, '["own"]');
    expect(await (await call(fork, "GET")).json()).toEqual([0, 1, 2, "own"]);
    // As if the source had lost its note of the fork. Then it is deleted at once.
    await peer(source).releaseFork(fork, (await idOf(fork))!);
    expect((await call(source, "DELETE")).status).toBe(204);
    await make(source, 5);
    // A fork of the fork learns of it from there.
    const second = fresh();
    expect((await call(second, "PUT", { "stream-forked-from": `/v1/stream/${fork}` })).status).toBe(201);
    for (const path of [fork, second]) {
      for (const accept of ["application/json", "application/vnd.tidemark.batches"]) {
        const response = await call(`${path}?offset=${offsetText(1)}`, "GET", { accept });
        const { headers, status } = response;
        const { error } = (await response.json()) as { error: { details: object } };
        expect([status, headers.get("tidemark-error"), headers.get("stream-next-offset"), error.details]).toEqual([
          410,
          "OFFSET_OUT_OF_RANGE",
          offsetText(3),
          { offset: 1, logStartOffset: 3, logEndOffset: 4 },
        ]);
      }
      expect(await (await call(`${path}?offset=${offsetText(3)}`, "GET")).json()).toEqual(["own"]);
      // From now on it begins there, also when it has slept.
      await evictDurableObject(objectOf(path) as never);
      expect((await call(path, "HEAD")).headers.get("tidemark-start-offset")).toBe(offsetText(3));
      expect(await (await call(path, "GET")).json()).toEqual(["own"]);
    }
  });

  it("the end of an earlier fork releases no later one of the same path", async () => {
    const [source, fork] = [fresh(), fresh()];
    await make(source, 2);
    expect((await call(fork, "PUT", { "stream-forked-from": `/v1/stream/${source}` })).status).toBe(201);
    const earlier = (await idOf(fork))!;
    expect((await call(fork, "DELETE")).status).toBe(204);
    expect((await call(fork, "PUT", { "stream-forked-from": `/v1/stream/${source}` })).status).toBe(201);
    // The same call again, late.
    await peer(source).releaseFork(fork, earlier);
    expect((await call(source, "DELETE")).status).toBe(204);
    expect(await (await call(fork, "GET")).json()).toEqual([0, 1]);
    expect(await peer(fork).isForkOf(source, "another")).toBe(false);
  });

  const idOf = (path: string): Promise<string | undefined> =>
    inside(
      path,
      (_, { storage: { sql } }) =>
        (
          JSON.parse(String(sql.exec("SELECT value FROM meta WHERE key = 'config'").toArray()[0]!["value"])) as {
            id?: string;
          }
        ).id,
    );
});
