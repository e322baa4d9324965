/**
 * An edge that takes nothing for now (H22): the tries of an hour are bounded, Retry-After is a floor, and nothing that
 * something between has answered is taken for a verdict about a batch. And a quiet link's pings (H33).
 */
import { describe, expect, it } from "vitest";
import { Background } from "../../src/browser/sync/background.ts";
import { Links } from "../../src/browser/sync/links.ts";
import { type ErrorDetails, TidemarkError } from "../../src/errors.ts";
import type { EdgeSocket } from "../../src/sync/edge-socket.ts";
import { decodeFrame, FrameType, jsonFrame, jsonOf } from "../../src/sync/frames.ts";
import { formatOffset, retryMsOf } from "../../src/sync/http-words.ts";
import { HttpWire } from "../../src/sync/http-wire.ts";
import { type Linked, SyncLink } from "../../src/sync/link.ts";
import { floorOf } from "../../src/sync/pump.ts";
import { classOf } from "../../src/sync/push-answers.ts";
import { Session } from "../../src/sync/session.ts";
import type { SessionOptions } from "../../src/sync/session-options.ts";
import { type SessionEvent, sessionNext, type SessionState } from "../../src/sync/session-state.ts";
import type { TopicStore } from "../../src/sync/topic-store.ts";
import { FOLLOW_BYTES_MAX } from "../../src/sync/window-budget.ts";
import { Random } from "../simulation/prng.ts";
import { World } from "./link-world.ts";

const HOUR = 3_600_000;
const STATUSES = [413, 429, 503, 507];
/** Without a hint: waits of 15 s in the mean, once they have grown. */
const TRIES_MAX = 300;

const REJOINED: readonly SessionEvent[] = [
  { on: "timer" },
  { on: "hello", takesSync: true },
  { on: "verdict", verdict: { row: "11", is: "fine" }, isRepeat: false },
  { on: "level" },
];

function linkIn(world: World, seed = 1): SyncLink {
  const random = new Random(seed);
  const host = { ...world.host, random: () => random.int(1_000) / 1_000 };
  const link = new SyncLink({
    host,
    url: "http://edge",
    sessions: new Set(),
    changed: () => undefined,
    token: () => undefined,
  });
  link.step({ on: "wanted" });
  return link;
}

describe("an edge that takes no socket", () => {
  it.each(STATUSES)(
    "%i without Retry-After: few tries in an hour, and one a second where somebody appends",
    async (status) => {
      const world = new World();
      world.refuses = { status };
      const link = linkIn(world);
      await world.pass(HOUR);
      expect(world.connects).toBeGreaterThan(50);
      expect(world.connects).toBeLessThan(TRIES_MAX);
      const before = world.connects;
      for (let ms = 0; ms < 60_000; ms += 100) {
        link.hint();
        await world.pass(100);
      }
      // A timer may be due between two hints.
      expect(world.connects - before).toBeLessThan(70);
      expect(link.failure).toMatchObject({ code: "CLOSED", message: expect.stringContaining(String(status)) });
      expect(link.state.at).not.toBe("paused");
    },
  );

  it.each(STATUSES)(
    "%i with Retry-After: no try before it, whoever appends or comes back meanwhile",
    async (status) => {
      const world = new World();
      world.refuses = { status, retryMs: 600_000 };
      const link = linkIn(world);
      for (let ms = 0; ms < HOUR; ms += 5_000) {
        link.hint(ms % 2 === 0 ? "hint" : "returned");
        await world.pass(5_000);
      }
      // At 0, and each ten minutes.
      expect(world.connects).toBe(7);
      expect(link.nextTryAt).toBeGreaterThanOrEqual(HOUR);
      world.refuses = undefined;
      await world.pass(600_000);
      expect(link.state.at).toBe("live");
    },
  );
});

it("Retry-After is seconds or a date, at most an hour; what is neither says nothing", () => {
  const now = Date.parse("2026-01-01T00:00:00Z");
  const told = [
    null,
    "",
    "0",
    "7",
    "0.5",
    "-3",
    "soon",
    "1e9",
    "Thu, 01 Jan 2026 00:01:00 GMT",
    "Wed, 31 Dec 2025 00:00:00 GMT",
  ];
  expect(told.map((text) => retryMsOf(text, now))).toEqual([0, 0, 0, 7_000, 500, 0, 0, HOUR, 60_000, 0]);
  // As details of the edge's error. A wait that is no number would end at once, each time.
  const details = [undefined, null, "", 0, 7, "7", -3, "soon", {}, Infinity, 1e9].map((retryAfter) => ({ retryAfter }));
  const floors = details.map((each) => floorOf({ details: each as ErrorDetails }));
  expect(floors).toEqual([0, 0, 0, 0, 7_000, 7_000, 0, 0, 0, HOUR, HOUR]);
});

