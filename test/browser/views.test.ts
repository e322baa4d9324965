/**
 * changes() and view() of topics that are not synced, in a real page over its worker, in one tab and in several (each
 * open() of one page is a tab of its own). Synced ones: test/sync/views.test.ts and test/unit/view-properties.test.ts.
 */
import { expect, it } from "vitest";
import {
  type Change,
  type ChangesOptions,
  open,
  type Tide,
  TidemarkError,
  type View,
} from "../../src/browser/index.ts";

let names = 0;
const fresh = () => `views-${Date.now()}-${names++}`;
const SMALL = { segmentBytes: 64 * 1024 };
const counted = { name: "count", initial: () => 0, apply: (count: number) => count + 1 };

async function over<T>(work: (tide: Tide) => Promise<T>, name = fresh()): Promise<T> {
  const tide = await open(name, SMALL);
  try {
    return await work(tide);
  } finally {
    await tide.close();
  }
}

/** Resolves once what the view shows is so. */
function until<S>(view: View<S>, isSo: (current: S) => boolean): Promise<void> {
  return new Promise((resolve) => {
    if (isSo(view.current)) return resolve();
    const end = view.subscribe((current) => {
      if (!isSo(current)) return;
      end();
      resolve();
    });
  });
}

const shown = (change: Change<number>): unknown =>
  change.type === "append" ? [change.record.offset, change.record.value, change.record.provisional] : change;

it("changes of a local topic: all is committed, level comes after each answer, and abort() is no error", () =>
  over(async (tide) => {
    const topic = tide.topic<number>("t");
    const ended = new AbortController();
    const changes = topic.changes({ signal: ended.signal });
    const next = async () => shown((await changes.next()).value!);
    // The topic does not exist yet.
    expect(await next()).toEqual({ type: "level", watermark: 0, live: true, copy: null });
    const waiting = next();
    await topic.appendBatch([{ value: 7 }, { value: 8 }]);
    expect([await waiting, await next()]).toEqual([
      [0, 7, false],
      [1, 8, false],
    ]);
    const copy = expect.stringMatching(/^local\/\d+$/);
    expect(await next()).toEqual({ type: "level", watermark: 2, live: true, copy });
    const last = changes.next();
    ended.abort();
    expect(await last).toEqual({ done: true, value: undefined });
    expect(await changes.next()).toEqual({ done: true, value: undefined });

    const late = topic.changes({ from: "latest" });
    expect(shown((await late.next()).value!)).toEqual({ type: "level", watermark: 2, live: true, copy });
    const left = late.next();
    await late.return!();
    expect((await left).done).toBe(true);
    await expect(topic.changes({ from: 2 ** 52 }).next()).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    await expect(topic.changes({ from: 9 }).next()).rejects.toMatchObject({ code: "OFFSET_OUT_OF_RANGE" });
    expect(() => topic.changes({ from: "middle" as never })).toThrow(TidemarkError);
  }));

