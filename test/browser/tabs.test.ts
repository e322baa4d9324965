/**
 * Many tabs, one log: here each open() of one page is a tab of its own, for locks, ports and channels ask no page. Real
 * tabs: test/tabs.
 */
import { describe, expect, it } from "vitest";
import { open, type Tide, type TideEvent } from "../../src/browser/index.ts";

let names = 0;
const fresh = () => `tabs-${Date.now()}-${names++}`;
const SMALL = 64 * 1024;

async function values<T>(tide: Tide, name = "t"): Promise<(T | null)[]> {
  const found: (T | null)[] = [];
  for await (const { offset, value } of tide.topic<T>(name).read()) {
    expect(offset).toBe(found.length);
    found.push(value);
  }
  return found;
}

/** Reads on until it has seen `count`; a follower that nobody interrupts. */
async function followed(tide: Tide, count: number): Promise<number[]> {
  const seen: number[] = [];
  for await (const { value } of tide.topic<number>("t").read({ follow: true })) {
    seen.push(value!);
    if (seen.length === count) break;
  }
  return seen;
}

/** A worker of the test's own, so that it can be killed. */
function killable(): { make: () => Worker; kill: () => void } {
  let worker: Worker | undefined;
  return {
    make: () =>
      (worker = new Worker(new URL("../../src/browser/worker/worker-entry.ts", import.meta.url), { type: "module" })),
    kill: () => worker!.terminate(),
  };
}

/** Hangs every such worker for so long; resolves when it does. */
async function hang(ms: number): Promise<void> {
  const channel = new BroadcastChannel("hang");
  const hangs = new Promise((resolve) => (channel.onmessage = resolve));
  channel.postMessage(ms);
  await hangs;
  channel.close();
}
const hanging = () => new Worker(new URL("./hanging-worker.ts", import.meta.url), { type: "module" });
const slotsOf = async (name: string): Promise<string[]> => {
  const root = await navigator.storage.getDirectory();
  const directory = await (await root.getDirectoryHandle("tidemark")).getDirectoryHandle(name);
  const names: string[] = [];
  for await (const file of (directory as typeof directory & { keys(): AsyncIterable<string> }).keys()) names.push(file);
  return names;
};

const upTo = (count: number) => Array.from({ length: count }, (_, i) => i);

for (const engine of ["opfs", "indexeddb"] as const) {
  describe(`tabs over ${engine}`, () => {
    it("a follower appends, reads, follows and asks as the leader does", async () => {
      const name = fresh();
      const first = await open(name, { engine, segmentBytes: SMALL });
      const second = await open(name, { engine, segmentBytes: SMALL });
      expect([first.role, second.role]).toEqual(["leader", "follower"]);
      expect(second.storage).toMatchObject({ engine, durability: "device" });
      const seen = followed(first, 100);
      const also = followed(second, 100);
      for (const i of upTo(100))
        expect((await (i % 2 ? first : second).topic<number>("t").append({ value: i })).offset).toBe(i);
      expect(await seen).toEqual(upTo(100));
      expect(await also).toEqual(upTo(100));
      expect((await second.topic("t").state()).logEndOffset).toBe(100);
      expect(await second.topics()).toEqual(["t"]);
      await second.close();
      expect(await values(first)).toEqual(upTo(100));
      await first.close();
    });

    it("the leader closes: a follower leads, and nothing that was called notices", async () => {
      const name = fresh();
      const tides = [await open(name, { engine, segmentBytes: SMALL }), await open(name), await open(name)];
      const events: TideEvent[] = [];
      tides[1]!.on((event) => events.push(event));
      const follows = tides.slice(1).map((tide) => followed(tide, 300));
      const acks: Promise<unknown>[] = [];
      for (const i of upTo(300)) {
        acks.push(tides[2]!.topic<number>("t").append({ value: i }));
        if (i % 10 === 0) await acks.at(-1);
        if (i === 150) void tides[0]!.close();
      }
      await Promise.all(acks);
      for (const follow of follows) expect(await follow).toEqual(upTo(300));
      expect(
        tides
          .slice(1)
          .map(({ role }) => role)
          .sort(),
      ).toEqual(["follower", "leader"]);
      expect(events.map(({ type }) => type)).toEqual(["leaderlost", "leaderchange"]);
      expect(await values(tides[1]!)).toEqual(upTo(300));
      await tides[1]!.close();
      expect(await values(tides[2]!)).toEqual(upTo(300));
      await tides[2]!.close();
    });

    it("the leader's worker dies: the next tab leads, the one that led follows", async () => {
      const name = fresh();
      const { make, kill } = killable();
      const first = await open(name, { engine, segmentBytes: SMALL, worker: make });
      const second = await open(name);
      const follows = [followed(first, 200), followed(second, 200)];
      const acks: Promise<unknown>[] = [];
      for (const i of upTo(200)) {
        acks.push(first.topic<number>("t").append({ value: i }));
        if (i % 10 === 0) await acks.at(-1);
        if (i === 105) kill();
      }
      await Promise.all(acks);
      for (const follow of follows) expect(await follow).toEqual(upTo(200));
      expect([first.role, second.role]).toEqual(["follower", "leader"]);
      await Promise.all([first.close(), second.close()]);
    });
  });
}

