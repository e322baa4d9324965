/**
 * A log's end of the WebSocket dialect (src/sync/frames.ts): one hibernating socket for each client and log, from the
 * Worker that holds the client's own socket. Rights are checked there; here frames become work on the Stream.
 *
 *   append   queued in the order in which frames came, answered after the group commit
 *   follow   { id, next offset, credits }: all that is kept of a reader. It is in the socket's attachment, so an
 *            evicted object continues where it was. Batches are read when there are credits for them
 *
 *   commit ──▶ moved() ──▶ each follow with credits: read from its own offset and send, until credits or log run out
 *
 * Followers at the same offset share one read: the newest one is kept until the commits behind it are reported. A
 * socket's frames are processed one after the other. Unanswered work is bounded by the append credits and by the
 * platform, which closes a socket together with its object.
 */
import { splitBatches } from "../../src/record/record-batch.ts";
import {
  APPEND_CREDIT_BYTES,
  CloseCode,
  decodeFrame,
  encodeFrame,
  FOLLOW_CREDIT_BYTES_MAX,
  type Frame,
  FrameType,
  jsonFrame,
  readAppend,
} from "../../src/sync/frames.ts";
import { badRequest, EdgeError } from "../errors.ts";
import { checkBatches } from "../stream/batch-check.ts";
import type { EventFields } from "../telemetry/events.ts";
import { wireErrorOf } from "../wire/http.ts";
import type { Counters } from "../telemetry/counters.ts";
import { edgeKernel } from "../kernel.ts";
import { COUNTED, CREDITED } from "../rpc/frame-rules.ts";
import { FETCH_BYTES_MAX, type HibernatingSocket, pairOf, type SocketState, upgraded } from "../rpc/sockets.ts";
import * as told from "../telemetry/socket-events.ts";
import type { Stream } from "../stream/stream.ts";
import { SYNC_FEATURE } from "../../src/sync/sync-frames.ts";
import type { Found } from "./telling.ts";
import { fitting, positionOf, starve } from "./follow-frames.ts";
import { OutboxSessions, type SyncState } from "./outbox-sessions.ts";

/** Marks these sockets among all sockets of the object. */
export const SOCKET_TAG = "log";
/** A third of what the platform allows one object. */
const SOCKETS_MAX = 10_000;
/** Each takes some 40 bytes of an attachment, which holds at most 16 KiB (2 KiB in older runtimes). */
const FOLLOWS_MAX = 16;
/** Largest read. A follow with more credits gets several. */
const READ_BYTES = 256 * 1024;
/**
 * Limit of the frames that wait for their turn, each with a fixed cost added. A client that keeps to its credits
 * reaches at most half of it.
 */
const WAITING_BYTES_MAX = 2 * APPEND_CREDIT_BYTES;
const FRAME_COST_BYTES = 128;
/** This many follows are served before other work gets a turn. Credits that came back would go before the rest. */
const SERVED_AT_ONCE = 1_024;

interface Follow {
  readonly id: number;
  next: number;
  credits: number;
  /** True if it was told that the next batch is larger than its credits. */
  starved: boolean;
}

interface Attachment {
  readonly channel: number;
  /** True if the stream has a TTL. */
  readonly isTimed?: boolean;
  readonly follows: readonly Follow[];
  /** Set if the socket has joined. */
  readonly sync?: SyncState | undefined;
}

interface Session {
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

type Read = Pick<Found, "bytes" | "nextOffset">;

export interface SocketHost {
  readonly ctx: Pick<SocketState, "acceptWebSocket" | "getWebSockets">;
  /** The stream that clients may see. Throws if there is none. */
  stream(): Promise<Stream>;
  /** Counts a request. Throws if there are too many. */
  begin(): void;
  readonly counters: Counters;
  /** Frames are reported as requests. */
  event(name: "append" | "read" | "rejection" | "join" | "push", fields: EventFields): void;
  /** True if joins and pushes are accepted. */
  readonly takesOutboxes: boolean;
}

export class LogSockets {
  readonly #host: SocketHost;
  readonly #outboxes: OutboxSessions<Session>;
  /** The sessions of all sockets. Undefined until one was needed since the object woke. */
  #sessions: Map<HibernatingSocket, Session> | undefined;
  /** The newest read, if it reached the log's end. It is kept until the commits behind it are reported. */
  #shared: { readonly stream: Stream; readonly from: number; readonly found: Promise<Read> } | undefined;

