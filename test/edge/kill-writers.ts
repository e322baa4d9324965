/**
 * The writers and readers of the test that kills workerd, and the ledger of the answers that they got. All of these are
 * in the runner's process, which is not killed: what the ledger has as acknowledged, a client has received.
 *
 *   httpWriter     text over POST, Producer-Id, -Epoch, -Seq; one request at a time, repeated until it is answered
 *   socketWriter   src/delivery's own producer over the WebSocket dialect: several batches in flight,
 *                  sent again after each kill
 *   follower       one WebSocket follow, continued at its last offset after each kill
 */
import { setTimeout as sleep } from "node:timers/promises";
import { Producer } from "../../src/delivery/producer.ts";
import type { Kernel } from "../../src/kernel/types.ts";
import { TidemarkError } from "../../src/errors.ts";
import { decodeBatch, splitBatches } from "../../src/record/record-batch.ts";
import { type EdgeLog, EdgeSocket, type Wire } from "../../src/sync/edge-socket.ts";
import type { AppendOp, Op, Polled, PollOp } from "../checker/history.ts";
import type { Random } from "../simulation/prng.ts";
import { timers } from "./timers.ts";

/** The pause between two tries: after a kill, workerd is back within some 100 ms. */
const RETRY_MS = 10;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

export class Ledger {
  readonly history: Op[] = [];
  readonly counts: Record<string, number> = {};
  /** How many appends were sent and have no answer yet. */
  underWay = 0;
  #clock = 0;

  count(what: string, times = 1): void {
    this.counts[what] = (this.counts[what] ?? 0) + times;
  }

  begin(process: string, topic: string, value: string): (offset: number | undefined, duplicate: boolean) => void {
    const op: AppendOp = {
      type: "append",
      process,
      topic,
      records: [{ value }],
      invoke: this.#clock++,
      outcome: "info",
    };
    const index = this.history.push(op) - 1;
    this.underWay++;
    return (offset, duplicate) => {
      this.underWay--;
      this.history[index] = {
        ...op,
        outcome: "ok",
        complete: this.#clock++,
        ...(offset !== undefined && { offsets: [offset] }),
      };
      this.count("records acked");
      if (duplicate) this.count("resent and absorbed: acked as duplicates");
    };
  }

  polling(process: string, topic: string, wholeLog = false): (records: readonly Polled[]) => void {
    const invoke = this.#clock++;
    return (records) => {
      const poll: PollOp = {
        type: "poll",
        process,
        topic,
        records,
        invoke,
        complete: this.#clock++,
        outcome: "ok",
        ...(wholeLog && { wholeLog }),
      };
      this.history.push(poll);
      this.count("records polled", records.length);
    };
  }
}

export interface Stage {
  readonly url: string;
  readonly topic: string;
  readonly ledger: Ledger;
  readonly random: Random;
  readonly kernel: Kernel;
  /** A planted bug: HTTP writers send no sequence numbers, as if the server forgot its producers. */
  readonly forgets: boolean;
  isOver(): boolean;
}

const padding = (random: Random): string => "x".repeat(random.int(2_000));

export async function httpWriter({ url, topic, ledger, random, forgets, isOver }: Stage, id: number): Promise<void> {
  for (let seq = 0; !isOver(); seq++) {
    const value = `h${id}:${seq}`;
    const body = `${value}|${padding(random)}`;
    const done = ledger.begin(`http-${id}`, topic, value);
    const producer = { "producer-id": `w${id}`, "producer-epoch": "0", "producer-seq": String(seq) };
    const headers = { "content-type": "text/plain", ...(!forgets && producer) };
    for (let tries = 0; ; tries++) {
      const response = await fetch(url, { method: "POST", headers, body, signal: AbortSignal.timeout(5_000) }).then(
        async (answer) => (await answer.arrayBuffer(), answer),
        () => undefined,
      );
      if (response?.status === 200 || response?.status === 204) {
        const isRepeat = response.status === 204 && !forgets;
        // The answer to a repeat has the end of the log, not the offset of the record.
        done(isRepeat ? undefined : Number(response.headers.get("stream-next-offset")!.slice(0, 16)) - 1, isRepeat);
        break;
      }
      ledger.count(response ? `HTTP tries answered ${response.status}` : "HTTP tries cut off or refused");
      if (tries > 3_000) throw new Error(`still not taken after 3,000 tries; the last status was ${response?.status}`);
      await sleep(RETRY_MS);
    }
  }
}

async function connect(url: string): Promise<EdgeLog> {
  const socket = new WebSocket(url.replace("http", "ws"));
  socket.binaryType = "arraybuffer";
  await new Promise<void>((resolve, reject) => {
    socket.addEventListener("open", () => resolve(), { once: true });
    socket.addEventListener("error", () => reject(new Error("no socket")), { once: true });
    socket.addEventListener("close", () => reject(new Error("no socket")), { once: true });
  });
  // In Node no message arrives before the turn after `open`, so that none is missed.
  return EdgeSocket.bind(socket as Wire, timers);
}

