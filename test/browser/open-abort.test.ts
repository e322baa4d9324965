/** open() whose signal is aborted: at any moment, alone and beside a tab that leads. */
import { describe, expect, it } from "vitest";
import { open, type Tide } from "../../src/browser/index.ts";

let names = 0;
const fresh = () => `open-abort-${Date.now()}-${names++}`;
const SMALL = 64 * 1024;
/** An opening takes about so many turns of a message, or more. */
const TURNS = [0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233];

/** A turn of the event loop: what was rejected before it has been told by then. */
const turn = (): Promise<undefined> =>
  new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve(undefined);
    };
    port2.postMessage(0);
  });

/** Locks of this tide, held and asked for; those of its workers among them. */
async function locksOf(name: string): Promise<string[]> {
  const { held = [], pending = [] } = await navigator.locks.query();
  return [...held, ...pending]
    .map((lock) => lock.name!)
    .filter((lock) => lock === `tidemark:${name}` || lock.startsWith(`tidemark-worker:${name}:`));
}

/** What open() came to, one turn behind the abort: "open", or what it threw; undefined when it is still under way. */
async function abortedAfter(
  turns: number,
  name: string,
  engine: "opfs" | "indexeddb",
  made: Tide[],
): Promise<{ readonly outcome: unknown; readonly reason: unknown }> {
  const controller = new AbortController();
  let outcome: unknown;
  open(name, { engine, segmentBytes: SMALL, signal: controller.signal }).then(
    (tide) => {
      made.push(tide);
      outcome = "open";
    },
    (thrown: unknown) => (outcome = thrown),
  );
  for (let at = 0; at < turns; at++) await turn();
  const before = outcome;
  const reason = new Error(`aborted after ${turns} turns`);
  controller.abort(reason);
  await turn();
  return { outcome: before ?? outcome, reason };
}

for (const engine of ["opfs", "indexeddb"] as const) {
  describe(`an aborted open() over ${engine}`, () => {
    it("rejects at once with the signal's reason; no lock or worker is left, and the tide opens again", async () => {
      for (const turns of TURNS) {
        const name = fresh();
        const made: Tide[] = [];
        const { outcome, reason } = await abortedAfter(turns, name, engine, made);
        if (outcome !== "open") expect(outcome, `${turns} turns`).toBe(reason);
        for (const tide of made) await tide.close();
        await expect.poll(() => locksOf(name), { message: `${turns} turns` }).toEqual([]);
        const tide = await open(name, { engine, segmentBytes: SMALL });
        expect((await tide.topic("t").append({ value: 1 })).offset).toBe(0);
        await tide.close();
      }
    });

    it("beside a tab that leads leaves that one alone", async () => {
      const name = fresh();
      const leader = await open(name, { engine, segmentBytes: SMALL });
      const topic = leader.topic<number>("t");
      for (const [at, turns] of TURNS.entries()) {
        const made: Tide[] = [];
        const { outcome, reason } = await abortedAfter(turns, name, engine, made);
        if (outcome !== "open") expect(outcome, `${turns} turns`).toBe(reason);
        for (const tide of made) await tide.close();
        expect((await topic.append({ value: at })).offset).toBe(at);
        expect(leader.role).toBe("leader");
      }
      // Its own lock, its worker's, and its watch on that one.
      await expect.poll(async () => new Set(await locksOf(name)).size).toBe(2);
      expect((await locksOf(name)).filter((lock) => lock === `tidemark:${name}`)).toHaveLength(1);
      await leader.close();
      await expect.poll(() => locksOf(name)).toEqual([]);
    });
  });
}

it("a worker that never speaks is terminated, and an abort before the call starts none", async () => {
  const name = fresh();
  const ended: string[] = [];
  const silent = URL.createObjectURL(new Blob(["onmessage = () => undefined;"], { type: "text/javascript" }));
  class Silent extends Worker {
    constructor() {
      super(silent);
      ended.push("started");
    }
    override terminate(): void {
      ended.push("terminated");
      super.terminate();
    }
  }
  const controller = new AbortController();
  const opening = open(name, {
    engine: "opfs",
    segmentBytes: SMALL,
    signal: controller.signal,
    worker: () => new Silent(),
  });
  opening.catch(() => undefined);
  await expect.poll(() => ended).toEqual(["started"]);
  controller.abort("enough");
  expect(await Promise.race([opening.catch((thrown: unknown) => thrown), turn()])).toBe("enough");
  expect(ended).toEqual(["started", "terminated"]);
  const again = open(name, { engine: "opfs", signal: controller.signal, worker: () => new Silent() });
  expect(await Promise.race([again.catch((thrown: unknown) => thrown), turn()])).toBe("enough");
  await expect.poll(() => locksOf(name)).toEqual([]);
  expect(ended).toHaveLength(2);
  URL.revokeObjectURL(silent);
});