  constructor(host: SocketHost) {
    this.#host = host;
    this.#outboxes = new OutboxSessions<Session>({
      stream: () => host.stream(),
      sessions: () => this.#all().values(),
      send: (session, frame) => this.#send(session, frame),
      save,
      event: (name, fields) => host.event(name, fields),
      counters: host.counters,
    });
  }

  #all(): Map<HibernatingSocket, Session> {
    return (this.#sessions ??= new Map(
      this.#host.ctx.getWebSockets(SOCKET_TAG).map((socket) => [socket, sessionOf(socket)]),
    ));
  }

  async accept(channel: number): Promise<Response> {
    const stream = await this.#host.stream();
    const sessions = this.#all();
    if (sessions.size >= SOCKETS_MAX)
      throw new EdgeError("LIMIT_EXCEEDED", `this log has ${SOCKETS_MAX} sockets open already: try again later`, {
        socketsMax: SOCKETS_MAX,
      });
    const { client, server } = pairOf();
    this.#host.ctx.acceptWebSocket(server, [SOCKET_TAG]);
    server.serializeAttachment({ channel, isTimed: stream.config.ttl !== undefined, follows: [] } satisfies Attachment);
    sessions.set(server, sessionOf(server));
    server.send(this.#hello(stream, channel));
    return upgraded(client);
  }

  #hello({ tail: logEndOffset, start: logStartOffset, closed, config }: Stream, channel: number): Uint8Array {
    const { contentType } = config;
    const features = this.#host.takesOutboxes ? [SYNC_FEATURE] : [];
    return jsonFrame(
      { type: FrameType.HELLO, channel, credits: APPEND_CREDIT_BYTES },
      { logStartOffset, logEndOffset, contentType, closed, features },
    );
  }

  /**
   * Answers a frame that came without a socket (front/frame-over-http.ts). `sync`: the outbox for which a push speaks.
   * The request itself was counted already.
   */
  answer(frame: Frame, sync: SyncState | undefined): Promise<Uint8Array> {
    return new Promise((resolve) => {
      const socket = {
        send: (data: ArrayBuffer | Uint8Array | string) => resolve(data as Uint8Array),
        close: () => undefined,
        serializeAttachment: () => undefined,
        deserializeAttachment: (): Attachment => ({ channel: frame.channel, follows: [], sync }),
      };
      const session = sessionOf(socket);
      this.#work(session, frame).catch((thrown: unknown) => this.#refuse(session, frame, thrown));
    });
  }

  /** A message on any of the object's sockets. Watchers' messages are ignored. */
  async message(socket: HibernatingSocket, data: unknown): Promise<void> {
    const session = this.#all().get(socket);
    if (!session) return;
    const frame = decodeFrame(data);
    if (!frame) return this.#end(session, CloseCode.BAD_FRAME, "not a frame");
    const cost = frame.payload.length + FRAME_COST_BYTES;
    if (session.waiting > 0 && session.waiting + cost > WAITING_BYTES_MAX)
      return this.#end(session, CloseCode.SLOW, "more frames than this log can take");
    session.waiting += cost;
    // Processed one after the other, so that appends keep their order; a frame is done once its append is in the log's
    // queue.
    const work = session.turn
      .then(() => this.#take(session, frame))
      .catch((thrown: unknown) => this.#refuse(session, frame, thrown));
    session.turn = work;
    await work;
    session.waiting -= cost;
  }

  get count(): number {
    return this.#all().size;
  }

  /** True if anybody follows. A stream with a TTL does not expire then. */
  get hasFollows(): boolean {
    for (const { follows } of this.#all().values()) if (follows.size > 0) return true;
    return false;
  }

  /** True if the stream's TTL begins again now that this socket has gone. */
  isTimed(socket: HibernatingSocket): boolean {
    const { isTimed, follows } = (socket.deserializeAttachment() ?? {}) as Partial<Attachment>;
    return isTimed === true && follows !== undefined && follows.length > 0;
  }

  closed(socket: HibernatingSocket): void {
    this.#sessions?.delete(socket);
  }

  /** The stream is gone. */
  closeAll(code: number, reason: string): void {
    for (const session of [...this.#all().values()]) this.#end(session, code, reason);
  }

  #end({ socket }: Session, code: number, reason: string): void {
    this.#sessions?.delete(socket);
    try {
      socket.close(code, reason);
    } catch {
      // Closed already.
    }
  }

  // --- requests ----------------------------------------------------------------------------------------------------

  async #take(session: Session, frame: Frame): Promise<void> {
    if (COUNTED.has(frame.type)) this.#host.begin();
    return this.#work(session, frame);
  }

  async #work(session: Session, frame: Frame): Promise<void> {
    switch (frame.type) {
      case FrameType.OPEN:
        return this.#send(session, this.#hello(await this.#host.stream(), frame.channel));
      case FrameType.APPEND:
        return this.#append(session, frame);
      case FrameType.JOIN:
        this.#checkOutboxes();
        return this.#outboxes.join(session, frame);
      case FrameType.PUSH:
        this.#checkOutboxes();
        this.#checkCredits(session, frame.payload.length);
        return this.#outboxes.push(session, frame, (thrown) => this.#refuse(session, frame, thrown));
      case FrameType.FOLLOW:
        return this.#follow(session, frame);
      case FrameType.FETCH:
        return this.#fetch(session, frame);
      case FrameType.CREDIT: {
        const follow = session.follows.get(frame.id);
        // The follow's end and these credits may have crossed on the way.
        if (!follow) return;
        if (follow.credits + frame.credits > FOLLOW_CREDIT_BYTES_MAX)
          throw new EdgeError(
            "LIMIT_EXCEEDED",
            `a follow has at most ${FOLLOW_CREDIT_BYTES_MAX} bytes of credits: give fewer`,
            { creditsMax: FOLLOW_CREDIT_BYTES_MAX },
          );
        follow.credits += frame.credits;
        follow.starved = false;
        save(session);
        return void this.#serve(session, follow);
      }
      case FrameType.CANCEL:
        if (session.follows.delete(frame.id) && session.isTimed) (await this.#host.stream()).touch();
        save(session);
        return this.#answer(session, frame, {});
      default:
        return this.#end(session, CloseCode.BAD_FRAME, "no such type");
    }
  }

  #checkOutboxes(): void {
    if (!this.#host.takesOutboxes) throw badRequest("this edge takes no joins and pushes: devices can't sync with it");
  }

  #checkCredits({ pending }: Session, bytes: number): void {
    if (pending > 0 && pending + bytes > APPEND_CREDIT_BYTES)
      throw new EdgeError(
        "BACKPRESSURE",
        `more than the ${APPEND_CREDIT_BYTES} bytes of appends that a log may have unanswered: wait for answers`,
        { creditBytes: APPEND_CREDIT_BYTES },
      );
  }

  async #append(session: Session, frame: Frame): Promise<void> {
    const { length } = frame.payload;
    const read = readAppend(frame.payload);
    if (!read) throw badRequest("the payload is not that of an append");
    this.#checkCredits(session, length);
    const stream = await this.#host.stream();
    const kernel = await edgeKernel();
    // The batches are views: nobody else uses the message, and the log may write into it.
    const batches = splitBatches(read.batches);
    const sending = await checkBatches(kernel, batches, stream);
    session.pending += length;
    const started = Date.now();
    // Not awaited, so that the next frame can join the same group commit.
    void stream
      .appendBatches(batches, read.ifEnd, sending)
      .then((results) => {
        const appended = results.map(({ baseOffset, lastOffset, duplicate, leaderEpoch }) => ({
          baseOffset,
          lastOffset,
          duplicate,
          leaderEpoch,
        }));
        const duplicate = appended.every((each) => each.duplicate);
        this.#host.counters.append(length, duplicate);
        this.#host.event("append", told.appended(started, length, results, duplicate));
        this.#answer(session, frame, { appended }, length);
      })
      .catch((thrown: unknown) => this.#refuse(session, frame, thrown))
      .finally(() => (session.pending -= length));
  }

  async #follow(session: Session, frame: Frame): Promise<void> {
    if (session.follows.has(frame.id))
      throw badRequest(`there is a follow with id ${frame.id} already: choose another id`);
    if (session.follows.size >= FOLLOWS_MAX)
      throw new EdgeError("LIMIT_EXCEEDED", `a socket has at most ${FOLLOWS_MAX} follows of a log: cancel one first`, {
        followsMax: FOLLOWS_MAX,
      });
    if (frame.credits > FOLLOW_CREDIT_BYTES_MAX)
      throw new EdgeError(
        "LIMIT_EXCEEDED",
        `a follow has at most ${FOLLOW_CREDIT_BYTES_MAX} bytes of credits: give fewer`,
        { creditsMax: FOLLOW_CREDIT_BYTES_MAX },
      );
    const stream = await this.#host.stream();
    stream.touch();
    const next = await positionOf(stream, frame);
    const follow: Follow = { id: frame.id, next, credits: frame.credits, starved: false };
    session.follows.set(frame.id, follow);
    this.#host.counters.reads++;
    this.#host.event("read", told.read("follow", next, 0));
    save(session);
    void this.#serve(session, follow);
  }

  async #fetch(session: Session, frame: Frame): Promise<void> {
    this.#host.counters.reads++;
    const stream = await this.#host.stream();
    stream.touch();
    const from = await positionOf(stream, frame);
    const found =
      from < stream.tail
        ? fitting(
            await stream.readBatches(from, stream.tail, Math.max(1, Math.min(frame.credits, FETCH_BYTES_MAX))),
            frame.credits,
          )
        : new Uint8Array(0);
    if (typeof found === "number") return this.#send(session, starve(session, frame.id, found));
    this.#host.counters.deliveredBytes += found.length;
    this.#host.event("read", told.read("fetch", from, found.length));
    this.#send(
      session,
      encodeFrame({ type: FrameType.BATCHES, channel: session.channel, id: frame.id, payload: found }),
    );
  }

  #answer(session: Session, { id }: Frame, body: unknown, credits = 0): void {
    this.#send(session, jsonFrame({ type: FrameType.OK, channel: session.channel, id, credits }, body));
  }

  #refuse(session: Session, { id, type, payload }: Frame, thrown: unknown): void {
    this.#host.counters.rejections++;
    this.#host.event("rejection", told.refusalOf({ type, payload }, thrown));
    // A follow that met an error has ended. The client may follow again from where it was.
    const costsCredits = CREDITED.has(type);
    if (!costsCredits && type !== FrameType.JOIN && session.follows.delete(id)) save(session);
    const credits = costsCredits ? payload.length : 0;
    this.#send(
      session,
      jsonFrame({ type: FrameType.ERROR, channel: session.channel, id, credits }, wireErrorOf(thrown)),
    );
  }

  #send({ socket }: Session, frame: Uint8Array): void {
    try {
      socket.send(frame);
    } catch {
      this.#sessions?.delete(socket);
    }
  }

  // --- follows -----------------------------------------------------------------------------------------------------

  /** Commits are done: serves every follow that waited. Most are where these begin, and share one read. */
  async moved(stream: Stream, found: Found, turn: () => Promise<void>): Promise<void> {
    const shared = { stream, from: found.from, found: Promise.resolve(found) };
    if (found.bytes.length > 0) this.#shared = shared;
    let served = 0;
    for (const session of this.#all().values())
      for (const follow of session.follows.values()) {
        if (served++ % SERVED_AT_ONCE === SERVED_AT_ONCE - 1) await turn();
        void this.#serve(session, follow, stream);
      }
    this.#shared = undefined;
  }

  async #serve(session: Session, follow: Follow, known?: Stream): Promise<void> {
    const { follows, busy, channel } = session;
    // The call that serves it already sees the new credits and the new end.
    if (busy.has(follow.id)) return;
    busy.add(follow.id);
    try {
      const stream = known ?? (await this.#host.stream());
      // Without any credits not even own batches are told, which cost none. No device hangs by it: it has been sent a
      // whole window then, its bytes are taken without what stands behind them, and so credits come back.
      while (follows.get(follow.id) === follow && follow.credits > 0 && !follow.starved && follow.next < stream.tail) {
        const found = await this.#read(stream, follow.next);
        if (follows.get(follow.id) !== follow) return;
        // Compaction removed all records here. The client must be told, because it may have caught up by that.
        if (found.bytes.length === 0 && found.nextOffset > follow.next) {
          follow.next = found.nextOffset;
          save(session);
          const passed = { nextOffset: follow.next, logEndOffset: stream.tail };
          this.#send(session, jsonFrame({ type: FrameType.PASSED, channel, id: follow.id }, passed));
          continue;
        }
        const sent = this.#outboxes.framesOf(session, follow, stream, found);
        if (typeof sent === "number") {
          follow.starved = true;
          save(session);
          return this.#send(session, starve(session, follow.id, sent));
        }
        this.#outboxes.beforeBatches(session, follow, stream);
        stream.touch();
        this.#host.counters.deliveredBytes += sent.bytes;
        follow.credits -= sent.bytes;
        follow.next = sent.nextOffset;
        save(session);
        for (const frame of sent.frames) this.#send(session, frame);
      }
      if (follows.get(follow.id) === follow) this.#outboxes.level(session, follow, stream);
      if (stream.closed && follow.next >= stream.log.logEndOffset && follows.delete(follow.id)) {
        save(session);
        this.#send(session, jsonFrame({ type: FrameType.END, channel, id: follow.id }, { logEndOffset: stream.tail }));
      }
    } catch (thrown) {
      this.#refuse(
        session,
        { type: FrameType.FOLLOW, channel, id: follow.id, credits: 0, payload: new Uint8Array(0) },
        thrown,
      );
    } finally {
      busy.delete(follow.id);
    }
  }

  /** A read from `from`. Follows at the same offset ask for it one after the other, and share one read. */
  #read(stream: Stream, from: number): Promise<Read> {
    const shared = this.#shared;
    if (shared?.stream === stream && shared.from === from) return shared.found;
    const { tail } = stream;
    const reading = { stream, from, found: stream.readBatches(from, tail, READ_BYTES) };
    this.#shared = reading;
    // Only a read up to the log's end is kept. A read that ends earlier or fails is of no use to other follows.
    const forget = (): void => {
      if (this.#shared === reading) this.#shared = undefined;
    };
    reading.found.then(({ nextOffset }) => (nextOffset < tail ? forget() : undefined), forget);
    return reading.found;
  }
}

function sessionOf(socket: HibernatingSocket): Session {
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

function save({ socket, channel, isTimed, follows, sync }: Session): void {
  try {
    socket.serializeAttachment({ channel, isTimed, follows: [...follows.values()], sync } satisfies Attachment);
  } catch {
    // It was closed meanwhile.
  }
}
