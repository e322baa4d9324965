/**
 * What readers at a log's end are told: which news a notice brings, in what order, after what turn; and how a watch
 * keeps them. Whoever was told too little asks, and for no more than it was told of.
 */
import { describe, expect, it } from "vitest";
import { BatchBuilder } from "../../src/record/batch-builder.ts";
import { Telling } from "../../worker/log-object/telling.ts";
import { longPoll } from "../../worker/front/live-reads.ts";
import { sse } from "../../worker/front/sse.ts";
import { NEWS_BYTES_MAX, type NewsForm, newsNotice, plainNotice, readNotice } from "../../worker/rpc/notice.ts";
import { type Ask, Watch } from "../../worker/rpc/watch.ts";
import type { Stream } from "../../worker/stream/stream.ts";
import { offsetText, SseReader } from "../edge/sse-reader.ts";
import { releaseKernel } from "../support/kernels.ts";

const text = (value: string): Uint8Array => new TextEncoder().encode(value);
const textOf = (body: string | Uint8Array): string =>
  typeof body === "string" ? body : new TextDecoder().decode(body);
const kernel = await releaseKernel();

type Listener = (event: { data: unknown; code: number; reason: string }) => void;

/** The Worker's end of a watcher's socket. */
class Wire {
  readonly #listeners = new Map<string, Listener>();
  binaryType = "";
  /** News of JSON are text, all others bytes. */
  form: (body: string) => string | Uint8Array = text;
  isClosed = false;
  accept(): void {}
  close(): void {
    this.isClosed = true;
  }
  addEventListener(type: string, listener: Listener): void {
    this.#listeners.set(type, listener);
  }
  /** A notice comes; `body` where it brings news. */
  notice(from: number, end: number, body?: string, closed = false): void {
    const sent =
      body === undefined ? plainNotice(end, closed) : newsNotice({ from, end, body: this.form(body) }, closed);
    this.#listeners.get("message")!({ data: typeof sent === "string" ? sent : sent.buffer, code: 1005, reason: "" });
  }
}

const upgradeOf = (webSocket: Wire, headers: Record<string, string> = {}): Response =>
  ({ status: 101, webSocket, headers: new Headers(headers) }) as unknown as Response;

describe("a watch", () => {
  const taken = (watch: Watch, offset: number): string | undefined => {
    const news = watch.take(offset);
    return news && `${news.from}-${news.end} ${textOf(news.body)}`;
  };
  function watching(): { wire: Wire; watch: Watch } {
    const wire = new Wire();
    return { wire, watch: Watch.over(wire) };
  }

  it("gives news in their order, each once, to whoever stands where they begin", () => {
    const { wire, watch } = watching();
    wire.notice(5, 6, "a");
    wire.notice(6, 9, "b");
    expect([taken(watch, 5), taken(watch, 6), taken(watch, 9), watch.end]).toEqual(["5-6 a", "6-9 b", undefined, 9]);
  });

  it("takes text and bytes alike, whatever is in them", () => {
    const { wire, watch } = watching();
    for (const form of [text, String]) {
      wire.form = form;
      for (const body of ["", "{}", '[{"end":1}]', " 7 8 1 ", "ä😀"]) {
        wire.notice(2 ** 40, 2 ** 40 + 3, body, true);
        expect([taken(watch, 2 ** 40), watch.end, watch.closed]).toEqual([
          `${2 ** 40}-${2 ** 40 + 3} ${body}`,
          2 ** 40 + 3,
          true,
        ]);
      }
    }
  });

  it("gives none to whoever stands elsewhere, and none behind a gap", () => {
    const { wire, watch } = watching();
    wire.notice(5, 8, "a");
    expect([taken(watch, 4), taken(watch, 6)]).toEqual([undefined, undefined]);
    wire.notice(8, 9, "b");
    // A notice without news is a gap; so is one that was never delivered.
    wire.notice(9, 10);
    expect(taken(watch, 8)).toBeUndefined();
    wire.notice(10, 11, "c");
    wire.notice(12, 13, "d");
    expect([taken(watch, 10), taken(watch, 12), watch.end]).toEqual([undefined, "12-13 d", 13]);
  });

  it("keeps no more than one notice may hold", () => {
    const { wire, watch } = watching();
    wire.notice(0, 1, "x".repeat(NEWS_BYTES_MAX / 2));
    wire.notice(1, 2, "y".repeat(NEWS_BYTES_MAX / 2));
    expect(watch.take(0)!.body.length + watch.take(1)!.body.length).toBe(NEWS_BYTES_MAX);
    wire.notice(2, 3, "x".repeat(NEWS_BYTES_MAX / 2));
    wire.notice(3, 4, "y".repeat(NEWS_BYTES_MAX / 2 + 1));
    expect([taken(watch, 2), watch.take(3)?.body.length, watch.end]).toEqual([undefined, NEWS_BYTES_MAX / 2 + 1, 4]);
  });

  it("knows of an end without records", async () => {
    const { wire, watch } = watching();
    wire.notice(0, 7, undefined, true);
    expect([await watch.past(7, Infinity), watch.closed, taken(watch, 7), taken(watch, 6)]).toEqual([
      true,
      true,
      "7-7 ",
      undefined,
    ]);
  });

  it("wakes whoever waits: at a notice, at the deadline, when the socket goes; many waits have one timer", async () => {
    const { wire, watch } = watching();
    expect(await watch.past(0, Date.now() + 5)).toBe(false);
    for (let end = 1; end < 50; end++) {
      const waiting = watch.past(end - 1, Date.now() + 60_000);
      wire.notice(end - 1, end, "x");
      expect(await waiting).toBe(true);
    }
    expect(await watch.past(49, Date.now() + 5)).toBe(false);
    const waiting = watch.past(49, Date.now() + 60_000);
    watch.close();
    expect([await waiting, watch.gone, wire.isClosed]).toEqual([true, true, true]);
  });
});

