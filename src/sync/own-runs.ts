/**
 * Runs of own batches, as frames `own` name them. Frames that continue each other are joined into one run, and a run
 * can be taken in parts.
 */
import { nextOffsetOf, readHeader } from "../record/format.ts";
import { splitBatches } from "../record/record-batch.ts";
import { type Frame, FrameType } from "./frames.ts";
import { type OwnRun, readOwn } from "./sync-frames.ts";

/** Most batches of a run that is made of several frames: as many as the edge remembers. One frame may have more. */
export const RUN_BATCHES_MAX = 4_096;

/**
 * The run of a frame and of those behind it that continue it, which are taken off `waiting`. Undefined if the payload
 * is not that of `own`.
 */
export function ownRunOf({ payload }: Frame, waiting: Frame[]): OwnRun | undefined {
  const first = readOwn(payload);
  if (!first) return undefined;
  const { position, offset } = first;
  let { next } = first;
  const crcs = [...first.crcs];
  while (waiting[0]?.type === FrameType.OWN) {
    const more = readOwn(waiting[0].payload);
    if (more?.position !== next || more.offset !== offset + next - position) break;
    if (crcs.length + more.crcs.length > RUN_BATCHES_MAX) break;
    waiting.shift();
    ({ next } = more);
    crcs.push(...more.crcs);
  }
  return { position, next, offset, crcs };
}

/** The run behind its first batches, which are given with the edge's offsets; undefined: they are all of it. */
export function restOf({ position, next, offset, crcs }: OwnRun, taken: Uint8Array): OwnRun | undefined {
  const batches = splitBatches(taken);
  const end = nextOffsetOf(readHeader(batches.at(-1)!));
  const rest = { position: position + end - offset, next, offset: end, crcs: crcs.slice(batches.length) };
  return rest.position < next ? rest : undefined;
}
