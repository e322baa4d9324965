/**
 * Readers of one stream in one isolate share a socket to its object (worker/rpc/shared-watch.ts): each gets every
 * record once, whoever holds the socket and however its reader ends, and the object holds one socket for all.
 */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { sse } from "../../worker/front/sse.ts";
import { newsNotice, plainNotice } from "../../worker/rpc/notice.ts";
import { sharedWatch } from "../../worker/rpc/shared-watch.ts";
import type { Ask, Watch } from "../../worker/rpc/watch.ts";
import { offsetText, SseReader } from "../edge/sse-reader.ts";

type Listener = (event: { data: unknown; code: number; reason: string }) => void;

/** One watcher's socket, as the object made it. */
class Wire {
  readonly #listeners = new Map<string, Listener>();
  /** Messages that came before anybody listened. */
  readonly #early: unknown[] = [];
  binaryType = "";
  isClosed = false;
  accept(): void {}
  close(): void {
    this.isClosed = true;
  }
  addEventListener(type: string, listener: Listener): void {
    this.#listeners.set(type, listener);
    if (type === "message") for (const data of this.#early.splice(0)) queueMicrotask(() => this.emit(type, data));
  }
  emit(type: "message" | "close", data?: unknown): void {
    const listener = this.#listeners.get(type);
    if (!listener) this.#early.push(data);
    else if (!this.isClosed) listener({ data, code: 1005, reason: "" });
  }
}

let logs = 0;

/** A log's object with its watchers: it tells them as telling.ts does, and at an opening as watchers.ts does. */
class Log {
  readonly records: string[] = [];
  readonly wires: Wire[] = [];
  /** Where each watcher said that it was. */
  readonly known: number[] = [];
  readonly asked: string[] = [];
  refuses = false;

  /** `stream` is its name for itself: another one may stand at the same place later. */
  constructor(
    readonly name = `log-${++logs}`,
    readonly stream = "1",
  ) {}

  readonly ask: Ask = async (query, headers = {}) => {
    const { records } = this;
    if (headers["upgrade"]) {
      if (this.refuses)
        return Response.json({ error: { code: "LIMIT_EXCEEDED", message: "too many" } }, { status: 429 });
      const wire = new Wire();
      this.wires.push(wire);
      const known = Number(headers["x-tidemark-watch"]);
      this.known.push(known);
      if (records.length > known) wire.emit("message", plainNotice(records.length, false));
      return { status: 101, webSocket: wire, headers: new Headers() } as unknown as Response;
    }
    const from = Number(/offset=(\d+)_/.exec(query)![1]);
    const until = Math.min(records.length, Number(headers["x-tidemark-until"] ?? Infinity));
    this.asked.push(`${from}-${until}`);
    return new Response(`[${records.slice(from, until).join(",")}]`, {
      headers: {
        "content-type": "application/json",
        "x-tidemark-stream": this.stream,
        "tidemark-from-offset": offsetText(from),
        "stream-next-offset": offsetText(until),
        ...(until === records.length && { "stream-up-to-date": "true" }),
      },
    });
  };

  get open(): number {
    return this.wires.filter(({ isClosed }) => !isClosed).length;
  }

  /** A commit of one record. */
  commit(record: string, isTold = true): void {
    const from = this.records.length;
    this.records.push(record);
    if (!isTold) return;
    for (const wire of this.wires)
      wire.emit("message", newsNotice({ from, end: from + 1, body: `[${record}]` }, false));
  }

  async reader(): Promise<SseReader> {
    const request = { offset: offsetText(0), cursor: undefined, waitMs: 60_000, accept: null, signal: undefined };
    const times = { heartbeatMs: 15_000, stalledMs: 15_000 };
    const reader = new SseReader(await sse(this.ask, { ...request, ...times, lastEventId: null, log: this.name }));
    await reader.control();
    return reader;
  }

  watch(offset: number): Promise<Watch> {
    const times = { untilMs: Date.now() + 600_000, heartbeatMs: 15_000 };
    return sharedWatch({ key: this.name, ask: this.ask, offset, form: "values", signal: undefined, ...times });
  }
}

const turn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 0));
async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await turn();
}
const numbers = (data: readonly string[]): number[] => data.flatMap((text) => JSON.parse(text) as number[]);