describe("an SSE reader", () => {
  async function reading(records: readonly string[]) {
    const wire = new Wire();
    const asked: (string | undefined)[] = [];
    /** The log as a read sees it: an offset is a place in the list. */
    const ask: Ask = async (query, headers = {}) => {
      if (headers["upgrade"]) return upgradeOf(wire);
      const from = Number(/offset=(\d+)_/.exec(query)![1]);
      const until = Math.min(records.length, Number(headers["x-tidemark-until"] ?? Infinity));
      asked.push(`${from}-${headers["x-tidemark-until"] ?? ""}`);
      return new Response(records.slice(from, until).join(""), {
        headers: {
          "content-type": "text/plain",
          "tidemark-from-offset": offsetText(from),
          "stream-next-offset": offsetText(until),
          ...(until === records.length && { "stream-up-to-date": "true" }),
        },
      });
    };
    const request = { offset: offsetText(0), cursor: undefined, waitMs: 60_000, accept: null, signal: undefined };
    const reader = new SseReader(
      await sse(ask, { ...request, lastEventId: null, heartbeatMs: 15_000, stalledMs: 15_000 }),
    );
    await reader.control();
    return { wire, asked, reader };
  }

  it("at the end asks nothing, and says of each piece whether it is the newest", async () => {
    const { wire, asked, reader } = await reading([]);
    wire.notice(0, 2, "ab");
    wire.notice(2, 3, "c");
    expect(await reader.next()).toMatchObject({ data: "ab", id: offsetText(2) });
    expect(await reader.control()).toEqual({ streamNextOffset: offsetText(2), streamCursor: expect.any(String) });
    expect(await reader.next()).toMatchObject({ data: "c", id: offsetText(3) });
    expect(await reader.control()).toMatchObject({ upToDate: true });
    wire.notice(3, 3, undefined, true);
    expect(await reader.control()).toEqual({ streamNextOffset: offsetText(3), upToDate: true, streamClosed: true });
    expect([await reader.next(), asked]).toEqual([undefined, ["0-"]]);
  });

  it("that was told too little asks up to where it was told, and goes on with the next notice", async () => {
    const records: string[] = [];
    const { wire, asked, reader } = await reading(records);
    // The notice of the first two was lost, and the log goes on while the reader asks.
    records.push("a", "b", "c", "d", "e");
    wire.notice(2, 4, "cd");
    wire.notice(4, 5, "e");
    expect(await reader.dataUntil(offsetText(5))).toEqual(["abcde"]);
    records.push("f", "g", "h");
    wire.notice(5, 6);
    expect(await reader.dataUntil(offsetText(6))).toEqual(["f"]);
    wire.notice(6, 8, "gh");
    expect(await reader.dataUntil(offsetText(8))).toEqual(["gh"]);
    expect(asked).toEqual(["0-", "0-5", "5-6"]);
    await reader.cancel();
  });
});

