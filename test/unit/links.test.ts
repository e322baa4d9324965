/** Many topics of a tide are carried by several links, which are one to the tide (src/browser/sync/links.ts). */
import { describe, expect, it } from "vitest";
import { Links } from "../../src/browser/sync/links.ts";
import { tideStatus } from "../../src/browser/sync/sync-status.ts";
import type { Wire } from "../../src/sync/edge-socket.ts";
import type { Linked } from "../../src/sync/link.ts";
import { TOPICS_MAX } from "../../src/sync/window-budget.ts";

class Carried implements Linked {
  isAttached = false;
  constructor(readonly path: string) {}
  attach(): void {
    this.isAttached = true;
  }
  renewed(): void {}
  detach(): void {
    this.isAttached = false;
  }
}

async function settled(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await Promise.resolve();
}

/** `opens`: how many sockets the edge takes; the others are refused. */
function stage(opens = Infinity, isPaused = false) {
  const closes: ((event: { code: number; reason: string }) => void)[] = [];
  const hears: ((event: { data: unknown }) => void)[] = [];
  let asked = 0;
  const connect = (): Promise<Wire> => {
    if (++asked > opens) return Promise.reject(new Error("refused"));
    const addEventListener = (type: string, listener: never): void =>
      void (type === "close" ? closes : hears).push(listener);
    return Promise.resolve({ send: () => undefined, close: () => undefined, addEventListener } as Wire);
  };
  const links = new Links({
    host: {
      now: () => 1_000,
      monotonic: () => 0,
      random: () => 0.5,
      after: () => () => undefined,
      connect,
      http: () => Promise.resolve({ status: 0 }),
      token: () => Promise.resolve(undefined),
      proveTerm: () => Promise.resolve(),
    },
    changed: () => undefined,
    token: () => undefined,
  });
  links.url = "https://edge.example";
  links.begin([{ paused: isPaused }]);
  const topics = Array.from({ length: 300 }, (_, i) => new Carried(`t${i}`));
  return { links, topics, closes, hears };
}

describe("300 topics (H33)", () => {
  it("are carried by two links, each within what a socket takes; a place given back is taken first", async () => {
    const { links, topics } = stage();
    const carried = topics.map((topic) => links.add(topic));
    const [first, second] = [...new Set(carried)];
    expect(carried.filter((link) => link === first)).toHaveLength(TOPICS_MAX);
    expect(carried.filter((link) => link === second)).toHaveLength(300 - TOPICS_MAX);
    links.remove(topics[7]!);
    expect(links.add(topics[7]!)).toBe(first);
    expect(links.state.at).toBe("idle");
    links.step({ on: "wanted" });
    await settled();
    expect(links.state.at).toBe("live");
    expect(topics.every(({ isAttached }) => isAttached)).toBe(true);
    links.step({ on: "pause", why: "user" });
    expect(links.state).toMatchObject({ at: "paused", why: "user" });
    expect(topics.some(({ isAttached }) => isAttached)).toBe(false);
  });

  it("are not live while one link is not: its state, its error and its next try are told", async () => {
    const { links, topics } = stage(1);
    for (const topic of topics) links.add(topic);
    links.step({ on: "wanted" });
    await settled();
    expect(links.state.at).toBe("backoff");
    expect(links.nextTryAt).toBeGreaterThan(1_000);
    expect(topics.filter(({ isAttached }) => isAttached)).toHaveLength(TOPICS_MAX);
  });

  it("that come later do what the others do: they connect, or stay paused", async () => {
    const { links, topics } = stage();
    for (const topic of topics.slice(0, TOPICS_MAX)) links.add(topic);
    links.step({ on: "wanted" });
    await settled();
    const late = links.add(topics[TOPICS_MAX]!);
    await settled();
    expect(late.state.at).toBe("live");

    const paused = stage(Infinity, true);
    for (const topic of paused.topics) paused.links.add(topic);
    paused.links.step({ on: "wanted" });
    await settled();
    expect(paused.links.state).toMatchObject({ at: "paused", why: "user" });
    paused.links.step({ on: "resume" });
    await settled();
    expect(paused.links.state.at).toBe("live");
  });
});

describe("status", () => {
  it("says connected once the edge itself has spoken on each socket, not when something has opened them", async () => {
    const { links, topics, hears } = stage();
    for (const topic of topics) links.add(topic);
    links.step({ on: "wanted" });
    await settled();
    const said = (): unknown => {
      const { state, connected } = tideStatus(links, {}, []);
      return [links.state.at, state, connected];
    };
    expect(said()).toEqual(["live", "connecting", false]);
    hears[0]!({ data: "pong" });
    expect(said()).toEqual(["live", "connecting", false]);
    hears[1]!({ data: "pong" });
    expect(said()).toEqual(["live", "live", true]);
    links.step({ on: "pause", why: "user" });
    expect(said()).toEqual(["paused", "paused", false]);
  });
});
