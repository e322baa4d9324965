/**
 * The many-tab story: several tabs write to one log, and their leader ends in each way in which a leader can end.
 * Before each of these strikes a standby worker must be ready, and the next ack must come in time.
 */
import { expect } from "vitest";
import type { Engine } from "../crash/events.ts";
import type { Tab, TabsBrowser } from "../tabs/browser.ts";
import { standStill } from "../tabs/stand-still.ts";

/** The type of `window.tab` in app/main.js. */
export interface AppPage {
  open(config: { readonly name: string; readonly engine: Engine; readonly tab: number }): Promise<void>;
  work(): void;
  rest(): Promise<void>;
  close(): Promise<void>;
  state(): AppState;
  ackAfter(since: number): number | undefined;
  readAll(): Promise<string[]>;
  standBys(): Promise<number>;
  use(name: string): Promise<Record<Engine, unknown>>;
}
export interface AppState {
  readonly role: "leader" | "follower";
  readonly acks: readonly { readonly value: string; readonly offset: number; readonly at: number }[];
  readonly failures: readonly string[];
  readonly visible: boolean;
  readonly engine: Engine;
}

type Call = <M extends keyof AppPage>(
  method: M,
  ...args: Parameters<AppPage[M]>
) => Promise<Awaited<ReturnType<AppPage[M]>>>;
/** A tab of the tabs suites' helper, with this suite's page in it. */
export const appPage = (tab: { call: unknown }): { readonly call: Call } => tab as { readonly call: Call };

/** The result of use() when all is well. */
export const USED = (engine: Engine): unknown => ({
  offset: 0,
  sum: 499_542,
  left: 1,
  code: "OFFSET_CONFLICT",
  engine,
  highWatermark: 1001,
});

const now = (): number => performance.timeOrigin + performance.now();
/** The leader's worker stands still for this long, which is longer than a leader may be silent. */
const HANG_MS = 6_000;
const SETTLE_MS = 15_000;
/** The wait for the next ack ends after this time. What is allowed is less; `tooSlow` judges that. */
const PATIENCE_MS = 30_000;

export const STRIKES = {
  /** The leader's page is closed. */
  "page closed": { allowedMs: 500, strike: (tab: Tab) => tab.close() },
  "close()": {
    allowedMs: 500,
    async strike(tab: Tab) {
      tab.struck = true;
      await appPage(tab).call("close");
    },
  },
  "crash of the renderer": { allowedMs: 500, strike: (tab: Tab) => tab.crash() },
  /** The worker is made to hang, because it is the one that other tabs wait for. */
  hang: { allowedMs: 3_500, strike: hangWorker },
} as const;
export type Strike = keyof typeof STRIKES;
export type Times = Partial<Record<Strike, number>>;
const ALL = Object.keys(STRIKES) as Strike[];

const workersOf = (tab: Tab) => tab.page.workers().filter((worker) => !worker.url().startsWith("blob:"));

async function hangWorker(tab: Tab): Promise<void> {
  const workers = workersOf(tab);
  expect(workers.length, "workers of the leading page").toBe(1);
  // The call returns when this time is over; the worker may have been ended before.
  void workers[0]!.evaluate(standStill, HANG_MS).catch(() => undefined);
}

/** The end of a worker that the leader had as a follower may be told later. */
const hasOneWorker = (leader: Tab): Promise<void> =>
  expect.poll(() => workersOf(leader).length, { timeout: SETTLE_MS, message: "workers of the leading page" }).toBe(1);

const live = (tabs: readonly Tab[]): Tab[] => tabs.filter(({ struck }) => !struck);
const states = (tabs: readonly Tab[]): Promise<AppState[]> =>
  Promise.all(live(tabs).map((tab) => appPage(tab).call("state")));

