/**
 * A log's end of the WebSocket dialect (src/sync/frames.ts): one hibernating socket for each client and log, from the
 * Worker that holds the client's own socket. Rights are checked there; here frames become work on the Stream.
 *
 *   append   queued in the order in which frames came, answered after the group commit
 *   follow   { id, next offset, credits }: all that is kept of a reader. It is in the socket's attachment
 *            (socket-session.ts), so an evicted object continues where it was. Batches are read when there are credits
 *            for them (follow-serving.ts)
 *
 * A socket's frames are processed one after the other. Unanswered work is bounded by the append credits and by the
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
import { FollowServing } from "./follow-serving.ts";
import { OutboxSessions, type SyncState } from "./outbox-sessions.ts";
import { type Attachment, type Follow, save, type SocketSession, sessionOf } from "./socket-session.ts";

/** Marks these sockets among all sockets of the object. */
export const SOCKET_TAG = "log";
/** A third of what the platform allows one object. */
const SOCKETS_MAX = 10_000;
/** Each takes some 55 bytes of an attachment, which holds at most 16 KiB (2 KiB in older runtimes). */
const FOLLOWS_MAX = 16;
/**
 * Limit of the frames that wait for their turn, each with a fixed cost added. A client that keeps to its credits
 * reaches at most half of it.
 */
const WAITING_BYTES_MAX = 2 * APPEND_CREDIT_BYTES;
const FRAME_COST_BYTES = 128;

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
  readonly #outboxes: OutboxSessions<SocketSession>;
  readonly #follows: FollowServing;
  /** The sessions of all sockets. Undefined until one was needed since the object woke. */
  #sessions: Map<HibernatingSocket, SocketSession> | undefined;
  constructor(host: SocketHost) {
    this.#host = host;
    const shared = {
      stream: () => host.stream(),
      sessions: () => this.#all().values(),
      send: (session: SocketSession, frame: Uint8Array) => this.#send(session, frame),
      counters: host.counters,
    };
    this.#outboxes = new OutboxSessions<SocketSession>({
      ...shared,
      save,
      event: (name, fields) => host.event(name, fields),
    });
    this.#follows = new FollowServing({
      ...shared,
      refuse: (session, frame, thrown) => this.#refuse(session, frame, thrown),
      outboxes: this.#outboxes,
    });
  }

  /** Commits are done. */
  moved(stream: Stream, found: Found, turn: () => Promise<void>): Promise<void> {
    return this.#follows.moved(stream, found, turn);
  }

  #all(): Map<HibernatingSocket, SocketSession> {
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

  #end({ socket, follows }: SocketSession, code: number, reason: string): void {
    this.#sessions?.delete(socket);
    follows.clear();
    try {
      socket.close(code, reason);
    } catch {
      // Closed already.
    }
  }

  // --- requests ----------------------------------------------------------------------------------------------------

  async #take(session: SocketSession, frame: Frame): Promise<void> {
    if (COUNTED.has(frame.type)) this.#host.begin();
    return this.#work(session, frame);
  }

  async #work(session: SocketSession, frame: Frame): Promise<void> {
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
        return void this.#follows.serve(session, follow);
      }
      case FrameType.CANCEL:
        // A tide that it was sent may have come after the loop's end. The next follow hears of the life anew.
        if (session.sync) session.sync = { ...session.sync, life: "" };
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

  #checkCredits({ pending }: SocketSession, bytes: number): void {
    if (pending > 0 && pending + bytes > APPEND_CREDIT_BYTES)
      throw new EdgeError(
        "BACKPRESSURE",
        `more than the ${APPEND_CREDIT_BYTES} bytes of appends that a log may have unanswered: wait for answers`,
        { creditBytes: APPEND_CREDIT_BYTES },
      );
  }

  async #append(session: SocketSession, frame: Frame): Promise<void> {
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

  async #follow(session: SocketSession, frame: Frame): Promise<void> {
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
    void this.#follows.serve(session, follow);
  }

  async #fetch(session: SocketSession, frame: Frame): Promise<void> {
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

  #answer(session: SocketSession, { id }: Frame, body: unknown, credits = 0): void {
    this.#send(session, jsonFrame({ type: FrameType.OK, channel: session.channel, id, credits }, body));
  }

  #refuse(session: SocketSession, { id, type, payload }: Frame, thrown: unknown): void {
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

  #send({ socket }: SocketSession, frame: Uint8Array): void {
    try {
      socket.send(frame);
    } catch {
      this.#sessions?.delete(socket);
    }
  }
}
