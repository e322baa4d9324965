/**
 * What tests of the WebSocket dialect share inside workerd: streams, sockets with our client (`bind`, `many`) and
 * without it (`Raw`), batches of text.
 */
import { env, SELF } from "cloudflare:test";
import { expect } from "vitest";
import { BatchBuilder } from "../../src/record/batch-builder.ts";
import { decodeBatch, splitBatches } from "../../src/record/record-batch.ts";
import { decodeFrame, type Frame, FrameType } from "../../src/sync/frames.ts";
import { type EdgeLog, EdgeSocket, type Wire } from "../../src/sync/edge-socket.ts";
import type { Delivered } from "../../src/sync/log-follow.ts";
import { objectName } from "../../worker/rpc/stubs.ts";
import { edgeKernel } from "../../worker/kernel.ts";
import { timers } from "./timers.ts";

const kernel = await edgeKernel();
const { LOGS } = env;
export const TEXT = { "content-type": "text/plain" };
const decoder = new TextDecoder();
/** The path of a stream that no test has used. */
export const fresh = (): string => `socket/${crypto.randomUUID()}`;
export const objectOf = (path: string): never => LOGS.get(LOGS.idFromName(objectName("dev", path))) as never;
export const at = (path: string): string => `http://localhost/v1/stream/${path}`;

export async function make(path: string, body?: string): Promise<string> {
  const response = await SELF.fetch(at(path), { method: "PUT", headers: TEXT, ...(body !== undefined && { body }) });
  expect(response.status).toBe(201);
  await response.arrayBuffer();
  return path;
}

export async function post(path: string, body: string): Promise<void> {
  expect((await SELF.fetch(at(path), { method: "POST", headers: TEXT, body })).status).toBe(204);
}

type Upgraded = Response & { webSocket: (Wire & { accept(): void; binaryType: string }) | null };

export async function wireTo(
  url: string,
  fetching: (request: Request) => Promise<Response> = (request) => SELF.fetch(request),
): Promise<Wire> {
  const response = (await fetching(new Request(url, { headers: { upgrade: "websocket" } }))) as Upgraded;
  if (!response.webSocket) throw new Error(`${response.status} ${await response.text()}`);
  response.webSocket.binaryType = "arraybuffer";
  response.webSocket.accept();
  return response.webSocket;
}

export const bind = async (path: string): Promise<EdgeLog> => EdgeSocket.bind(await wireTo(at(path)), timers);
export const many = async (): Promise<EdgeSocket> =>
  EdgeSocket.connect(await wireTo("http://localhost/v1/socket"), timers);

export function batchOf(values: readonly string[], producer = -1, sequence = -1): Uint8Array {
  const builder = new BatchBuilder(kernel);
  for (const value of values)
    builder.tryAppend({ key: null, value: new TextEncoder().encode(value), timestamp: 1_000 });
  return builder.build({ producerId: producer, producerEpoch: producer < 0 ? -1 : 0, baseSequence: sequence });
}

export function textsOf({ bytes }: { readonly bytes: Uint8Array }): string[] {
  return splitBatches(bytes).flatMap((part) => {
    const batch = decodeBatch(kernel, part) as Exclude<ReturnType<typeof decodeBatch>, Promise<unknown>>;
    return Array.from({ length: batch.count }, (_, i) => decoder.decode(batch.valueAt(i)!));
  });
}

/** Takes records from a follow until `count` of them have come, or it ends. */
export async function take(follow: AsyncGenerator<Delivered>, count: number): Promise<string[]> {
  const found: string[] = [];
  while (found.length < count) {
    const { value, done } = await follow.next();
    if (done) break;
    found.push(...textsOf(value));
  }
  return found;
}

/** A WebSocket without our client: it keeps every frame that comes, in order, and may leave pings unanswered. */
export class Raw {
  readonly frames: Frame[] = [];
  readonly closed: Promise<{ code: number; reason: string }>;
  #wake: () => void = () => undefined;

  constructor(
    readonly wire: Wire,
    readonly answersPings = true,
  ) {
    this.closed = new Promise((resolve) => wire.addEventListener("close", resolve));
    wire.addEventListener("message", ({ data }) => {
      if (data === "ping" && answersPings) wire.send("pong");
      const frame = decodeFrame(data);
      if (frame) this.frames.push(frame);
      this.#wake();
    });
  }
  async next(isIt: (frame: Frame) => boolean): Promise<Frame> {
    for (;;) {
      const found = this.frames.find(isIt);
      if (found) return found;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }
  bytesOf(id: number): number {
    return this.frames
      .filter((frame) => frame.id === id && frame.type === FrameType.BATCHES)
      .reduce((sum, { payload }) => sum + payload.length, 0);
  }
}
