/**
 * Live readers of one log, each on a connection of its own. JSON records of 140 bytes are appended one after the other,
 * and every reader must get each record once and in order. Measured are the times of the deliveries and of the writer's
 * acks, and the server's processor time per delivery. A toy Worker (toy-live-worker.ts) shows what the runtime takes
 * for a server-sent event, and the Rust server stands beside where it is installed.
 */
import { connect as connectTcp } from "node:net";
import { decodeBatch, splitBatches } from "../../../src/record/record-batch.ts";
import { quantile, median } from "../../support/figures.mjs";
import { releaseKernel } from "../../support/kernels.ts";
import type { Contenders } from "./contenders.ts";
import { cpuMs } from "./contenders.ts";
import { keep, note, number, type Result, type Size, type Workload } from "./contest.ts";
import { Connection, create, headOf } from "./load.ts";
import type { EdgeLog } from "../../../src/sync/edge-socket.ts";
import { connect } from "./sockets.ts";

const RECORD_BYTES = 140;
const EVERY_MS = 150;
const JSON_TYPE = "application/json";

interface Readers {
  /** How long each delivery so far took. */
  readonly took: number[];
  end(): void;
}
type Dialect = "sse" | "longPoll" | "webSocket";

/** Records the times of deliveries, and throws where a reader gets a record out of order. */
class Delivered {
  readonly took: number[] = [];
  #wanted = 0;
  #told: (() => void) | undefined;

