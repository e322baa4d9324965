/** The link's pings, over a wire and timers of the test. */
import { expect, test } from "vitest";
import { makeLog } from "../../src/browser/sync/make-log.ts";
import { TidemarkError } from "../../src/errors.ts";
import { SyncLink } from "../../src/sync/link.ts";
import { World } from "./link-world.ts";

async function liveLink(world: World): Promise<SyncLink> {
  const link = new SyncLink({
    host: world.host,
    url: "http://edge",
    sessions: new Set(),
    changed: () => undefined,
    token: () => undefined,
  });
  link.step({ on: "wanted" });
  await world.pass(0);
  expect(link.state.at).toBe("live");
  world.say("the edge is here");
  await world.pass(5_000);
  return link;
}

test("a thousand hints in two seconds are three pings, and the last hint is answered by one behind it", async () => {
  const world = new World();
  const link = await liveLink(world);
  for (let i = 0; i < 1_000; i++) {
    link.hint();
    await world.pass(2);
  }
  await world.pass(2_000);
  expect(world.pings).toBe(3);
  expect(link.state.at).toBe("live");
});

test("signed out, the link asks again when a page returns, at most once a second, and not for appends", async () => {
  const world = new World();
  let asked = 0;
  let token: string | null = null;
  const host = { ...world.host, token: async () => (asked++, token) };
  const options = { url: "http://edge", sessions: new Set<never>(), changed: () => undefined, token: () => undefined };
  const link = new SyncLink({ host, ...options });
  link.step({ on: "wanted" });
  await world.pass(5_000);
  expect([link.state, asked]).toMatchObject([{ at: "paused", why: "signed-out" }, 1]);
  link.hint();
  await world.pass(5_000);
  expect(asked).toBe(1);
  for (let i = 0; i < 100; i++) {
    link.hint("returned");
    await world.pass(25);
  }
  expect(asked).toBe(4);
  token = "t";
  await world.pass(1_000);
  link.hint("returned");
  await world.pass(0);
  expect(link.state.at).toBe("live");
});

test("the status says why there is no token, and no connection", async () => {
  const world = new World();
  const options = { url: "http://edge", sessions: new Set<never>(), changed: () => undefined, token: () => undefined };
  const linkOf = async (host: object): Promise<SyncLink> => {
    const link = new SyncLink({ host: { ...world.host, ...host }, ...options });
    link.step({ on: "wanted" });
    await world.pass(0);
    return link;
  };
  const down = new TidemarkError("TIMEOUT", "the token function failed: Error: login down");
  const tokenless = await linkOf({ token: () => Promise.reject(down) });
  expect(tokenless.failure?.message).toBe("the token function failed: Error: login down");
  const connect = (): Promise<never> => Promise.reject(new Error("not open"));
  const said = async (status: number): Promise<string | undefined> =>
    (await linkOf({ connect, http: () => Promise.resolve({ status }) })).failure?.message;
  expect(await said(0)).toContain("the edge can't be reached at http://edge: no network, a wrong url");
  expect(await said(401)).toContain("the token");
  expect(await said(404)).toBe(
    "no WebSocket opens, and http://edge answers a request by 404: see the option url of sync",
  );
  expect(await said(503)).toBe("no WebSocket opens, and http://edge answers a request by 503");
});

test("a log that can't be made is told with the address, and what to do about it", async () => {
  const made = (status: number): Promise<void> =>
    makeLog({ http: () => Promise.resolve({ status }) }, "http://edge/foo", { at: "idle" }, "orders", {} as never);
  await made(409);
  await expect(made(404)).rejects.toThrow("no log orders can be made at http://edge/foo: nothing is there (404)");
  await expect(made(403)).rejects.toThrow("the token may not");
  await expect(made(500)).rejects.toThrow("at http://edge/foo: 500");
});

test("a hint within a second of a ping that was answered finds out that the socket has died since", async () => {
  const world = new World();
  const link = await liveLink(world);
  link.hint();
  await world.pass(10);
  world.answers = false;
  link.hint();
  const before = world.connects;
  await world.pass(1_000 + 2_000 + 200);
  expect(world.connects).toBe(before + 1);
});

test("silence of fifty seconds brings a ping, whenever it began; every other message puts it off", async () => {
  const world = new World();
  await liveLink(world);
  for (const ms of [20_000, 49_999]) {
    await world.pass(ms);
    world.say("ping");
  }
  expect(world.pings).toBe(0);
  await world.pass(49_999);
  expect(world.pings).toBe(0);
  await world.pass(1);
  expect(world.pings).toBe(1);
  // Its answer comes after a millisecond.
  await world.pass(50_000);
  expect(world.pings).toBe(1);
  await world.pass(1);
  expect(world.pings).toBe(2);
  // One ping a silence: 16 bytes with its answer, so that an hour of them stays below 2 KiB.
  await world.pass(3_600_000);
  expect(world.pings - 2).toBeLessThanOrEqual(72);
});

test("a WebSocket that brings nothing is left after twenty seconds, and two of them lead to HTTP", async () => {
  const world = new World();
  world.answers = false;
  let overHttp = 0;
  const link = new SyncLink({
    host: { ...world.host, overHttp: async () => (overHttp++, world.host.connect()) },
    url: "http://edge",
    sessions: new Set(),
    changed: () => undefined,
    token: () => undefined,
  });
  link.step({ on: "wanted" });
  await world.pass(19_999);
  expect([world.connects, link.state.at, link.wasHeard]).toEqual([1, "live", false]);
  await world.pass(1_000);
  expect([world.connects, overHttp]).toEqual([2, 0]);
  await world.pass(21_000);
  expect(overHttp).toBe(1);
  // A socket that brings something is left alone for as long as ever.
  world.say("the edge is here");
  const { pings } = world;
  await world.pass(49_999);
  expect([world.pings, overHttp, link.wasHeard]).toEqual([pings, 1, true]);
});

test("a socket that answers no ping is given up ten seconds after it", async () => {
  const world = new World();
  const link = await liveLink(world);
  world.answers = false;
  await world.pass(54_999);
  expect([world.pings, world.connects, link.state.at]).toEqual([1, 1, "live"]);
  await world.pass(5_001);
  expect(world.connects).toBe(2);
});

test("a token that lives for months, or seems to by a wrong clock, is renewed once, in time", async () => {
  const tokenFor = (days: number): string => `.${btoa(JSON.stringify({ iat: 0, exp: days * 86_400 }))}.`;
  for (const [days, waited, renewals] of [
    [90, 0.01, 0],
    [2.5, 2.5, 1],
  ] as const) {
    const world = new World();
    const asked: string[] = [];
    const token = async (reason: string) => (asked.push(reason), tokenFor(days + asked.length / 1e6));
    const options = {
      url: "http://edge",
      sessions: new Set<never>(),
      changed: () => undefined,
      token: () => undefined,
    };
    const link = new SyncLink({ host: { ...world.host, token }, ...options });
    link.step({ on: "wanted" });
    await world.pass(waited * 86_400_000);
    expect([asked, link.state.at]).toEqual([["connect", ...Array<string>(renewals).fill("expiring")], "live"]);
  }
});
