/**
 * What a log's object knows of one socket of the WebSocket dialect (sockets.ts). What must outlive the object's sleep
 * is attached to the socket: some 1,050 bytes at most, with all follows and a join.
 */
import type { HibernatingSocket } from "../rpc/sockets.ts";
import type { SyncState } from "./outbox-sessions.ts";

export interface Follow {
  readonly id: number;
  next: number;
  credits: number;
  /** True if it was told that the next batch is larger than its credits. */
  starved: boolean;
}

export interface Attachment {
  readonly channel: number;
  /** True if the stream has a TTL. */
  readonly isTimed?: boolean;
  readonly follows: readonly Follow[];
  /** Set if the socket has joined. */
  readonly sync?: SyncState | undefined;
}

export interface SocketSession {
  readonly socket: HibernatingSocket;
  readonly channel: number;
  readonly isTimed: boolean;
  readonly follows: Map<number, Follow>;
  sync: SyncState | undefined;
  /** Follows that are being served right now. */
  readonly busy: Set<number>;
  /** Bytes of frames that wait for their turn. */
  waiting: number;
  /** Bytes of unanswered appends. */
  pending: number;
  turn: Promise<unknown>;
}

export function sessionOf(socket: HibernatingSocket): SocketSession {
  const { channel, follows, isTimed = false, sync } = socket.deserializeAttachment() as Attachment;
  const known = new Map(follows.map((follow) => [follow.id, { ...follow }]));
  return {
    socket,
    channel,
    isTimed,
    follows: known,
    sync,
    busy: new Set(),
    waiting: 0,
    pending: 0,
    turn: Promise.resolve(),
  };
}

export function save({ socket, channel, isTimed, follows, sync }: SocketSession): void {
  try {
    socket.serializeAttachment({ channel, isTimed, follows: [...follows.values()], sync } satisfies Attachment);
  } catch {
    // It was closed meanwhile.
  }
}