/** Waits until one tab leads, that tab is the visible one, and a standby worker is ready. */
async function settled(tabs: readonly Tab[]): Promise<Tab> {
  const wanted = live(tabs).map((_, i) => (i === 0 ? "leader, visible" : "follower"));
  const seen = async (): Promise<string[]> =>
    (await states(tabs))
      .map(({ role, visible }) => (role === "leader" && visible ? "leader, visible" : role))
      .sort()
      .reverse();
  await expect.poll(seen, { timeout: SETTLE_MS }).toEqual(wanted);
  await expect
    .poll(() => appPage(live(tabs)[0]!).call("standBys"), { timeout: SETTLE_MS, message: "no standby worker is ready" })
    .toBeGreaterThan(0);
  const roles = await states(tabs);
  return live(tabs)[roles.findIndex(({ role }) => role === "leader")]!;
}

/** Milliseconds from now until the next leader's first ack, in any tab. */
async function nextAck(tabs: readonly Tab[], strike: () => Promise<void>): Promise<number> {
  const struckAt = now();
  const done = strike();
  // It may fail before anybody waits for it below.
  done.catch(() => undefined);
  for (const until = struckAt + PATIENCE_MS; now() < until; await new Promise((resolve) => setTimeout(resolve, 20))) {
    const acks = await Promise.all(live(tabs).map((tab) => appPage(tab).call("ackAfter", struckAt)));
    const first = Math.min(...acks.filter((at) => at !== undefined));
    if (first === Infinity) continue;
    await done;
    return Math.round(first - struckAt);
  }
  await done;
  return Infinity;
}

/** Checks that every record that a tab reported as acked is in the log once, at its offset. */
async function judge(tabs: readonly Tab[], acks: AppState["acks"]): Promise<void> {
  const left = live(tabs);
  await Promise.all(left.map((tab) => appPage(tab).call("rest")));
  const log = await appPage(left[0]!).call("readAll");
  const all = [...acks, ...(await states(tabs)).flatMap((state) => state.acks)];
  expect(all.filter(({ value, offset }) => log[offset] !== value)).toEqual([]);
  expect(new Set(log).size).toBe(log.length);
  for (const { failures } of await states(tabs)) expect(failures).toEqual([]);
}

let names = 0;

/** A strike that took too long is tried again: the machine may have been busy. A fault takes too long each time. */
const TRIES = 3;

/** Milliseconds to the next ack for each strike, the least of its tries. Throws when anything else is wrong. */
export async function manyTabs(
  browser: TabsBrowser,
  engine: Engine,
  followers: number,
  strikes: readonly Strike[] = ALL,
): Promise<Times> {
  browser.problems.length = 0;
  await browser.closeAll();
  const config = { name: `story-${names++}`, engine, noSharedWorker: false, pauseMs: 0 };
  const tabs: Tab[] = [];
  const acks: AppState["acks"][number][] = [];
  const times: Times = {};
  const struck = async (name: Strike): Promise<number> => {
    while (live(tabs).length < followers + 1) {
      const tab = await browser.open(config);
      tabs.push(tab);
      await appPage(tab).call("work");
    }
    const leader = await settled(tabs);
    if (name === "hang") await hasOneWorker(leader);
    acks.push(...(await appPage(leader).call("state")).acks);
    const ms = await nextAck(tabs, () => STRIKES[name].strike(leader));
    expect(browser.problems).toEqual([]);
    return ms;
  };
  for (const name of strikes)
    for (let tries = 0; tries < TRIES && !(times[name]! <= STRIKES[name].allowedMs); tries++)
      times[name] = Math.min(times[name] ?? Infinity, await struck(name));
  await judge(tabs, acks);
  for (const tab of live(tabs)) await appPage(tab).call("close");
  expect(browser.problems).toEqual([]);
  return times;
}

/** The strikes after which the next ack came later than allowed. */
export const tooSlow = (times: Times): string[] =>
  Object.entries(times).flatMap(([name, ms]) =>
    ms <= STRIKES[name as Strike].allowedMs
      ? []
      : [`${name}: ${ms} ms, allowed are ${STRIKES[name as Strike].allowedMs}`],
  );
