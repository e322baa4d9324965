/**
 * Which frames of a client count as requests, which cost credits, and which right of the token each needs. The Worker
 * and the log's object judge frames by the same rules.
 */
import { FrameType } from "../../src/sync/frames.ts";

/** True for types that a client may send. */
export const isClients = (type: number): boolean => type >= FrameType.OPEN && type <= FrameType.PUSH;

/** These count as requests, like requests over HTTP. The other types belong to a follow. */
export const COUNTED = new Set<number>([
  FrameType.APPEND,
  FrameType.FOLLOW,
  FrameType.FETCH,
  FrameType.JOIN,
  FrameType.PUSH,
]);
/** These cost credits, which their answers give back. */
export const CREDITED = new Set<number>([FrameType.APPEND, FrameType.PUSH]);
/** The right of the token that a frame needs. Other types need none. */
export const NEEDS: Readonly<Record<number, "reads" | "writes">> = {
  [FrameType.APPEND]: "writes",
  [FrameType.FOLLOW]: "reads",
  [FrameType.FETCH]: "reads",
  [FrameType.PUSH]: "writes",
};