describe("a leader that hangs", () => {
  it("is deposed though it keeps its files; it wakes and follows; nothing is lost; the copies go back", async () => {
    const name = fresh();
    const first = await open(name, { segmentBytes: SMALL, worker: hanging });
    const second = await open(name, { leaderTimeoutMs: 2_000 });
    const third = await open(name, { leaderTimeoutMs: 2_000 });
    const tides = [first, second, third];
    const follows = tides.map((tide) => followed(tide, 600));
    // Some of these are sealed segments by now.
    for (const i of upTo(300)) await tides[i % 3]!.topic<number>("t").append({ value: i });
    await first.topic<number>("t").roll();
    const events: string[] = [];
    first.on(({ type }) => events.push(type));
    await hang(6_000);
    const started = performance.now();
    // The one that hangs has these on its way: they are in the log once, whoever wrote them, and before or behind the
    // others.
    const own = upTo(50).map((i) => first.topic<number>("t").append({ value: 1000 + i }));
    const others = [tides[1]!.topic<number>("t").append({ value: 300 })];
    await others[0];
    const failOverMs = performance.now() - started;
    expect([failOverMs > 1_000, failOverMs < 4_000], `${failOverMs} ms`).toEqual([true, true]);
    expect((await navigator.locks.query()).held!.filter(({ name: lock }) => lock === `tidemark:${name}`)).toHaveLength(
      1,
    );
    for (const i of upTo(249))
      await others[others.push(tides[1 + (i % 2)]!.topic<number>("t").append({ value: 301 + i })) - 1];
    const acks = await Promise.all([...own, ...others]);
    expect(first.role).toBe("follower");
    const found = await values<number>(second);
    for (const follow of follows) expect(await follow).toEqual(found);
    expect(events).toContain("leaderlost");
    // Nothing lost, nothing doubled, all where it was said to be, and each tab's in the order of its calls.
    expect(found.toSorted((a, b) => a! - b!)).toEqual([...upTo(550), ...upTo(50).map((i) => 1000 + i)]);
    expect(acks.map(({ offset }) => found[offset])).toEqual([
      ...upTo(50).map((i) => 1000 + i),
      ...upTo(250).map((i) => 300 + i),
    ]);
    expect(found.filter((value) => value! >= 1000)).toEqual(upTo(50).map((i) => 1000 + i));
    expect(found.filter((value) => value! < 1000)).toEqual(upTo(550));
    expect(await slotsOf(name)).toContain("taken");
    await Promise.all(tides.map((tide) => tide.close()));
    // Its files come free when its worker ends, for which Chromium waits some seconds while it is busy.
    for (let copied = true; copied; copied = (await slotsOf(name)).includes("taken")) {
      const again = await open(name);
      expect(await values(again)).toEqual(found);
      expect(again.recovery[0]!.quarantined).toEqual([]);
      await again.close();
    }
    const last = await open(name);
    expect((await last.topic("t").append({ value: "goes on" })).offset).toBe(600);
    await last.close();
  });

  it("and is alone: its tab notices, ends it, and goes on with another worker", async () => {
    const tide = await open(fresh(), { segmentBytes: SMALL, worker: hanging });
    const events: string[] = [];
    tide.on(({ type }) => events.push(type));
    for (const i of upTo(20)) await tide.topic<number>("t").append({ value: i });
    // Far longer than the test may take.
    await hang(600_000);
    const acks = await Promise.all(upTo(20).map((i) => tide.topic<number>("t").append({ value: 20 + i })));
    expect(acks.map(({ offset }) => offset)).toEqual(upTo(20).map((i) => 20 + i));
    expect(await values(tide)).toEqual(upTo(40));
    expect(events).toEqual(["leaderlost", "leaderchange"]);
    await tide.close();
  });

  it("a tab that opens while it hangs deposes it too", async () => {
    const name = fresh();
    const first = await open(name, { segmentBytes: SMALL, worker: hanging });
    for (const i of upTo(20)) await first.topic<number>("t").append({ value: i });
    await hang(5_000);
    const second = await open(name, { leaderTimeoutMs: 2_000 });
    expect((await second.topic<number>("t").append({ value: 20 })).offset).toBe(20);
    expect(await values(second)).toEqual(upTo(21));
    await expect
      .poll(
        () =>
          first
            .topic<number>("t")
            .append({ value: 21 })
            .then(({ offset }) => offset),
        { timeout: 10_000 },
      )
      .toBe(21);
    await Promise.all([first.close(), second.close()]);
  });
});
