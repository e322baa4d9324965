/**
 * The core of the bindings (src/bindings), without a framework: what components share, over views and changes of a real
 * log in memory. The frameworks themselves run in Chromium: test/package/bindings.test.ts.
 */
import { deleted } from "../../src/browser/worker/topics.ts";
import { describe, expect, it, vi } from "vitest";
import * as z from "zod";
import { appendingTo } from "../../src/bindings/appending.ts";
import {
  defineTopic,
  defineView,
  picking,
  recordsKey,
  recordsSource,
  viewKey,
  viewSource,
} from "../../src/bindings/followers.ts";
import { tideSource } from "../../src/bindings/page-tide.ts";
import { shared } from "../../src/bindings/shared.ts";
import { events } from "../../src/typed/events.ts";
import type { RecordInput, Tide, TideEvent, Topic, TopicRecord, ViewOptions } from "../../src/browser/index.ts";
import { changesOf, type ChangingTopic } from "../../src/browser/page/topic-changes.ts";
import { runView } from "../../src/browser/page/topic-view.ts";
import { laterTurn } from "../../src/browser/platform/timing.ts";
import { type ErrorCode, TidemarkError } from "../../src/errors.ts";
import type { FetchOptions } from "../../src/log/types.ts";
import { BatchBuilder } from "../../src/record/batch-builder.ts";
import { deleteLog } from "../../src/store/trim-and-replace.ts";
import { serializerOf } from "../../src/topic/serializer.ts";
import { shownView } from "../../src/topic/shown-view.ts";
import { Random } from "../simulation/prng.ts";
import { type Fixture, fixture, kernel } from "./log-fixtures.ts";

const NO_PRODUCER = { producerId: -1, producerEpoch: -1, baseSequence: -1 };
const turns = async (count: number): Promise<void> => {
  for (let i = 0; i < count; i++) await laterTurn();
};
/** Far more than any of these needs. */
const TURNS_MAX = 1000;
async function until(isSo: () => boolean): Promise<void> {
  await vi.dynamicImportSettled();
  for (let i = 0; !isSo(); i++) {
    if (i > TURNS_MAX) throw new Error("it never became so");
    await laterTurn();
  }
}

/** A tide with one topic, whose log is real. Its calls are counted, and appends can be made to fail. */
class OneTopic {
  readonly listeners = new Set<(event: TideEvent) => void>();
  views = 0;
  followers = 0;
  #turn: Promise<void> | undefined;
  appendError: ErrorCode | undefined;
  readonly appended: unknown[] = [];
  readonly #source: ChangingTopic<string>;