describe("a long-poll", () => {
  function polling(headers: Record<string, string>) {
    const wire = new Wire();
    const asked: string[] = [];
    const ask: Ask = async (query, { upgrade } = {}) => {
      asked.push(`${upgrade ?? "read"} ${query}`);
      if (upgrade) return upgradeOf(wire, headers);
      return new Response("read", { headers: { ...headers, "stream-next-offset": offsetText(9) } });
    };
    const request = { offset: "now", cursor: undefined, waitMs: 60_000, accept: null, signal: undefined };
    return { wire, asked, answer: longPoll(ask, { ...request, wantsTide: false }) };
  }
  const waiting = {
    "content-type": "text/plain",
    "tidemark-from-offset": offsetText(4),
    "stream-next-offset": offsetText(4),
    "stream-up-to-date": "true",
  };
  const queue = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 0));

  it("at the end asks once: its answer is the socket, and then the news", async () => {
    const { wire, asked, answer } = polling(waiting);
    await queue();
    wire.notice(4, 6, "ab");
    const found = await answer;
    expect([
      await found.text(),
      found.headers.get("stream-next-offset"),
      found.headers.get("stream-up-to-date"),
    ]).toEqual(["ab", offsetText(6), "true"]);
    expect([asked, wire.isClosed]).toEqual([["websocket ?offset=now"], true]);
  });

  it("that was told the end alone reads from where it began to wait", async () => {
    const { wire, asked, answer } = polling(waiting);
    await queue();
    wire.notice(4, 9);
    expect(await (await answer).text()).toBe("read");
    expect(asked).toEqual(["websocket ?offset=now", `read ?offset=${offsetText(4)}`]);
  });

  it("whose object is of an earlier version is told to come again", async () => {
    const { wire, answer } = polling({});
    await expect(answer).rejects.toMatchObject({ code: "CLOSED", details: { retryAfter: 1 } });
    expect(wire.isClosed).toBe(true);
  });
});