describe("readers that share", () => {
  it("have one socket, each gets every record once, and the last one closes it", async () => {
    const log = new Log();
    const readers = [await log.reader(), await log.reader(), await log.reader()];
    for (let n = 0; n < 5; n++) log.commit(String(n));
    for (const reader of readers) expect(numbers(await reader.dataUntil(offsetText(5)))).toEqual([0, 1, 2, 3, 4]);
    expect([log.wires.length, log.asked]).toEqual([1, ["0-0", "0-0", "0-0"]]);
    // The first one has the socket.
    for (const reader of readers.toReversed()) {
      expect(log.open).toBe(1);
      await reader.cancel();
    }
    expect(log.open).toBe(0);
    // Whoever comes then opens one of its own.
    const late = await log.reader();
    expect(log.wires.length).toBe(2);
    await late.cancel();
  });

  it("that are behind get all events that wait for them in one piece", async () => {
    const log = new Log();
    const reader = await log.reader();
    for (let n = 0; n < 4; n++) log.commit(String(n));
    const { pieces } = reader;
    expect(numbers(await reader.dataUntil(offsetText(4)))).toEqual([0, 1, 2, 3]);
    expect(reader.pieces - pieces).toBe(1);
    await reader.cancel();
  });

  it("go on when the reader whose socket it is leaves, and ask for what came in between", async () => {
    const log = new Log();
    const readers = [await log.reader(), await log.reader(), await log.reader()];
    log.commit("0");
    for (const reader of readers) await reader.dataUntil(offsetText(1));
    const rest = readers.slice(1).map(async (reader) => numbers(await reader.dataUntil(offsetText(3))));
    await turn();
    // Nobody is told of this record: the socket goes, and the next one is not there yet.
    log.commit("1", false);
    await readers[0]!.cancel();
    await until(() => log.wires.length === 2);
    expect([log.open, log.known]).toEqual([1, [0, 1]]);
    await until(() => log.asked.length === 5);
    log.commit("2");
    expect(await Promise.all(rest)).toEqual([
      [1, 2],
      [1, 2],
    ]);
    expect(log.asked.slice(3)).toEqual(["1-2", "1-2"]);
    for (const reader of readers) await reader.cancel();
    expect(log.open).toBe(0);
  });

  it("at different places each learn whether there is more for them", async () => {
    const log = new Log();
    for (const record of ["0", "1", "2"]) log.commit(record);
    const [ahead, behind] = [await log.watch(3), await log.watch(1)];
    expect([log.known, await behind.past(1, Infinity), behind.end]).toEqual([[3], true, 3]);
    const waiting = ahead.past(3, Date.now() + 60_000);
    log.commit("3");
    expect([await waiting, ahead.take(3)?.body, behind.take(1)]).toEqual([true, "[3]", undefined]);
    ahead.close();
    behind.close();
  });

  it("of another stream at the same place do not share with them", async () => {
    const log = new Log();
    const first = await log.reader();
    const other = new Log(log.name, "2");
    const second = await other.reader();
    log.commit("0");
    other.commit("9");
    expect([await first.dataUntil(offsetText(1)), await second.dataUntil(offsetText(1))]).toEqual([["[0]"], ["[9]"]]);
    expect([log.wires.length, other.wires.length]).toEqual([1, 1]);
    await first.cancel();
    await second.cancel();
  });

  it("end when the object closes their socket, and the next reader opens another", async () => {
    const log = new Log();
    const watches = [await log.watch(0), await log.watch(0)];
    const waiting = watches.map((watch) => watch.past(0, Date.now() + 60_000));
    log.wires[0]!.emit("close");
    expect([await Promise.all(waiting), watches.map(({ gone }) => gone)]).toEqual([
      [true, true],
      [true, true],
    ]);
    const next = await log.watch(0);
    expect(log.wires.length).toBe(2);
    for (const watch of [...watches, next]) watch.close();
    expect(log.open).toBe(0);
  });

  it("a socket that is refused is the refusal of its reader; those that wait for it try for themselves", async () => {
    const log = new Log();
    log.refuses = true;
    await expect(log.watch(0)).rejects.toMatchObject({ code: "LIMIT_EXCEEDED" });
    log.refuses = false;
    const owner = await log.watch(0);
    const other = await log.watch(0);
    const waiting = other.past(0, Date.now() + 60_000);
    log.refuses = true;
    owner.close();
    await expect(waiting).rejects.toMatchObject({ code: "LIMIT_EXCEEDED" });
    other.close();
    log.refuses = false;
    const next = await log.watch(0);
    expect(log.open).toBe(1);
    next.close();
  });
});