/** A log through the present socket. After a kill it opens a new one. */
class Connection {
  #log: Promise<EdgeLog> | undefined;

  constructor(readonly stage: Stage) {}

  get(): Promise<EdgeLog> {
    return (this.#log ??= this.#open());
  }

  async #open(): Promise<EdgeLog> {
    for (let tries = 0; ; tries++) {
      try {
        const log = await connect(this.stage.url);
        this.stage.ledger.count("sockets opened");
        void log.socket.ended.then(() => (this.#log = undefined));
        return log;
      } catch (thrown) {
        if (tries > 3_000) throw thrown;
        await sleep(RETRY_MS);
      }
    }
  }
}

const IN_FLIGHT = 8;

export async function socketWriter(stage: Stage, id: number): Promise<void> {
  const { ledger, random, kernel, topic, isOver } = stage;
  const connection = new Connection(stage);
  const producer = new Producer({
    kernel,
    send: async (batch, options) => {
      const log = await connection.get();
      const [result] = await log.append([batch], options);
      return { ...result!, acks: "flushed" };
    },
    reopened: async () => {
      ledger.count("batches sent again over WebSocket");
      await sleep(RETRY_MS);
      await connection.get();
    },
    schedule: (work) => queueMicrotask(work),
    newId: () => random.int(2 ** 31),
    codec: "none",
    batchBytes: 4_096,
    recordBytesMax: 1 << 20,
    batchBytesMax: 1 << 20,
    inFlightBytesMax: 1 << 20,
  });
  const pending = new Set<Promise<void>>();
  for (let seq = 0; !isOver(); seq++) {
    const value = `s${id}:${seq}`;
    const done = ledger.begin(`socket-${id}`, topic, value);
    const record = { key: null, value: encoder.encode(`${value}|${padding(random)}`), timestamp: 1_000 };
    const work = producer.append(record, "flushed").then(({ offset, duplicate }) => done(offset, duplicate));
    pending.add(work);
    void work.finally(() => pending.delete(work)).catch(() => undefined);
    if (pending.size >= IN_FLIGHT) await Promise.race(pending);
  }
  await Promise.all(pending);
  (await connection.get()).socket.close();
}

/** The records of these batches whose offset is at least `from`. */
export async function recordsOf(kernel: Kernel, bytes: Uint8Array, from = 0): Promise<Polled[]> {
  const found: Polled[] = [];
  for (const part of splitBatches(bytes)) {
    const batch = await decodeBatch(kernel, part);
    for (let i = 0; i < batch.count; i++) {
      const text = decoder.decode(batch.valueAt(i)!);
      if (batch.offsetAt(i) >= from) found.push({ offset: batch.offsetAt(i), value: text.slice(0, text.indexOf("|")) });
    }
  }
  return found;
}

export async function follower(stage: Stage, id: number): Promise<void> {
  const { ledger, kernel, topic, isOver } = stage;
  const connection = new Connection(stage);
  for (let next = 0; !isOver();) {
    const log = await connection.get();
    try {
      let poll = ledger.polling(`follower-${id}`, topic);
      for await (const { bytes, nextOffset } of log.follow(next)) {
        poll(await recordsOf(kernel, bytes, next));
        next = nextOffset;
        if (isOver()) break;
        poll = ledger.polling(`follower-${id}`, topic);
      }
    } catch (thrown) {
      if (!(thrown instanceof TidemarkError)) throw thrown;
      ledger.count("follows taken up again");
      await sleep(RETRY_MS);
    }
  }
  (await connection.get()).socket.close();
}

/** Reads the log from its beginning to its end, as raw batches over HTTP. */
export async function readWhole({ url, topic, ledger, kernel }: Stage): Promise<number> {
  const poll = ledger.polling("whole", topic, true);
  const records: Polled[] = [];
  for (let offset = "-1"; ;) {
    const response = await fetch(`${url}?offset=${offset}`, {
      headers: { accept: "application/vnd.tidemark.batches" },
    });
    if (!response.ok) throw new Error(`reading: ${response.status} ${await response.text()}`);
    const from = offset === "-1" ? 0 : Number(offset.slice(0, 16));
    // Not `push(...)`: there may be a hundred thousand, more than a call takes.
    for (const record of await recordsOf(kernel, new Uint8Array(await response.arrayBuffer()), from))
      records.push(record);
    offset = response.headers.get("stream-next-offset")!;
    if (response.headers.get("stream-up-to-date") === "true") break;
  }
  poll(records);
  return records.length;
}
