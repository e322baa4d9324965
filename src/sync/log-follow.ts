/**
 * A follow of one log through its channel (edge-socket.ts): frames that the edge sends for it become batches, holes,
 * own runs and tides, and credits go back for the batches that the loop has taken.
 *
 *   follow ─▶ batches, passed, own, tide … ─▶ loop ─▶ credit, when a part of the window was taken, or the edge starves
 *          ─▶ end, error                                ─▶ the loop is left: cancel
 */
import type { TidemarkError } from "../errors.ts";
import { textEncoder, viewOf } from "../record/bytes.ts";
import { nextOffsetOf, readHeader } from "../record/format.ts";
import { splitBatches } from "../record/record-batch.ts";
import { FollowWindow } from "./follow-window.ts";
import { type Frame, type FrameFields, FrameType, jsonOf } from "./frames.ts";
import { type OwnRun, readTide, type TidePayload } from "./sync-frames.ts";
import type { FollowedTo } from "./window-budget.ts";

export type EdgePosition = number | "earliest" | "latest" | { readonly timestamp: number };

export interface Delivered {
  /**
   * Whole batches; the first may begin before the offset that was asked for. Empty if compaction has left no records up
   * to `nextOffset`.
   */
  readonly bytes: Uint8Array;
  readonly nextOffset: number;
  /** The log's start and end, which the edge tells a client that has joined. `bytes` is empty then. */
  readonly tide?: TidePayload;
  /** Own batches that stand at the edge up to `nextOffset`, if the join asked for this. `bytes` is empty then. */
  readonly own?: OwnRun;
}

export interface FollowOptions {
  /** Bytes of batches that may be on their way or wait here. Default 256 KiB; for a larger batch it is widened. */
  readonly windowBytes?: number;
  /**
   * Says what the window is after a frame that the loop took: it was `has` bytes, and can't become less than `least`.
   * Default: it stays.
   */
  readonly resize?: (has: number, least: number, to: FollowedTo) => number;
  /** Reads a frame `own`, and takes those that continue it off the waiting ones (own-runs.ts). Default: ignored. */
  readonly ownRun?: (frame: Frame, waiting: Frame[]) => OwnRun | undefined;
}

/** The request of a follow, as its channel keeps it. */
export interface FollowRequest {
  /** Sends a frame of this request; does nothing once the channel is over. */
  send(frame: Pick<FrameFields, "type" | "credits" | "payload">): void;
  /** Nothing of it is heard any more. */
  end(): void;
}

/**
 * Begins a follow's request: each of its frames goes to `take`, and the error that ends it to `fail`. Throws if the
 * channel is over.
 */
export type BeginFollow = (take: (frame: Frame) => void, fail: (error: TidemarkError) => void) => FollowRequest;

const WINDOW_BYTES = 256 * 1024;
const NOTHING = new Uint8Array(0);

const endOf = (batches: Uint8Array): number => nextOffsetOf(readHeader(splitBatches(batches).at(-1)!));

/** Everything from a position on, for ever, or until the log is closed. Leaving the loop ends it. */
export async function* followed(
  begin: BeginFollow,
  from: EdgePosition,
  { windowBytes = WINDOW_BYTES, resize, ownRun }: FollowOptions,
): AsyncGenerator<Delivered> {
  const frames: Frame[] = [];
  let failed: TidemarkError | undefined;
  let wake: (() => void) | undefined;
  const told = (work: () => void): void => {
    work();
    wake?.();
  };
  const request = begin(
    (frame) => told(() => frames.push(frame)),
    (error) => told(() => (failed = error)),
  );
  const give = (credits: number): void => {
    if (credits > 0) request.send({ type: FrameType.CREDIT, credits });
  };
  const payload = textEncoder.encode(JSON.stringify({ from }));
  request.send({ type: FrameType.FOLLOW, credits: windowBytes, payload });
  try {
    let isLevel = false;
    for (const window = new FollowWindow(windowBytes); ;) {
      const frame = frames.shift();
      if (!frame) {
        if (failed) throw failed;
        await new Promise<void>((resolve) => (wake = resolve));
      } else if (frame.type === FrameType.BATCHES) {
        const { payload: bytes } = frame;
        const to = { bytes: bytes.length, nextOffset: endOf(bytes), isLevel };
        yield { bytes, nextOffset: to.nextOffset };
        // Counted only now: until the loop asks for more, it still holds these bytes.
        give(window.took(to.bytes, resize && ((has, least) => resize(has, least, to))));
      } else if (frame.type === FrameType.TIDE) {
        const tide = readTide(frame.payload);
        if (!tide) continue;
        isLevel = tide.nextOffset >= tide.highWatermark;
        yield { bytes: NOTHING, nextOffset: tide.nextOffset, tide };
      } else if (frame.type === FrameType.OWN) {
        const own = ownRun?.(frame, frames);
        if (own) yield { bytes: NOTHING, nextOffset: own.offset + own.next - own.position, own };
      } else if (frame.type === FrameType.STARVE) {
        give(window.starved(viewOf(frame.payload).getUint32(0)));
      } else if (frame.type === FrameType.PASSED) {
        yield { bytes: NOTHING, nextOffset: Number(jsonOf(frame)?.["nextOffset"]) };
      } else if (frame.type === FrameType.END) return;
    }
  } finally {
    request.end();
    request.send({ type: FrameType.CANCEL });
  }
}