describe("with Retry-After of half an hour, a link that rests because all tabs are hidden", () => {
  const HALF = HOUR / 2;

  async function resting() {
    const world = new World();
    world.refuses = { status: 503, retryMs: HALF };
    const link = linkIn(world);
    const scene = { hasWork: false, isSeen: false };
    const background = new Background({
      after: world.host.after,
      monotonic: world.host.monotonic,
      link,
      isSeen: async () => scene.isSeen,
      hasWork: () => scene.hasWork,
      keeps: () => false,
    });
    background.hidden();
    await world.pass(60_000);
    expect(link.state).toMatchObject({ at: "paused", why: "hidden" });
    world.refuses = undefined;
    return { world, link, scene, background };
  }

  it("waits for the rest of it once a tab is seen, and connects then", async () => {
    const { world, link, scene, background } = await resting();
    scene.isSeen = true;
    background.seen();
    background.seen();
    expect(link.nextTryAt).toBe(HALF);
    await world.pass(HALF - 60_001);
    expect([world.connects, link.state.at]).toEqual([1, "backoff"]);
    await world.pass(1);
    expect([world.connects, link.state.at]).toEqual([2, "live"]);
  });

  it("rests again if the tab is hidden before that", async () => {
    const { world, link, background } = await resting();
    background.seen();
    background.hidden();
    await world.pass(HOUR);
    expect([world.connects, link.state.at]).toEqual([1, "paused"]);
    background.seen();
    await world.pass(0);
    expect(link.state.at).toBe("live");
  });

  it("does not try before for what is appended, and then does", async () => {
    const { world, scene, background } = await resting();
    scene.hasWork = true;
    background.appended();
    await world.pass(HALF - 60_001);
    expect(world.connects).toBe(1);
    await world.pass(HOUR);
    expect(world.connects).toBeGreaterThan(1);
  });

  it("and a tab that is seen within a second of the last try is not forgotten", async () => {
    const world = new World();
    const link = linkIn(world);
    link.step({ on: "pause", why: "hidden" });
    link.hint("returned");
    await world.pass(999);
    expect(world.connects).toBe(0);
    await world.pass(1);
    expect(link.state.at).toBe("live");
  });
});

it.each([429, 503])("a creation that is refused with %i and Retry-After: the topic waits as long", async (status) => {
  const world = new World();
  const refused = (details: ErrorDetails): TidemarkError => new TidemarkError("UNKNOWN_TOPIC", "no", details);
  const edge = status === 429 ? "TOO_MANY_REQUESTS" : "NOT_FOUND";
  const session = new Session({
    host: { ...world.host, random: () => 0 },
    path: "t",
    store: {
      outboxNote: {} as TopicStore["outboxNote"],
      listen: () => () => undefined,
    } as Partial<TopicStore> as TopicStore,
    create: () => Promise.reject(refused({ edge, status, retryAfter: 120 })),
    changed: () => undefined,
  } as Partial<SessionOptions> as SessionOptions);
  session.attach({ open: () => Promise.reject(refused({ edge: "NOT_FOUND" })) } as Partial<EdgeSocket> as EdgeSocket);
  await world.pass(0);
  expect(session.state).toMatchObject({ at: "retrying", ms: 120_000 });
});

describe("an edge that ends the socket as too slow", () => {
  it("and one that ends it because the device was silent: nothing is halved", async () => {
    const world = new World();
    const link = linkIn(world);
    await world.pass(0);
    world.end(4408, "the client does not answer");
    await world.pass(60_000);
    expect([link.state.at, link.windows.pushes, link.windows.isHalved]).toEqual(["live", 8, false]);
  });

  it("gets half of windows and pushes from then on, each time; they grow again while a connection lives", async () => {
    const world = new World();
    const link = linkIn(world);
    await world.pass(0);
    for (const pushes of [4, 2]) {
      world.end(4429);
      await world.pass(60_000);
      expect([link.state.at, link.windows.pushes]).toEqual(["live", pushes]);
    }
    world.end(1006);
    await world.pass(540_000);
    expect(link.windows.pushes).toBe(2);
    await world.pass(120_000);
    expect(link.windows.pushes).toBe(4);
    await world.pass(600_000);
    expect([link.windows.pushes, link.windows.isHalved]).toEqual([8, false]);
    expect(FOLLOW_BYTES_MAX).toBe(8 * 1024 * 1024);
  });
});

