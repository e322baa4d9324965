/** Which of a client's frames count as requests, cost credits, and need a right of the token. */
import { FrameType } from "../../src/sync/frames.ts";

/** Types that a client may send. */
export const isClients = (type: number): boolean => type >= FrameType.OPEN && type <= FrameType.PUSH;

/** Requests as HTTP has them. The rest belongs to a follow. */
export const COUNTED = new Set<number>([
  FrameType.APPEND,
  FrameType.FOLLOW,
  FrameType.FETCH,
  FrameType.JOIN,
  FrameType.PUSH,
]);
/** They cost credits, and their answers give them back. */
export const CREDITED = new Set<number>([FrameType.APPEND, FrameType.PUSH]);
export const NEEDS: Readonly<Record<number, "reads" | "writes">> = {
  [FrameType.APPEND]: "writes",
  [FrameType.FOLLOW]: "reads",
  [FrameType.FETCH]: "reads",
  [FrameType.PUSH]: "writes",
};
