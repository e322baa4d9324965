/** A device as the edge sees it: one log's socket, joins and pushes as frames, answers by their ids. */
import { BatchBuilder } from "../../src/record/batch-builder.ts";
import type { PackingKernel } from "../../src/kernel/types.ts";
import { readHeader, stampBaseOffset } from "../../src/record/format.ts";
import { splitBatches } from "../../src/record/record-batch.ts";
import type { Wire } from "../../src/sync/edge-socket.ts";
import { decodeFrame, encodeFrame, type Frame, FrameType, jsonFrame, jsonOf } from "../../src/sync/frames.ts";
import { type OutboxJoin, type Joined, pushPayload, type Push, readTide } from "../../src/sync/sync-frames.ts";
import type { EdgeWireError } from "../../worker/errors.ts";

/** Batches as a page makes them, at their positions in the outbox. */
export const batchMaker =
  (kernel: PackingKernel) =>
  (position: number, values: readonly string[], producer = 7): Uint8Array => {
    const builder = new BatchBuilder(kernel);
    for (const value of values)
      builder.tryAppend({ key: null, value: new TextEncoder().encode(value), timestamp: 1_000 });
    const batch = builder.build({ producerId: producer, producerEpoch: 0, baseSequence: position });
    stampBaseOffset(batch, position);
    return batch;
  };

export const crcOf = (batch: Uint8Array): number => readHeader(batch).crc;

export const JOIN: OutboxJoin = {
  outbox: "0123456789abcdef",
  generation: 1,
  term: 1,
  registered: false,
  first: 0,
  end: 0,
  passed: 0,
  life: null,
  stream: null,
  samples: [],
};

export interface Ok {
  readonly generation: number;
  readonly next: number;
  readonly appended: readonly { readonly baseOffset: number; readonly lastOffset: number }[];
  readonly duplicate: boolean;
  readonly lastOffset: number;
}

export class Device {
  readonly frames: Frame[] = [];
  readonly hello: Promise<Record<string, unknown>>;
  readonly closed: Promise<number>;
  #nextId = 1;
  #waiting: (() => void)[] = [];

  constructor(
    readonly wire: Wire,
    readonly subprotocol: string | null = null,
  ) {
    this.closed = new Promise((resolve) => wire.addEventListener("close", ({ code }) => resolve(code)));
    wire.addEventListener("message", ({ data }) => {
      if (data === "ping") return wire.send("pong");
      const frame = decodeFrame(data);
      if (frame) this.frames.push(frame);
      for (const wake of this.#waiting.splice(0)) wake();
    });
    this.hello = this.next(({ type }) => type === FrameType.HELLO).then((frame) => jsonOf(frame)!);
  }

  async next(isIt: (frame: Frame) => boolean): Promise<Frame> {
    for (;;) {
      const found = this.frames.find(isIt);
      if (found) return found;
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  #answer(id: number): Promise<Frame> {
    const answers: number[] = [FrameType.OK, FrameType.ERROR, FrameType.JOINED];
    return this.next((frame) => frame.id === id && answers.includes(frame.type));
  }

  async ask(type: FrameType, payload: Uint8Array): Promise<{ readonly frame: Frame; readonly body: unknown }> {
    const id = this.#nextId++;
    this.wire.send(encodeFrame({ type, id, payload }));
    const frame = await this.#answer(id);
    return { frame, body: jsonOf(frame) };
  }

  async join(fields: Partial<OutboxJoin> = {}): Promise<Joined & Partial<EdgeWireError>> {
    const payload = new TextEncoder().encode(JSON.stringify({ ...JOIN, ...fields }));
    const { frame, body } = await this.ask(FrameType.JOIN, payload);
    const error = body as EdgeWireError;
    return frame.type === FrameType.ERROR ? ({ ...error, ...error.details } as never) : (body as Joined);
  }

  /** Plain, from the first batch's position. */
  async push(
    batches: readonly Uint8Array[],
    fields: Partial<Omit<Push, "batches">> = {},
  ): Promise<Ok & Partial<EdgeWireError>> {
    const position = readHeader(batches[0]!).baseOffset;
    const push = { expected: position, at: position, readTo: undefined, previous: 0, ...fields };
    const payload = pushPayload(push, batches);
    const { frame, body } = await this.ask(FrameType.PUSH, payload);
    // Whatever the answer, what it cost comes back.
    if (frame.credits !== payload.length) throw new Error(`${frame.credits} credits of ${payload.length} came back`);
    return body as Ok & Partial<EdgeWireError>;
  }

  /** The channel has ended. */
  async end(): Promise<EdgeWireError> {
    return jsonOf(await this.next(({ id, type }) => id === 0 && type === FrameType.ERROR)) as Record<string, unknown> &
      EdgeWireError;
  }

  follow(from: number, credits = 1 << 20): number {
    const id = this.#nextId++;
    this.wire.send(jsonFrame({ type: FrameType.FOLLOW, id, credits }, { from }));
    return id;
  }

  async tide(id: number, isIt: (tide: NonNullable<ReturnType<typeof readTide>>) => boolean = () => true) {
    const frame = await this.next(
      (each) => each.id === id && each.type === FrameType.TIDE && isIt(readTide(each.payload)!),
    );
    return readTide(frame.payload)!;
  }

  batchesOf(id: number): Uint8Array[] {
    return this.frames
      .filter((frame) => frame.id === id && frame.type === FrameType.BATCHES)
      .flatMap(({ payload }) => splitBatches(payload));
  }
}