describe("a log's news", () => {
  const batchOf = (baseOffset: number, ...values: string[]): Uint8Array => {
    const builder = new BatchBuilder(kernel);
    for (const value of values) builder.tryAppend({ key: null, value: text(value), timestamp: 1_000 });
    const batch = builder.build({ producerId: -1, producerEpoch: -1, baseSequence: -1 });
    new DataView(batch.buffer, batch.byteOffset).setBigInt64(0, BigInt(baseOffset));
    return batch;
  };

  function logOf() {
    const commits: { readonly from: number; readonly end: number; readonly batch: Uint8Array }[] = [];
    const told: string[] = [];
    let reads = 0;
    let damaged = false;
    let missing = 0;
    const stream = {
      kernel,
      isJson: true,
      tail: 0,
      closed: false,
      store: { isEnded: false },
      log: {
        get logEndOffset() {
          return stream.tail;
        },
        async fetch(from: number) {
          reads++;
          if (damaged) throw new Error("damaged");
          const found = commits.filter(({ end }) => end > from);
          const bytes = Uint8Array.from(found.flatMap(({ batch }) => [...batch]));
          return { bytes, nextOffset: stream.tail - missing, highWatermark: stream.tail };
        },
      },
    };
    const socketOf = (name: string) => ({
      send(data: string | Uint8Array<ArrayBuffer>) {
        const { end, closed, news } = readNotice(typeof data === "string" ? data : data.slice().buffer);
        const body = news && (name === "values" ? textOf(news.body) : `${news.body.length} bytes`);
        told.push(
          `${name} ${news?.from ?? ""}-${end}${closed ? " closed" : ""}${body === undefined ? "" : ` ${body}`}`,
        );
      },
    });
    const sockets: Partial<Record<NewsForm | "plain", ReturnType<typeof socketOf>[]>> = {
      values: [socketOf("values")],
    };
    const telling = new Telling({
      isHeard: () => Object.keys(sockets).length > 0,
      watchers: (form) => sockets[form ?? "plain"] ?? [],
      follows: async (_, { from, nextOffset }) => void told.push(`follows ${from}-${nextOffset}`),
      turn: () => new Promise((resolve) => setTimeout(resolve, 0)),
    });
    return {
      stream,
      told,
      sockets,
      socketOf,
      reads: () => reads,
      damage: () => (damaged = true),
      /** A read gives so many records less than there are. */
      cut: (records: number) => (missing = records),
      commit(...values: string[]): void {
        const from = stream.tail;
        telling.moved(stream as Stream);
        commits.push({ from, end: from + values.length, batch: batchOf(from, ...values) });
        stream.tail += values.length;
      },
      close(): void {
        stream.closed = true;
        telling.moved(stream as Stream);
      },
      /** Until nothing is told any more. */
      async settled(): Promise<void> {
        for (let seen = -1; seen !== told.length;) {
          seen = told.length;
          for (let i = 0; i < 20; i++) await new Promise((resolve) => setTimeout(resolve, 0));
        }
      },
    };
  }

  it("go out in a later turn than the commit; commits of one turn go together, read once", async () => {
    const log = logOf();
    log.sockets.plain = [log.socketOf("plain")];
    log.sockets.batches = [log.socketOf("batches")];
    log.commit("1", "2");
    log.commit('"three"');
    await Promise.resolve();
    expect(log.told).toEqual([]);
    await log.settled();
    const bytes = batchOf(0, "1", "2").length + batchOf(0, '"three"').length;
    expect(log.told).toEqual(["follows 0-3", 'values 0-3 [1,2,"three"]', `batches 0-3 ${bytes} bytes`, "plain -3"]);
    log.commit("4");
    await log.settled();
    expect(log.told.slice(4, 6)).toEqual(["follows 3-4", "values 3-4 [4]"]);
    expect(log.reads()).toBe(2);
    log.close();
    await log.settled();
    expect(log.told.slice(8)).toEqual(["follows 4-4", "values -4 closed", "batches -4 closed", "plain -4 closed"]);
  });

  it("of many readers go out some at a time, and commits that come meanwhile are told behind them", async () => {
    const log = logOf();
    log.sockets.values = Array.from({ length: 300 }, () => log.socketOf("values"));
    log.commit("1");
    const isEarly = new Promise<number>((resolve) => {
      const look = (): unknown => (log.told.length > 0 ? resolve(log.told.length) : setTimeout(look, 0));
      look();
    });
    const early = await isEarly;
    expect(early).toBeLessThan(200);
    log.commit("2");
    log.commit("3");
    await log.settled();
    expect(log.told.slice(0, 301)).toEqual(["follows 0-1", ...Array<string>(300).fill("values 0-1 [1]")]);
    expect(log.told.slice(301)).toEqual(["follows 1-3", ...Array<string>(300).fill("values 1-3 [2,3]")]);
  });

  it("are not read where nobody waits, and whoever comes then misses nothing", async () => {
    const log = logOf();
    const waiting = log.sockets.values!;
    delete log.sockets.values;
    log.commit("1");
    await log.settled();
    expect(log.reads()).toBe(0);
    log.sockets.values = waiting;
    log.commit("2");
    await log.settled();
    expect(log.told).toEqual(["follows 1-2", "values 1-2 [2]"]);
  });

  it("that are too large, damaged, or more than one read gives, are the new end alone", async () => {
    const log = logOf();
    log.sockets.batches = [log.socketOf("batches")];
    log.commit(`"${"x".repeat(NEWS_BYTES_MAX)}"`);
    await log.settled();
    log.commit("2");
    await log.settled();
    log.cut(1);
    log.commit("3", "4");
    await log.settled();
    log.damage();
    log.commit("5");
    await log.settled();
    const told = (name: string): string[] => log.told.filter((each) => each.startsWith(name));
    expect(told("values")).toEqual(["values -1", "values 1-2 [2]", "values -4", "values -5"]);
    const bytes = batchOf(1, "2").length;
    expect(told("batches")).toEqual(["batches -1", `batches 1-2 ${bytes} bytes`, "batches -4", "batches -5"]);
    // Follows read on by themselves, and learn of damage by that.
    expect(told("follows")).toEqual(["follows 0-1", "follows 1-2", "follows 2-3", "follows 4-4"]);
  });

  it("of a stream that is gone reach nobody: another may stand there by then", async () => {
    const log = logOf();
    log.commit("1");
    log.stream.store.isEnded = true;
    await log.settled();
    expect(log.told).toEqual([]);
  });
});