describe("a push that is refused for now", () => {
  it("by the edge's own codes: the session waits, ever longer, and as long as it is told", () => {
    for (const code of ["TOO_MANY_REQUESTS", "QUOTA_EXCEEDED", "BACKPRESSURE", "STORAGE_FAILED", "LIMIT_EXCEEDED"]) {
      expect(classOf(code)).toBe("wait");
      for (const floorMs of [0, 60_000]) {
        const random = new Random(7);
        let [ms, tries] = [0, 0];
        for (let state: SessionState = { at: "catching-up", tries: 0 }; ms < HOUR; tries++) {
          state = sessionNext(state, { on: "failed", code, floorMs }, random.int(1_000) / 1_000, ms);
          if (state.at !== "retrying") throw new Error(state.at);
          ms += state.ms;
          // Nobody else writes: the topic is level at once, and its push is refused again.
          for (const event of REJOINED) state = sessionNext(state, event, 0, ms);
          expect(state.at).toBe("live");
        }
        expect(tries, code).toBeLessThanOrEqual(floorMs > 0 ? 60 : TRIES_MAX);
        expect(tries, code).toBeGreaterThan(50);
      }
    }
  });

  it.each(STATUSES)(
    "%i over HTTP, by something between: the wire ends with its Retry-After, and no batch is blamed",
    async (status) => {
      const heard: unknown[] = [];
      const wire = new HttpWire({
        url: "https://edge",
        token: undefined,
        after: () => () => undefined,
        request: async () => ({
          status,
          header: (name) => (name === "retry-after" ? "120" : null),
          bytes: async () => new TextEncoder().encode("<html>no</html>"),
        }),
      });
      wire.addEventListener("message", (event) => heard.push((event as { data: unknown }).data));
      const ended = new Promise((resolve) => wire.addEventListener("close", resolve));
      wire.send(jsonFrame({ type: FrameType.OPEN, channel: 0 }, { path: "t" }));
      expect(await ended).toEqual({ code: 1006, reason: "120" });
      expect(heard).toEqual([]);
    },
  );

  it("over HTTP, by the edge: an error that says how long", async () => {
    const error = { code: "TOO_MANY_REQUESTS", message: "no", details: { retryAfter: 5 } };
    const heard: unknown[] = [];
    const wire = new HttpWire({
      url: "https://edge",
      token: undefined,
      after: () => () => undefined,
      request: async () => ({
        status: 429,
        header: () => null,
        bytes: async () => new TextEncoder().encode(JSON.stringify({ error })),
      }),
    });
    const told = new Promise((resolve) =>
      wire.addEventListener("message", (event) => resolve(heard.push((event as { data: unknown }).data))),
    );
    wire.send(jsonFrame({ type: FrameType.OPEN, channel: 0 }, { path: "t" }));
    await told;
    const frame = decodeFrame(heard[0])!;
    expect([frame.type, jsonOf(frame)]).toEqual([FrameType.ERROR, error]);
  });

  it.each([
    ["0", [FrameType.PASSED, FrameType.TIDE]],
    ["120", undefined],
    [null, [FrameType.PASSED, FrameType.TIDE]],
  ] as const)(
    "an empty answer over HTTP whose body had %s bytes is a hole only if it was empty",
    async (told, types) => {
      const headers: Record<string, string | null> = {
        "Tidemark-From-Offset": formatOffset(0),
        "Stream-Next-Offset": formatOffset(2),
        "Tidemark-End-Offset": formatOffset(2),
        "Tidemark-Life": "00000000000000aa",
        "Tidemark-Body-Bytes": told,
      };
      const heard: unknown[] = [];
      let asked = 0;
      const wire = new HttpWire({
        url: "https://edge",
        token: undefined,
        after: () => () => undefined,
        async request() {
          if (asked++ > 0) throw new Error("no more");
          return { status: 200, header: (name) => headers[name] ?? null, bytes: async () => new Uint8Array(0) };
        },
      });
      wire.addEventListener("message", (event) => heard.push((event as { data: unknown }).data));
      const ended = new Promise((resolve) => wire.addEventListener("close", resolve));
      wire.send(jsonFrame({ type: FrameType.OPEN, channel: 0 }, { path: "t" }));
      wire.send(jsonFrame({ type: FrameType.FOLLOW, channel: 0, id: 1, credits: 1_000 }, { from: 0 }));
      expect(await ended).toMatchObject({ code: 1006 });
      const frames = heard.flatMap((data) => decodeFrame(data) ?? []).map(({ type }) => type);
      expect(frames.filter((type) => type === FrameType.PASSED || type === FrameType.TIDE)).toEqual(types ?? []);
    },
  );

  it("a wire over HTTP that ended with a Retry-After is not tried again before it", async () => {
    const world = new World();
    const link = linkIn(world);
    await world.pass(0);
    world.end(1006, "120");
    await world.pass(119_000);
    link.hint();
    expect([world.connects, link.state.at]).toEqual([1, "backoff"]);
    await world.pass(2_000);
    expect([world.connects, link.state.at]).toEqual([2, "live"]);
  });
});

it("300 topics that are level cost one ping for each of their two links, as one topic does (H33)", async () => {
  const pings: number[] = [];
  for (const count of [1, 300]) {
    const world = new World();
    const links = new Links({ host: world.host, changed: () => undefined, token: () => undefined });
    links.url = "http://edge";
    const topic = (path: string): Linked => ({ path, attach() {}, detach() {}, renewed() {} });
    for (let i = 0; i < count; i++) links.add(topic(`t${i}`));
    links.step({ on: "wanted" });
    await world.pass(HOUR);
    expect([links.state.at, world.sent.filter((sent) => sent !== "ping")]).toEqual(["live", []]);
    pings.push(world.pings);
  }
  expect(pings[0]).toBeGreaterThan(60);
  expect(pings[1]).toBe(2 * pings[0]!);
});