  /** A reader got record `n` and expected record `expected`. Returns the number it expects next. */
  got(n: number, expected: number, sentAt: number): number {
    if (n !== expected) throw new Error(`a reader got record ${n} and not ${expected}`);
    this.took.push(performance.now() - sentAt);
    if (this.took.length >= this.#wanted) this.#told?.();
    return n + 1;
  }

  reached(count: number): Promise<void> {
    if (this.took.length >= count) return Promise.resolve();
    this.#wanted = count;
    return new Promise((resolve) => (this.#told = resolve));
  }
}

const RECORD = /\{"n":(\d+),"t":([\d.]+),/g;

/** Reads text from a connection. `onText` gets it in pieces that end with a line. */
function readLines(
  port: number,
  request: string,
  onText: (text: string) => void,
): { send(text: string): void; end(): void } {
  let rest = "";
  const socket = connectTcp({ port, host: "127.0.0.1", noDelay: true });
  socket.on("data", (data) => {
    rest += data.toString("latin1");
    const cut = rest.lastIndexOf("\n") + 1;
    const text = rest.slice(0, cut);
    rest = rest.slice(cut);
    onText(text);
  });
  socket.write(request);
  return { send: (text) => void socket.write(text), end: () => void socket.destroy() };
}

/** Resolves once every reader is at the log's end. */
async function sseReaders(address: string, count: number, delivered: Delivered): Promise<Readers> {
  const url = new URL(address);
  const request = `GET ${url.pathname}?offset=now&live=sse HTTP/1.1\r\nHost: ${url.host}\r\n\r\n`;
  const readers: { end(): void }[] = [];
  for (let i = 0; i < count; i++)
    await new Promise<void>((resolve) => {
      let expected = 0;
      const take = (text: string): void => {
        if (text.includes("event: control")) resolve();
        for (const [, n, t] of text.matchAll(RECORD)) expected = delivered.got(Number(n), expected, Number(t));
      };
      readers.push(readLines(Number(url.port), request, take));
    });
  return { took: delivered.took, end: () => readers.forEach((reader) => reader.end()) };
}

async function longPollReaders(address: string, count: number, delivered: Delivered): Promise<Readers> {
  const url = new URL(address);
  const readers: { end(): void }[] = [];
  const ask = (offset: string): string =>
    `GET ${url.pathname}?offset=${offset}&live=long-poll HTTP/1.1\r\nHost: ${url.host}\r\n\r\n`;
  const start = `${"0".repeat(16)}_${"0".repeat(16)}`;
  for (let i = 0; i < count; i++) {
    let [expected, answer] = [0, ""];
    const socket = connectTcp({ port: Number(url.port), host: "127.0.0.1", noDelay: true });
    socket.on("data", (data) => {
      answer += data.toString("latin1");
      const head = answer.indexOf("\r\n\r\n");
      if (head < 0) return;
      const length = /\r\ncontent-length: *(\d+)/i.exec(answer)?.[1];
      if (length === undefined ? !answer.endsWith("0\r\n\r\n") : answer.length < head + 4 + Number(length)) return;
      for (const [, n, t] of answer.matchAll(RECORD)) expected = delivered.got(Number(n), expected, Number(t));
      const next = /\r\nstream-next-offset: *(\S+)/i.exec(answer)![1]!;
      answer = "";
      socket.write(ask(next));
    });
    socket.write(ask(start));
    readers.push({ end: () => void socket.destroy() });
  }
  return { took: delivered.took, end: () => readers.forEach((reader) => reader.end()) };
}

async function socketReaders(address: string, count: number, delivered: Delivered): Promise<Readers> {
  const kernel = await releaseKernel();
  const logs: EdgeLog[] = [];
  for (let i = 0; i < count; i += 50)
    logs.push(...(await Promise.all(Array.from({ length: Math.min(50, count - i) }, () => connect(address)))));
  const decoder = new TextDecoder();
  for (const log of logs)
    void (async () => {
      let expected = 0;
      for await (const { bytes } of log.follow("latest", { windowBytes: 64 * 1024 }))
        for (const part of splitBatches(bytes)) {
          const batch = await decodeBatch(kernel, part);
          for (let i = 0; i < batch.count; i++)
            for (const [, n, t] of decoder.decode(batch.valueAt(i)!).matchAll(RECORD))
              expected = delivered.got(Number(n), expected, Number(t));
        }
    })().catch(() => undefined);
  await Promise.all(logs.map((log) => log.fetch("latest")));
  return { took: delivered.took, end: () => logs.forEach((log) => log.socket.close()) };
}

const READERS = { sse: sseReaders, longPoll: longPollReaders, webSocket: socketReaders };

interface Server {
  readonly url: string;
  readonly pid?: number | undefined;
}
interface Run {
  readonly took: readonly number[];
  readonly acks: readonly number[];
  readonly cpuUs: number;
}

/** Appends records to a new log that has `count` readers, and measures the deliveries. */
async function run(
  dialect: Dialect,
  { url, pid }: Server,
  address: string,
  { followers, liveRecords }: Size,
): Promise<Run> {
  await create(address, JSON_TYPE);
  const delivered = new Delivered();
  const readers = await READERS[dialect](address, followers, delivered);
  const line = new Connection(Number(new URL(url).port));
  // Not every dialect shows when a reader waits at the end, so all get a second; it also lets garbage of the set-up be
  // collected.
  await new Promise((resolve) => setTimeout(resolve, 1_000));
  const acks: number[] = [];
  const send = async (n: number): Promise<void> => {
    const sent = performance.now();
    const head = `{"n":${n},"t":${sent.toFixed(3)},"x":"`;
    const body = Buffer.from(`${head}${"x".repeat(RECORD_BYTES - head.length - 2)}"}`);
    const status = await line.request(headOf(new URL(address), body.length, JSON_TYPE), body);
    if (status !== 204) throw new Error(`append: ${status}`);
    acks.push(performance.now() - sent);
  };
  // The first records warm up the compilers and are not counted.
  for (let n = 0; n < 3; n++) {
    await send(n);
    await delivered.reached((n + 1) * followers);
  }
  const skipped = delivered.took.length;
  acks.length = 0;
  const before = cpuMs(pid!);
  for (let n = 3; n < liveRecords + 3; n++) {
    const due = performance.now() + EVERY_MS;
    await send(n);
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, due - performance.now())));
  }
  await delivered.reached(skipped + liveRecords * followers);
  const cpuUs = ((cpuMs(pid!) - before) * 1_000) / (liveRecords * followers);
  readers.end();
  line.end();
  return { took: delivered.took.slice(skipped), acks, cpuUs };
}

const LABELS = ["p50Ms", "p99Ms", "ackP50Ms", "cpuUs"] as const;

const live =
  (dialect: Dialect): Workload =>
  async (result: Result, size: Size, contenders: Contenders): Promise<void> => {
    const servers: Record<string, Server> = {
      ...(await contenders.pair(`live-${dialect}`)),
      ...(dialect === "sse" && { toy: await contenders.toy("toy-live-worker.ts") }),
      ...(dialect !== "webSocket" && (await contenders.rust())),
    };
    const names = Object.keys(servers);
    const found: Record<string, Record<(typeof LABELS)[number], number[]>> = {};
    for (const name of names) found[name] = { p50Ms: [], p99Ms: [], ackP50Ms: [], cpuUs: [] };
    for (let round = 0; round < Math.min(3, size.rounds); round++)
      for (let i = 0; i < names.length; i++) {
        const name = names[(i + round) % names.length]!;
        const server = servers[name]!;
        const { took, acks, cpuUs } = await run(
          dialect,
          server,
          `${server.url}/v1/stream/live/${dialect}/${round}`,
          size,
        );
        const of = { p50Ms: median(took), p99Ms: quantile(took, 0.99), ackP50Ms: median(acks), cpuUs };
        for (const label of LABELS) found[name]![label].push(of[label]);
        note(`round ${round + 1}: ${name} ${LABELS.map((label) => `${label} ${number(of[label])}`).join(", ")}`);
      }
    const key = `live.${dialect}.followers${size.followers}`;
    for (const name of names)
      for (const label of LABELS) result.figures[`${key}.${name}.${label}`] = median(found[name]![label]);
    // The ratio of the other one's figure to this one's.
    if (found["toy"]) keep(result, `${key}.toy.cpuUs`, found["toy"].cpuUs, found["tidemark"]!.cpuUs);
    if (found["before"])
      for (const label of LABELS)
        keep(result, `${key}.before.${label}`, found["before"][label], found["tidemark"]![label]);
  };

/** How the cost of a delivery grows with the number of readers. One round each. */
const grows =
  (dialect: Dialect): Workload =>
  async (result, size, contenders) => {
    const server = (await contenders.pair(`live-grows-${dialect}`))["tidemark"]!;
    for (const followers of size.growing) {
      const address = `${server.url}/v1/stream/live/${dialect}/${followers}`;
      const { took, acks, cpuUs } = await run(dialect, server, address, { ...size, followers });
      const key = `live.${dialect}.followers${followers}.tidemark`;
      const of = { p50Ms: median(took), p99Ms: quantile(took, 0.99), ackP50Ms: median(acks), cpuUs };
      for (const label of LABELS) result.figures[`${key}.${label}`] = of[label];
    }
  };

export const LIVE: Readonly<Record<string, Workload>> = {
  live_sse: live("sse"),
  live_longPoll: live("longPoll"),
  live_webSocket: live("webSocket"),
  live_grows_sse: grows("sse"),
  live_grows_longPoll: grows("longPoll"),
  live_grows_webSocket: grows("webSocket"),
};
