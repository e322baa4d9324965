/** Load over the WebSocket dialect, made with the library's own client. */
import type { Kernel } from "../../../src/kernel/types.ts";
import { BatchBuilder } from "../../../src/record/batch-builder.ts";
import { type EdgeLog, EdgeSocket, type Wire } from "../../../src/sync/edge-socket.ts";
import { decodeBatch, splitBatches } from "../../../src/record/record-batch.ts";
import { timers } from "../../edge/timers.ts";

export async function connect(address: string): Promise<EdgeLog> {
  const socket = new WebSocket(address.replace("http", "ws"));
  socket.binaryType = "arraybuffer";
  await new Promise<void>((resolve, reject) => {
    socket.addEventListener("open", () => resolve(), { once: true });
    socket.addEventListener("error", () => reject(new Error("the WebSocket did not open")), { once: true });
  });
  return EdgeSocket.bind(socket as Wire, timers);
}

/** Batches of one idempotent producer, each encoded and numbered when it is sent. */
export class Batches {
  readonly #builder: BatchBuilder;
  #sequence = 0;

  constructor(
    kernel: Kernel,
    records: number,
    bytes: number,
    readonly producerId: number,
  ) {
    this.#builder = new BatchBuilder(kernel);
    for (let i = 0; i < records; i++)
      this.#builder.tryAppend({ key: null, value: new Uint8Array(bytes).fill(97 + (i % 26)), timestamp: 1_000 + i });
  }
  next(): Uint8Array {
    const batch = this.#builder.build({ producerId: this.producerId, producerEpoch: 0, baseSequence: this.#sequence });
    this.#sequence += this.#builder.count;
    return batch;
  }
}

/** Records per second into one log, with `inFlight` batches unanswered at a time. */
export async function batchRate(
  address: string,
  kernel: Kernel,
  {
    records,
    bytes,
    batches,
    inFlight,
  }: { readonly records: number; readonly bytes: number; readonly batches: number; readonly inFlight: number },
): Promise<number> {
  const log = await connect(address);
  const source = new Batches(kernel, records, bytes, Math.floor(Math.random() * 2 ** 40));
  const started = performance.now();
  let left = batches;
  await Promise.all(
    Array.from({ length: inFlight }, async () => {
      while (left-- > 0) await log.append([source.next()]);
    }),
  );
  const rate = (records * batches * 1000) / (performance.now() - started);
  log.socket.close();
  return rate;
}

export interface Delivery {
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
  readonly deliveries: number;
  /** Measured while all followers are still connected. */
  readonly heapMiB: number;
}

/** Measures how long each append takes to reach followers of several logs, each on a socket of its own. */
export async function deliver(
  address: string,
  kernel: Kernel,
  { followers, appends, everyMs }: { readonly followers: number; readonly appends: number; readonly everyMs: number },
  standing: () => Promise<unknown>,
  delivered: () => Promise<number>,
): Promise<Delivery> {
  const decoder = new TextDecoder();
  const logs: EdgeLog[] = [];
  for (let i = 0; i < followers; i += 50)
    logs.push(...(await Promise.all(Array.from({ length: Math.min(50, followers - i) }, () => connect(address)))));
  const took: number[] = [];
  const reading = logs.map(async (log) => {
    for await (const { bytes } of log.follow("latest", { windowBytes: 64 * 1024 })) {
      const now = performance.now();
      for (const part of splitBatches(bytes)) {
        const text = decoder.decode((await decodeBatch(kernel, part)).valueAt(0)!);
        if (text.startsWith("end")) return;
        took.push(now - Number(text.split(" ")[0]));
      }
    }
  });
  // A socket answers in order. Once this fetch is answered, the follow that was sent before it has begun.
  await Promise.all(logs.map((log) => log.fetch("latest")));
  await standing();
  const writer = await connect(address);
  const send = (text: string): Promise<unknown> => {
    const builder = new BatchBuilder(kernel);
    builder.tryAppend({ key: null, value: new TextEncoder().encode(text), timestamp: 1_000 });
    return writer.append([builder.build({ producerId: -1, producerEpoch: -1, baseSequence: -1 })]);
  };
  for (let i = 0; i < appends; i++) {
    await send(`${performance.now()} ${"x".repeat(80)}`);
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
  const heapMiB = await delivered();
  await send("end");
  await Promise.all(reading);
  for (const log of [...logs, writer]) log.socket.close();
  took.sort((a, b) => a - b);
  const at = (p: number): number => took[Math.min(took.length - 1, Math.floor(took.length * p))] ?? NaN;
  return { p50Ms: at(0.5), p99Ms: at(0.99), maxMs: at(1), deliveries: took.length, heapMiB };
}