describe("a socket whose reader ends without a word", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  /** As an SSE reader does: it waits again after each heartbeat. */
  async function wait(watch: Watch, offset: number): Promise<boolean> {
    for (;;) if (await watch.past(offset, Date.now() + 15_000)) return true;
  }

  it("is replaced after some heartbeats, and nothing is lost; what still comes over it does not count", async () => {
    const log = new Log();
    const gone = await log.watch(0);
    const others = [await log.watch(0), await log.watch(0)];
    const waiting = others.map((watch) => wait(watch, 0));
    // The reader's request has gone, and its socket with it.
    log.commit("0", false);
    await vi.advanceTimersByTimeAsync(31_000);
    expect([await Promise.all(waiting), log.known, others.map(({ end }) => end)]).toEqual([
      [true, true],
      [0, 0],
      [1, 1],
    ]);
    log.wires[0]!.emit("message", newsNotice({ from: 1, end: 2, body: "[7]" }, false));
    log.wires[0]!.emit("close");
    expect(others.map((watch) => [watch.end, watch.gone])).toEqual([
      [1, false],
      [1, false],
    ]);
    // It was alive, and only slow: it is told like the others.
    log.commit("1");
    expect([await gone.past(1, Infinity), gone.take(1)?.body]).toEqual([true, "[1]"]);
    for (const watch of [gone, ...others]) watch.close();
    expect(log.open).toBe(0);
  });

  it("is replaced at once where it leaves while the others are told of a commit, and all learn of it", async () => {
    const log = new Log();
    const watches = await Promise.all(Array.from({ length: 100 }, () => log.watch(0)));
    const waiting = watches.map((watch) => watch.past(0, Date.now() + 60_000));
    log.commit("0");
    // Some are told in the turn of the notice. The others would be in later turns of the request that ends here.
    watches[0]!.close();
    expect(await Promise.all(waiting)).toEqual(watches.map(() => true));
    expect(watches.slice(1).map(({ end, gone }) => [end, gone])).toEqual(watches.slice(1).map(() => [1, false]));
    const next = watches.slice(1).map((watch) => watch.past(1, Date.now() + 60_000));
    expect(log.open).toBe(1);
    log.commit("1");
    await vi.advanceTimersByTimeAsync(10);
    expect(await Promise.all(next)).toEqual(next.map(() => true));
    expect(watches.slice(1).map((watch) => watch.take(1)?.body)).toEqual(next.map(() => "[1]"));
    for (const watch of watches) watch.close();
    expect(log.open).toBe(0);
  });

  it("is not replaced while its reader waits, however long nothing comes", async () => {
    const log = new Log();
    const watches = [await log.watch(0), await log.watch(0)];
    const waiting = watches.map((watch) => wait(watch, 0));
    await vi.advanceTimersByTimeAsync(300_000);
    expect(log.wires.length).toBe(1);
    log.commit("0");
    expect(await Promise.all(waiting)).toEqual([true, true]);
    for (const watch of watches) watch.close();
  });
});

describe("readers whose answers end one after the other", () => {
  const READERS = 400;
  const ANSWER_MS = 60_000;
  const HEARTBEAT_MS = 15_000;
  const TRIP_MS = 100;

  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

  /** When each reader learned of the first record. One whose answer is over comes again, or leaves. */
  function readers(log: Log, count: number, firstMs: (i: number) => number, comesAgain: boolean): number[] {
    const learned: number[] = [];
    const slow: Ask = async (...asked) => sleep(TRIP_MS).then(() => log.ask(...asked));
    const answer = async (ms: number): Promise<boolean> => {
      const end = Date.now() + ms;
      const untilMs = end + HEARTBEAT_MS;
      const opening = { key: log.name, ask: slow, offset: 0, form: "values" as const, signal: undefined };
      const watch = await sharedWatch({ ...opening, untilMs, heartbeatMs: HEARTBEAT_MS });
      let isPast = false;
      while (!isPast && Date.now() < end) isPast = await watch.past(0, Math.min(end, Date.now() + HEARTBEAT_MS));
      watch.close();
      if (isPast) learned.push(Date.now());
      return isPast;
    };
    for (let i = 0; i < count; i++)
      void (async () => {
        let isPast = await answer(firstMs(i));
        while (comesAgain && !isPast) isPast = await answer(ANSWER_MS);
      })();
    return learned;
  }

  it("hand the socket on seldom, and learn of a record at once", async () => {
    const log = new Log();
    const learned = readers(log, READERS, (i) => (ANSWER_MS * (i + 1)) / READERS, true);
    await vi.advanceTimersByTimeAsync(2 * ANSWER_MS);
    // At first they hand it on as they came; then it is with one that stays.
    const before = log.wires.length;
    await vi.advanceTimersByTimeAsync(ANSWER_MS);
    expect(log.wires.length - before).toBeLessThan(5);
    const [at, wires] = [Date.now(), log.wires.length];
    log.commit("1");
    await vi.advanceTimersByTimeAsync(TRIP_MS);
    expect(learned.length).toBe(READERS);
    expect(Math.max(...learned) - at).toBeLessThan(TRIP_MS);
    expect(log.wires.length).toBe(wires);
  });

  it("a reader that stays gets the socket also when those that were woken for it leave at once", async () => {
    const log = new Log();
    readers(log, 1, () => ANSWER_MS, false);
    await vi.advanceTimersByTimeAsync(TRIP_MS);
    readers(log, 3, () => ANSWER_MS - TRIP_MS, false);
    // So that it does not look by itself in that moment.
    await vi.advanceTimersByTimeAsync(HEARTBEAT_MS / 2);
    const learned = readers(log, 1, () => 2 * ANSWER_MS, false);
    await vi.advanceTimersByTimeAsync(ANSWER_MS - HEARTBEAT_MS / 2 + TRIP_MS);
    const at = Date.now();
    log.commit("1");
    await vi.advanceTimersByTimeAsync(3 * TRIP_MS);
    expect(learned.map((ms) => ms - at < 3 * TRIP_MS)).toEqual([true]);
  });
});