  private constructor(readonly made: Fixture) {
    this.#source = {
      name: "t",
      tide: { name: "test", opened: undefined, topic: () => expect.fail("no snapshots here") },
      born: () => 1,
      kernel,
      serializer: serializerOf<string>("text"),
      // A refusal takes a turn, as over a port: to begin anew behind a deleted log keeps nobody from opening it.
      fetch: (from, { changes: _, ...options }: FetchOptions) =>
        made.log.fetch(from, options).catch((thrown: unknown) => laterTurn().then(() => Promise.reject(thrown))),
      resolve: (position) => made.log.resolve(position),
    };
  }
  static async make(): Promise<OneTopic> {
    return new OneTopic(await fixture());
  }

  /** What the bindings use of a tide. */
  get tide(): Tide {
    const topic: Pick<Topic<string>, "name" | "view" | "changes" | "append"> = {
      name: "t",
      view: <S>(options: ViewOptions<S, string>) => {
        this.views++;
        return shownView(options, async (view) => runView(view, this.#source, options));
      },
      changes: ({ from = "earliest", signal } = {}) => {
        this.followers++;
        const stop = signal ?? new AbortController().signal;
        const changes = changesOf(this.#source, { from }, stop);
        // As BatchReading ends: without an error.
        const over = (thrown: unknown) => {
          if (stop.aborted) return { done: true as const, value: undefined };
          throw thrown;
        };
        const reading = { next: () => changes.next().catch(over), [Symbol.asyncIterator]: () => reading };
        return reading as ReturnType<Topic<string>["changes"]>;
      },
      append: async ({ value }: RecordInput<string>) => {
        const { appendError } = this;
        if (appendError) throw new TidemarkError(appendError, "planted");
        this.appended.push(value);
        // As of one batch.
        await (this.#turn ??= laterTurn().then(() => (this.#turn = undefined)));
        return {} as Awaited<ReturnType<Topic<string>["append"]>>;
      },
    };
    const on = (listener: (event: TideEvent) => void) => {
      this.listeners.add(listener);
      return () => this.listeners.delete(listener);
    };
    const used: object = { name: "test", role: "leader", storage: {}, topic: () => topic, on };
    return used as Tide;
  }

  async append(...values: string[]): Promise<void> {
    const builder = new BatchBuilder(kernel);
    for (const value of values) builder.tryAppend({ key: null, value: new TextEncoder().encode(value), timestamp: 1 });
    await this.made.log.append(builder.build(NO_PRODUCER));
  }
}

const words = defineTopic<string>("t", { serializer: "text" });
const list = defineView(words, {
  name: "list",
  initial: (): readonly string[] => [],
  apply: (state, { value }) => [...state, value!],
});

describe("what is shared", () => {
  it("begins with the first listener, ends a turn of promises after the last, and not if one comes back", async () => {
    const log: string[] = [];
    let set: (next: number) => void = () => undefined;
    const value = shared(
      0,
      (given) => {
        log.push("begin");
        set = given;
        return () => log.push("end");
      },
      () => log.push("over"),
    );
    const told: number[] = [];
    const listen = () => value.subscribe(() => told.push(value.current));
    const leave = listen();
    const second = listen();
    set(1);
    set(1);
    leave();
    leave();
    set(2);
    // StrictMode: unmounted and mounted again.
    second();
    const third = listen();
    await Promise.resolve();
    set(3);
    third();
    await Promise.resolve();
    expect([log, told]).toEqual([
      ["begin", "over", "end"],
      [1, 1, 2, 3],
    ]);
    listen();
    expect(log.at(-1)).toBe("begin");
  });

  it("tells nothing that an ended follower still says", () => {
    const sets: ((next: string) => void)[] = [];
    const value = shared("", (set) => (sets.push(set), () => undefined));
    value.subscribe(() => undefined);
    value.restart("anew");
    sets[0]!("late");
    expect(value.current).toBe("anew");
    sets[1]!("new");
    expect(value.current).toBe("new");
  });

  it("a listener that throws fails alone: the others are told, and each error is an uncaught one", async () => {
    const caught: unknown[] = [];
    const hear = (thrown: unknown): void => void caught.push(thrown);
    process.on("uncaughtException", hear);
    let set: (next: number) => void = () => undefined;
    const value = shared(0, (given) => ((set = given), () => undefined));
    const told: number[] = [];
    for (const name of ["first", "second"]) {
      value.subscribe(() => {
        throw new RangeError(name);
      });
      value.subscribe(() => told.push(value.current));
    }
    set(1);
    set(2);
    expect(told).toEqual([1, 1, 2, 2]);
    await laterTurn();
    process.off("uncaughtException", hear);
    expect(caught.map(String)).toEqual([1, 2].flatMap(() => ["RangeError: first", "RangeError: second"]));
  });

  it("a listener that another one before it has ended is not told: it follows something else by then", () => {
    let set: (next: number) => void = () => undefined;
    const value = shared(0, (given) => ((set = given), () => undefined));
    const told: string[] = [];
    value.subscribe(() => {
      told.push("first");
      leave();
    });
    const leave = value.subscribe(() => told.push("second"));
    set(1);
    expect(told).toEqual(["first"]);
  });

  it("a selection that is equal is the same object, also of a render before", () => {
    const equals = (a: readonly number[], b: readonly number[]): boolean => a.join() === b.join();
    const followed = (...value: readonly number[]) => ({ value, isReady: true, at: { offset: 0, provisional: 0 } });
    let least = 2;
    const select = (all: readonly number[]): readonly number[] => all.filter((n) => n >= least);
    const pick = picking({ select, equals });
    const first = pick(followed(1, 2));
    expect(pick(followed(0, 2))).toBe(first);
    const anew = picking({ select, equals }, { result: first });
    expect(anew(followed(1, 1, 2))).toBe(first);
    expect(anew(followed(3))).toEqual([3]);
    // Of the same value, too: what it reads beside it may be another.
    const both = followed(1, 2);
    expect(pick(both)).toEqual([2]);
    least = 1;
    expect(pick(both)).toEqual([1, 2]);
  });

  it("a selection that throws does so each time it is asked, and goes on from the last one", () => {
    const followed = (value: number) => ({ value, isReady: true, at: { offset: 0, provisional: 0 } });
    const select = (n: number): readonly number[] => {
      if (n < 0) throw new RangeError("planted");
      return [n];
    };
    const pick = picking({ select, equals: ([a], [b]) => a === b });
    const first = pick(followed(1));
    const bad = followed(-1);
    for (const _ of [1, 2]) expect(() => pick(bad)).toThrow("planted");
    expect(pick(followed(1))).toBe(first);
  });

  it("components that write the same definition in place share one view; another text or version is another", () => {
    const inPlace = (version = 1) =>
      viewKey({ topic: "t", name: "v", version, initial: () => 0, apply: (n: number) => n + 1 });
    expect(inPlace()).toBe(inPlace());
    const keys = [
      inPlace(),
      inPlace(2),
      viewKey({ topic: "t", name: "v", version: 1, initial: () => 0, apply: (n: number) => n + 2 }),
      viewKey({ topic: "u", name: "v", version: 1, initial: () => 0, apply: (n: number) => n + 1 }),
    ];
    expect(new Set(keys).size).toBe(4);
  });
});

describe("views of components", () => {
  it("one view for all, closed with the last; a later one begins with initial()", async () => {
    const one = await OneTopic.make();
    await one.append("a", "b");
    const tide = tideSource(one.tide);
    const sources = Array.from({ length: 50 }, () => viewSource(tide, { ...list }));
    expect(sources[0]!.current.value).toEqual([]);
    let told = 0;
    const leaves = sources.map((source) => source.subscribe(() => told++));
    await until(() => sources[7]!.current.isReady);
    expect([one.views, sources[49]!.current.value, sources[0]!.current.at.offset]).toEqual([1, ["a", "b"], 2]);
    told = 0;
    await one.append(...Array.from({ length: 20 }, (_, i) => String(i)));
    await until(() => sources[0]!.current.value.length === 22);
    // Twenty records of one turn are one notification of each component.
    expect(told).toBe(50);
    for (const leave of leaves) leave();
    await Promise.resolve();
    told = 0;
    await one.append("c");
    await turns(20);
    expect([told, sources[0]!.current.value, one.listeners.size]).toEqual([0, [], 0]);
  });

  it.each(Array.from({ length: 12 }, (_, i) => 300 + i))(
    "seed %i: what is told is the fold of the log at a prefix, and prefixes grow",
    async (seed) => {
      const random = new Random(seed);
      const one = await OneTopic.make();
      const all: string[] = [];
      const tide = tideSource(one.tide);
      const seen: { readonly offset: number; readonly value: readonly string[] }[] = [];
      const source = viewSource(tide, list);
      const leave = source.subscribe(() => {
        const { value, at, isReady, error } = source.current;
        expect(error).toBe(undefined);
        if (isReady) seen.push({ offset: at.offset, value });
      });
      for (let step = 0; step < 40; step++) {
        const values = Array.from({ length: 1 + random.int(8) }, (_, i) => `${step}.${i}`);
        all.push(...values);
        await one.append(...values);
        await turns(random.int(4));
      }
      await until(() => seen.at(-1)?.offset === all.length);
      leave();
      let before = 0;
      for (const { offset, value } of seen) {
        expect(offset).toBeGreaterThanOrEqual(before);
        expect(value).toEqual(all.slice(0, offset));
        before = offset;
      }
      expect(seen.length).toBeGreaterThan(5);
    },
  );

  it("a module that is evaluated anew, as by a dev server, goes on with the view unless its code differs", async () => {
    const one = await OneTopic.make();
    const tide = tideSource(one.tide);
    const leaveProvider = tide.subscribe(() => undefined);
    // What a module of an app makes, and a dev server makes anew: other objects and functions of the same text.
    const evaluated = (apply: (state: number) => number) =>
      viewSource(tide, defineView(defineTopic("t"), { name: "hot", initial: () => 0, apply }));
    await one.append("a", "b");
    const first = evaluated((n) => n + 1);
    let leave = first.subscribe(() => undefined);
    await until(() => first.current.value === 2);
    const edited: [(state: number) => number, number, number][] = [
      [(n) => n + 1, 2, 1],
      [(n) => n + 5, 10, 2],
    ];
    for (const [apply, value, views] of edited) {
      // The old component is unmounted, and the new one mounted, in one turn.
      const anew = evaluated(apply);
      leave();
      leave = anew.subscribe(() => undefined);
      await until(() => anew.current.value === value);
      expect(one.views).toBe(views);
    }
    leave();
    await turns(2);
    expect([first.current.value, tide.current.state]).toEqual([0, "open"]);
    leaveProvider();
  });

  it("an error of apply, then or later, is in `error`; the tide's end is, too", async () => {
    const one = await OneTopic.make();
    await one.append("a");
    const caught: unknown[] = [];
    const hear = (thrown: unknown): void => void caught.push(thrown);
    process.on("uncaughtException", hear);
    const tide = tideSource(one.tide);
    const failing = viewSource(tide, {
      ...list,
      name: "failing",
      apply: (state: readonly string[], { value }: TopicRecord<string>) => {
        if (value === "bad") throw new RangeError("planted");
        return [...state, value!];
      },
    });
    failing.subscribe(() => undefined);
    await until(() => failing.current.isReady);
    await one.append("bad");
    await until(() => failing.current.error !== undefined);
    process.off("uncaughtException", hear);
    expect([failing.current.error!.code, failing.current.value]).toEqual(["INTERNAL", ["a"]]);
    expect(caught.map(String)).toEqual(["RangeError: planted"]);

    const fine = viewSource(tide, list);
    fine.subscribe(() => undefined);
    const error = new TidemarkError("CLOSED", "planted", { reason: "destroyed" });
    for (const listener of one.listeners) listener({ type: "closed", reason: error.message, error });
    expect([fine.current.error, tide.current.state]).toEqual([error, "closed"]);
    // Not "CLOSED: CLOSED: …".
    expect(tide.current.error).toBe(error);
  });

  it("a topic that was deleted begins anew with initial(), and nothing is thrown", async () => {
    const one = await OneTopic.make();
    await one.append("a");
    const source = viewSource(tideSource(one.tide), list);
    source.subscribe(() => undefined);
    await until(() => source.current.isReady);
    const { log, store } = one.made;
    const stored = await store.log("t-0");
    await log.delete(() => deleteLog(stored), deleted("t"));
    await one.made.reopen();
    await until(() => source.current.value.length === 0 && source.current.isReady);
    await one.append("b");
    await until(() => source.current.value.length === 1);
    expect([source.current.value, source.current.error]).toEqual([["b"], undefined]);
    // Some until the log is there again, and one that stays.
    const { views } = one;
    expect(views).toBeGreaterThan(1);
    await turns(20);
    expect(one.views).toBe(views);
  });
});

describe("records of components", () => {
  it("the newest, as they come; one follower for those with the same options", async () => {
    const one = await OneTopic.make();
    await one.append(...Array.from({ length: 10 }, (_, i) => `r${i}`));
    const tide = tideSource(one.tide);
    const three = [1, 2].map(() => recordsSource(tide, words, { last: 3 }));
    const leaves = three.map((source) => source.subscribe(() => undefined));
    const once = recordsSource(tide, words, { last: 2, follow: false });
    once.subscribe(() => undefined);
    const none = recordsSource(tide, words, { last: 0 });
    none.subscribe(() => undefined);
    const values = (source: (typeof three)[0]): unknown[] => source.current.value.map(({ value }) => value);
    await until(() => three[0]!.current.isReady && once.current.isReady && none.current.isReady);
    expect([values(three[0]!), values(once), one.followers]).toEqual([["r7", "r8", "r9"], ["r8", "r9"], 3]);
    for (let i = 10; i < 30; i++) await one.append(`r${i}`);
    await until(() => values(three[1]!).at(-1) === "r29");
    expect([values(three[0]!), values(once), values(none)]).toEqual([["r27", "r28", "r29"], ["r8", "r9"], []]);
    for (const leave of leaves) leave();
    await turns(3);
    expect(three[0]!.current.error).toBe(undefined);
  });
});

describe("appends of components", () => {
  it("keep their order, and are pending until the ack; many are one notification", async () => {
    const one = await OneTopic.make();
    const appending = appendingTo(tideSource(one.tide), words);
    let told = 0;
    appending.subscribe(() => told++);
    const acks = Array.from({ length: 100 }, (_, i) => appending.calls.append({ value: String(i) }));
    await Promise.resolve();
    expect([appending.current.pending.length, told]).toEqual([100, 1]);
    expect(await Promise.all(acks)).not.toContain(undefined);
    await Promise.resolve();
    expect([appending.current.pending, one.appended]).toEqual([[], Array.from({ length: 100 }, (_, i) => String(i))]);
    expect(told).toBe(2);
  });

  it("what has failed stays with its error; retry() leaves out what may be in the log, dismiss() forgets", async () => {
    const one = await OneTopic.make();
    const appending = appendingTo(tideSource(one.tide), words);
    const { append, retry, dismiss } = appending.calls;
    one.appendError = "QUOTA_EXCEEDED";
    expect(await Promise.all([append({ value: "a" }), append({ value: "b" })])).toEqual([undefined, undefined]);
    one.appendError = "OUTCOME_UNKNOWN";
    await append({ value: "c" });
    await turns(1);
    const codes = () => appending.current.pending.map(({ record, error }) => [record.value, error?.code]);
    expect(codes()).toEqual([
      ["a", "QUOTA_EXCEEDED"],
      ["b", "QUOTA_EXCEEDED"],
      ["c", "OUTCOME_UNKNOWN"],
    ]);
    expect(appending.current.error!.code).toBe("QUOTA_EXCEEDED");
    one.appendError = undefined;
    retry();
    await turns(3);
    expect([one.appended, codes()]).toEqual([["a", "b"], [["c", "OUTCOME_UNKNOWN"]]]);
    dismiss();
    await Promise.resolve();
    expect(appending.current).toEqual({ pending: [], error: undefined });
  });
});

describe("bad input", () => {
  it.each([
    ["a view's name", { ...list, name: "" }],
    ["apply", { ...list, apply: 5 as never }],
  ])("what view() refuses is in `error`: %s", async (_, definition) => {
    const one = await OneTopic.make();
    const source = viewSource(tideSource(one.tide), definition);
    source.subscribe(() => undefined);
    await until(() => source.current.error !== undefined);
    expect(source.current.error!.code).toBe("INVALID_ARGUMENT");
  });
});

describe("types", () => {
  it("of a topic's schema or events are those of what is appended, folded and shown", () => {
    const orders = defineTopic("orders", { schema: z.object({ total: z.string().transform(Number) }) });
    const sum = defineView(orders, { name: "sum", initial: () => 0, apply: (n, { value }) => n + (value?.total ?? 0) });
    const kinds = events({ added: z.string(), taken: z.number() });
    const changes = defineTopic("changes", { schema: kinds });
    const tide = tideSource("x");
    const shown = (): readonly unknown[] => [
      appendingTo(tide, orders).calls.append({ value: { total: "7" } }),
      // @ts-expect-error a number is what is read, not what is appended
      appendingTo(tide, orders).calls.append({ value: { total: 7 } }),
      appendingTo(tide, changes).calls.append(kinds.record("added", "a")),
      // @ts-expect-error no event
      appendingTo(tide, changes).calls.append({ value: "a" }),
      viewSource(tide, sum).current.value.toFixed(),
      recordsSource(tide, changes).current.value.map((record) => record.type === "added" && record.value?.length),
    ];
    expect([typeof shown, viewSource(tide, sum).current.value]).toEqual(["function", 0]);
  });
});