it("who goes on from a stored offset is told that another log stands there now, and of what was trimmed since", () =>
  over(async (tide) => {
    const first = async (name: string, options: ChangesOptions): Promise<Change<number>> => {
      const changes = tide.topic<number>(name).changes(options);
      const { value } = await changes.next();
      await changes.return!();
      return value!;
    };
    for (const name of ["t", "u"]) await tide.topic<number>(name).appendBatch([{ value: 1 }, { value: 2 }]);
    const level = await first("t", { from: "latest" });
    if (level.type !== "level") throw new Error(level.type);
    const { watermark: from, copy } = level;
    expect(from).toBe(2);
    expect(await first("t", { from, copy })).toEqual(level);
    await tide.topic("t").append({ value: 3 });
    await tide.topic("t").trim(3);
    expect(await first("t", { from, copy })).toEqual({ type: "gap", from: 2, to: 3 });
    await tide.deleteTopic("t");
    await tide.topic<number>("t").appendBatch(Array.from({ length: 5 }, (_, value) => ({ value })));
    expect(await first("t", { from, copy })).toEqual({ type: "reset", logStartOffset: 0 });
    expect(shown(await first("t", { from, copy: null }))).toEqual([2, 2, false]);
    for (const refused of [{ from, copy: 5 as never }, { copy }, { from: "latest", copy } as const])
      await expect(first("t", refused)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  }));

it("what is trimmed in front of a slow reader is told as a gap, and a view may begin anew behind it", () =>
  over(async (tide) => {
    const topic = tide.topic<number>("t");
    const value = "x".repeat(1000);
    for (let i = 0; i < 6; i++) await topic.append({ value: i, headers: { value } });
    const changes = topic.changes();
    expect(shown((await changes.next()).value!)).toEqual([0, 0, false]);
    for (let i = 0; i < 5; i++) await changes.next();
    expect((await changes.next()).value).toMatchObject({ type: "level" });
    await topic.append({ value: 6 });
    await topic.roll();
    await topic.append({ value: 7 });
    await topic.trim(7);
    expect((await changes.next()).value).toEqual({ type: "gap", from: 6, to: 7 });
    expect(shown((await changes.next()).value!)).toEqual([7, 7, false]);
    const view = topic.view(counted);
    await view.ready();
    expect([view.current, view.at]).toEqual([1, { offset: 8, provisional: 0 }]);
    await changes.return!();
  }));

it("several views of a tab, and those of another one, fold the same, also when the leader changes", async () => {
  const name = fresh();
  const leader = await open(name, SMALL);
  const tab = await open(name, SMALL);
  expect([leader.role, tab.role]).toEqual(["leader", "follower"]);
  const topic = tab.topic<number>("t");
  await topic.append({ value: 1 });
  const views = Array.from({ length: 5 }, () =>
    topic.view({ ...counted, apply: (sum: number, { value }) => sum + value! }),
  );
  const other = leader.topic<number>("t").view({ ...counted, apply: (sum: number, { value }) => sum + value! });
  await Promise.all([...views, other].map((view) => view.ready()));
  expect([...views, other].map(({ current }) => current)).toEqual([1, 1, 1, 1, 1, 1]);
  const { current: same } = views[0]!;
  await leader.topic<number>("t").append({ value: 10 });
  await Promise.all([...views, other].map((view) => until(view, (sum) => sum === 11)));
  expect(same).toBe(1);
  await leader.close();
  await topic.append({ value: 100 });
  await Promise.all(views.map((view) => until(view, (sum) => sum === 111)));
  await expect(other.ready()).rejects.toMatchObject({ code: "CLOSED" });
  expect(views.map(({ at }) => at)).toEqual(views.map(() => ({ offset: 3, provisional: 0 })));
  await tab.close();
});

it("fits useSyncExternalStore: functions are bound, and what is shown is the same object while nothing changed", () =>
  over(async (tide) => {
    const topic = tide.topic<number>("t");
    const view = topic.view<{ readonly sum: number }>({
      name: "sum",
      initial: () => ({ sum: 0 }),
      // Zeros change nothing.
      apply: (state, { value }) => (value === 0 ? state : { sum: state.sum + value! }),
    });
    const { subscribe, ready } = view;
    const snapshot = (): { readonly sum: number } => view.current;
    let told = 0;
    const end = subscribe(() => told++);
    const thrown = subscribe(() => {
      throw new Error("mine");
    });
    const reported: unknown[] = [];
    const hear = (event: ErrorEvent): void => {
      event.preventDefault();
      reported.push(event.error);
    };
    addEventListener("error", hear);
    await ready();
    const before = snapshot();
    await topic.append({ value: 0 });
    await topic.append({ value: 0 });
    const sawZeros = topic.view(counted);
    await sawZeros.ready();
    await until(sawZeros, (count) => count === 2);
    expect(snapshot()).toBe(before);
    expect(told).toBe(0);
    // Changes of one turn are told once.
    const both = until(view, ({ sum }) => sum === 3);
    await topic.appendBatch([{ value: 1 }, { value: 2 }]);
    await both;
    expect([told, reported.length]).toEqual([1, 1]);
    expect(snapshot()).toBe(view.current);
    expect(Object.isFrozen(view.at)).toBe(true);
    end();
    thrown();
    const changed = until(view, ({ sum }) => sum === 8);
    await topic.append({ value: 5 });
    await changed;
    expect(told).toBe(1);
    view.close();
    await topic.append({ value: 5 });
    await until(topic.view(counted), (count) => count === 6);
    expect(view.current).toEqual({ sum: 8 });
    removeEventListener("error", hear);
  }));

it("what ends a view is told by ready(), and bad options are named", () =>
  over(async (tide) => {
    const topic = tide.topic<number>("t");
    await topic.append({ value: 1 });
    const reported: unknown[] = [];
    const hear = (event: ErrorEvent): void => {
      event.preventDefault();
      reported.push(event.error);
    };
    addEventListener("error", hear);
    const broken = new Error("mine");
    const breaking = topic.view<number>({
      ...counted,
      apply: () => {
        throw broken;
      },
    });
    await expect(breaking.ready()).rejects.toBe(broken);
    const changing = topic.view<number[]>({
      name: "list",
      initial: () => [],
      apply: (state, { value }) => (state.push(value!), state),
      check: true,
    });
    await expect(changing.ready()).rejects.toMatchObject({ code: "VIEW_IMPURE", kind: "fix" });
    const random = topic.view({ ...counted, apply: () => Math.random(), check: true });
    await expect(random.ready()).rejects.toMatchObject({ code: "VIEW_IMPURE" });
    expect(reported.length).toBe(3);
    removeEventListener("error", hear);
    const good = topic.view<Map<string, number[]>>({
      name: "good",
      initial: () => new Map(),
      apply: (state, { id, value }) => new Map([...state, [id, [value!]]]),
      check: true,
    });
    await good.ready();
    expect(good.current.size).toBe(1);

    const closed = topic.view(counted);
    closed.close();
    await expect(closed.ready()).rejects.toMatchObject({ code: "CLOSED" });
    const signal = AbortSignal.abort();
    await expect(topic.view({ ...counted, signal }).ready()).rejects.toMatchObject({ code: "CLOSED" });
    expect(() => topic.view(undefined as never)).toThrow(
      /^INVALID_ARGUMENT: the options of view\(\) must be an object/,
    );
    expect(() => topic.view({ name: "a" } as never)).toThrow(/initial/);
    for (const wrong of [{ name: "a/b" }, { name: 5 }, { apply: 5 }, { check: 1 }, { gap: 1 }, { signal: 1 }]) {
      const refused = topic.view({ ...counted, ...(wrong as object) });
      await expect(refused.ready()).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    }
  }));

it("folds many records in slices, so that the page has turns meanwhile", () =>
  over(async (tide) => {
    const topic = tide.topic<number>("t");
    await topic.appendAll(Array.from({ length: 20_000 }, (_, value) => ({ value })));
    let turns = 0;
    const watch = new MessageChannel();
    watch.port1.onmessage = () => {
      turns++;
      watch.port2.postMessage(0);
    };
    watch.port2.postMessage(0);
    const view = topic.view<number>({
      ...counted,
      apply(sum, { value }) {
        const until = performance.now() + 0.02;
        while (performance.now() < until);
        return sum + value!;
      },
    });
    await view.ready();
    watch.port1.close();
    expect(view.current).toBe((20_000 * 19_999) / 2);
    // 20,000 records take at least 400 ms: fifty slices of 8 ms.
    expect(turns).toBeGreaterThan(40);
  }));
