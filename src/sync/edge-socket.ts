/**
 * A client of the edge's WebSocket (frames.ts): one socket, one log or many.
 *
 *   const socket = EdgeSocket.connect(wire, { after })
 *   const log = socket.bound ?? (await socket.open("orders"))
 *   await log.append([batch])                                 waits for credits, resolves with the offsets
 *   for await (const { bytes, nextOffset } of log.follow(0))  asks for more as the loop takes them
 *   const { refusal, joined } = await log.join(…)             sync: an outbox and a replica meet the log
 *   await log.push({ expected, at, … }, [batch])              waits for credits as an append does
 *
 * This client sends nothing again. When a socket or a channel ends, calls under way reject as OUTCOME_UNKNOWN (appends,
 * pushes) or CLOSED. The producer above sends the batches of an append, with the same sequences, through the next
 * socket; the next join tells what became of a push. A follow continues there from the `nextOffset` of the last batches
 * that its loop took. After a join a follow also gets tides (sync-frames.ts).
 */
import { TidemarkError, type WireError } from "../errors.ts";
import { BATCH_BYTES_MAX } from "../log/limits.ts";
import type { AppendResult } from "../log/types.ts";
import { viewOf } from "../record/bytes.ts";
import { libraryNameOf } from "./edge-codes.ts";
import { appendPayload, decodeFrame, encodeFrame, type Frame, FrameType, jsonFrame, jsonOf } from "./frames.ts";
import {
  type BeginFollow,
  type Delivered,
  type EdgePosition,
  followed,
  type FollowOptions,
  type FollowRequest,
} from "./log-follow.ts";
import { type Joined, type OutboxJoin, type Push, type Pushed, pushPayload, SYNC_FEATURE } from "./sync-frames.ts";
import { WindowBudget } from "./window-budget.ts";

/** The part of a WebSocket that is used. Its `binaryType` must be "arraybuffer", and it must be open. */
export interface Wire {
  send(data: Uint8Array<ArrayBuffer> | string): void;
  close(code?: number, reason?: string): void;
  addEventListener(type: "message", listener: (event: { data: unknown }) => void): void;
  addEventListener(type: "close", listener: (event: { code: number; reason: string }) => void): void;
}

export interface EdgeSocketOptions {
  /** The host's timer: runs `work` after `ms`, unless the function that it returns is called before. */
  readonly after: (ms: number, work: () => void) => () => void;
  /** How long to wait for a log's hello; after that the opening fails as TIMEOUT. Default 10,000. */
  readonly helloMs?: number;
  /** The budget of the link, which all of its sockets share. Default: a budget for this socket alone. */
  readonly windows?: WindowBudget;
  /** Called with each message: it shows that the edge lives. */
  readonly heard?: () => void;
}

export interface SocketHello {
  readonly logStartOffset: number;
  readonly logEndOffset: number;
  readonly contentType: string;
  readonly closed: boolean;
  /** Features of the edge beyond these; older edges send none. */
  readonly features?: readonly string[];
}

export type EdgeAppendResult = Pick<AppendResult, "baseOffset" | "lastOffset" | "duplicate" | "leaderEpoch">;
/** The log's answer to a join. A refusal has the same fields. */
export interface JoinReply {
  /** The edge's code: FENCED_LEADER, UNKNOWN_OUTBOX or FORBIDDEN. */
  readonly refusal: string | undefined;
  readonly joined: Joined;
}

/** A log that was not in memory reads 4 MiB of rows first, and then says hello within a second. */
const HELLO_MS = 10_000;
const PING = "ping";
const PONG = "pong";

function errorOf(frame: Frame): TidemarkError {
  const { code, message, details } = (jsonOf(frame) ?? {}) as Partial<WireError>;
  return TidemarkError.fromWire({
    code: libraryNameOf(String(code)),
    message: String(message),
    details: { ...details, edge: String(code) },
  });
}

interface Request {
  /** True for appends and pushes: if they end without an answer, nobody knows whether they were taken. */
  readonly writes: boolean;
  take(frame: Frame): void;
  fail(error: TidemarkError): void;
}

export class EdgeSocket {
  readonly #wire: Wire;
  readonly #options: EdgeSocketOptions;
  readonly #logs = new Map<number, EdgeLog>();
  #nextChannel = 0;
  #nextToken = 1;
  readonly #tokens = new Map<
    number,
    { resolve: (expires: number | null) => void; reject: (error: TidemarkError) => void }
  >();
  /** The log of a socket that serves only one. */
  bound: EdgeLog | undefined;
  readonly windows: WindowBudget;
  /** Resolves when the socket has ended. Never rejects. */
  readonly ended: Promise<{ readonly code: number; readonly reason: string }>;
  #over: TidemarkError | undefined;

  private constructor(wire: Wire, options: EdgeSocketOptions) {
    this.#wire = wire;
    this.#options = options;
    this.windows = options.windows ?? new WindowBudget();
    wire.addEventListener("message", ({ data }) => this.#take(data));
    this.ended = new Promise((resolve) =>
      wire.addEventListener("close", ({ code, reason }) => {
        this.#end(
          new TidemarkError("CLOSED", `the socket has ended: ${code} ${reason}`, { reason: "socket", closeCode: code }),
        );
        resolve({ code, reason });
      }),
    );
  }

  /** A client for a socket that serves many logs. */
  static connect(wire: Wire, options: EdgeSocketOptions): EdgeSocket {
    return new EdgeSocket(wire, options);
  }

  /** A client for a socket of one log, once its log has said hello. If it does not, the socket is closed. */
  static async bind(wire: Wire, options: EdgeSocketOptions): Promise<EdgeLog> {
    const socket = new EdgeSocket(wire, options);
    const log = socket.#channel();
    socket.bound = log;
    try {
      await socket.#greeted(log);
    } catch (thrown) {
      socket.close();
      throw thrown;
    }
    return log;
  }

  async open(path: string): Promise<EdgeLog> {
    if (this.#over) throw this.#over;
    const log = this.#channel();
    this.#wire.send(jsonFrame({ type: FrameType.OPEN, channel: log.channel }, { path }));
    await this.#greeted(log);
    return log;
  }

  async #greeted(log: EdgeLog): Promise<void> {
    const { after, helloMs = HELLO_MS } = this.#options;
    const cancel = after(helloMs, () =>
      log.leave(new TidemarkError("TIMEOUT", "the log did not answer the open in time", { ms: helloMs })),
    );
    await log.opened.finally(cancel);
  }

  #channel(): EdgeLog {
    while (this.#logs.has(this.#nextChannel)) this.#nextChannel = (this.#nextChannel + 1) & 0xffff;
    const channel = this.#nextChannel;
    this.#nextChannel = (channel + 1) & 0xffff;
    const log = new EdgeLog(
      this,
      channel,
      (frame) => this.#wire.send(frame),
      () => this.#logs.delete(channel),
    );
    this.#logs.set(channel, log);
    return log;
  }

  /** Sends a new token before the old one expires. Resolves with its expiry in seconds since 1970. */
  async token(text: string): Promise<number | null> {
    if (this.#over) throw this.#over;
    const id = this.#nextToken++;
    this.#wire.send(
      encodeFrame({ type: FrameType.TOKEN, channel: 0xffff, id, payload: new TextEncoder().encode(text) }),
    );
    return new Promise((resolve, reject) => this.#tokens.set(id, { resolve, reject }));
  }

  close(): void {
    this.#wire.close(1000);
    this.#end(new TidemarkError("CLOSED", "the socket was closed", { reason: "closed" }));
  }

  /** Asks for a sign of life. Whatever comes next counts (`heard`). */
  ping(): void {
    if (!this.#over) this.#wire.send(PING);
  }

  #take(data: unknown): void {
    this.#options.heard?.();
    if (data === PING) return this.#wire.send(PONG);
    const frame = decodeFrame(data);
    if (!frame) return;
    const token = frame.channel === 0xffff && this.#tokens.get(frame.id);
    if (token) {
      this.#tokens.delete(frame.id);
      if (frame.type === FrameType.OK) token.resolve((jsonOf(frame)?.["expires"] as number | null) ?? null);
      else token.reject(errorOf(frame));
      return;
    }
    this.#logs.get(frame.channel)?.take(frame);
  }

  #end(error: TidemarkError): void {
    if (this.#over) return;
    this.#over = error;
    for (const { reject } of this.#tokens.values()) reject(error);
    this.#tokens.clear();
    for (const log of [...this.#logs.values()]) log.end(error);
  }
}

const JOIN_REFUSALS: ReadonlySet<string> = new Set(["FENCED_LEADER", "UNKNOWN_OUTBOX", "FORBIDDEN"]);

/** True if the log takes joins and pushes. */
export const takesSync = ({ features }: SocketHello): boolean => features?.includes(SYNC_FEATURE) ?? false;

/** One log, used through a socket. */
export class EdgeLog {
  readonly socket: EdgeSocket;
  readonly channel: number;
  readonly opened: Promise<SocketHello>;
  /** Resolves with what ended the channel or its connection. Never rejects. */
  readonly ended: Promise<TidemarkError>;
  readonly #transmit: (frame: Uint8Array<ArrayBuffer>) => void;
  readonly #leave: () => void;
  readonly #requests = new Map<number, Request>();
  #nextId = 1;
  #credits = 0;
  readonly #waiting: { readonly bytes: number; go(): void; fail(error: TidemarkError): void }[] = [];
  #most = 0;
  #over: TidemarkError | undefined;
  #hearEnd!: (error: TidemarkError) => void;
  #settle: { resolve(hello: SocketHello): void; reject(error: TidemarkError): void } | undefined;

  constructor(
    socket: EdgeSocket,
    channel: number,
    transmit: (frame: Uint8Array<ArrayBuffer>) => void,
    leave: () => void,
  ) {
    this.socket = socket;
    this.channel = channel;
    this.#transmit = transmit;
    this.#leave = leave;
    this.opened = new Promise((resolve, reject) => (this.#settle = { resolve, reject }));
    this.opened.catch(() => undefined);
    this.ended = new Promise((resolve) => (this.#hearEnd = resolve));
  }

  /** Whether the channel or its connection has ended: every call fails from then on. */
  get isOver(): boolean {
    return this.#over !== undefined;
  }

  /**
   * Appends batches in the order of the calls. Rejects with the log's error, or as OUTCOME_UNKNOWN if the socket ends
   * first.
   */
  async append(
    batches: readonly Uint8Array[],
    options: { readonly ifEnd?: number | undefined } = {},
  ): Promise<EdgeAppendResult[]> {
    const answer = await this.#write(FrameType.APPEND, appendPayload(batches, options.ifEnd));
    return answer["appended"] as EdgeAppendResult[];
  }

  /** Tells the log what the device holds. Refusals are answers: only other errors reject. */
  join(join: OutboxJoin): Promise<JoinReply> {
    return this.#ask({ type: FrameType.JOIN, payload: new TextEncoder().encode(JSON.stringify(join)) }, (frame) => {
      const body = jsonOf(frame);
      if (frame.type === FrameType.JOINED) return { refusal: undefined, joined: body as typeof body & Joined };
      const { code, details } = (body ?? {}) as Partial<WireError>;
      if (!JOIN_REFUSALS.has(String(code)) || details?.["stream"] === undefined) throw errorOf(frame);
      return { refusal: String(code), joined: details as typeof details & Joined };
    });
  }

  /**
   * Sends batches of the outbox that has joined, at their positions. The log takes all of them or none. Pushes are sent
   * in the order of the calls.
   */
  async push(push: Omit<Push, "batches">, batches: readonly Uint8Array[]): Promise<Pushed> {
    return (await this.#write(FrameType.PUSH, pushPayload(push, batches))) as Record<string, unknown> & Pushed;
  }

  /** Sends one frame and resolves with the answer. */
  #ask<T>(fields: { readonly type: FrameType; readonly payload: Uint8Array }, read: (frame: Frame) => T): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.#over) return reject(this.#over);
      const id = this.#id();
      this.#requests.set(id, {
        writes: false,
        take: (frame) => {
          this.#requests.delete(id);
          try {
            resolve(read(frame));
          } catch (thrown) {
            reject(thrown);
          }
        },
        fail: reject,
      });
      this.#transmit(encodeFrame({ channel: this.channel, id, ...fields }));
    });
  }

  /** Frames that cost credits go in the order of the calls. */
  #write(type: FrameType, payload: Uint8Array): Promise<Record<string, unknown>> {
    return new Promise((resolve, reject) => {
      if (this.#over) return reject(this.#over);
      const id = this.#id();
      const go = (): void => {
        this.#credits -= payload.length;
        this.#requests.set(id, {
          writes: true,
          take: (frame) => {
            this.#requests.delete(id);
            this.#credit(frame.credits);
            if (frame.type === FrameType.OK) resolve(jsonOf(frame) ?? {});
            else reject(errorOf(frame));
          },
          fail: reject,
        });
        this.#transmit(encodeFrame({ type, channel: this.channel, id, payload }));
      };
      // An append that is larger than all credits is sent alone.
      if (this.#waiting.length === 0 && this.#hasRoom(payload.length)) return go();
      this.#waiting.push({ bytes: payload.length, go, fail: reject });
    });
  }

  #hasRoom(bytes: number): boolean {
    return bytes <= this.#credits || this.#credits >= this.#most;
  }

  #credit(bytes: number): void {
    this.#credits += bytes;
    while (this.#waiting.length > 0 && this.#hasRoom(this.#waiting[0]!.bytes)) this.#waiting.shift()!.go();
  }

  /**
   * Batches from a position on, up to `maxBytes`: by default the largest batch that a log takes. Empty at the end of
   * the log. BATCH_TOO_LARGE if the next batch alone has more.
   */
  fetch(from: EdgePosition, maxBytes = BATCH_BYTES_MAX): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      if (this.#over) return reject(this.#over);
      const id = this.#id();
      this.#requests.set(id, {
        writes: false,
        take: (frame) => {
          this.#requests.delete(id);
          if (frame.type === FrameType.BATCHES) resolve(frame.payload);
          else if (frame.type === FrameType.STARVE)
            reject(
              new TidemarkError("BATCH_TOO_LARGE", "the next batch is larger than maxBytes", {
                bytes: viewOf(frame.payload).getUint32(0),
              }),
            );
          else reject(errorOf(frame));
        },
        fail: reject,
      });
      this.#transmit(jsonFrame({ type: FrameType.FETCH, channel: this.channel, id, credits: maxBytes }, { from }));
    });
  }

  /** Everything from a position on, for ever, or until the log is closed. Leaving the loop ends it. */
  follow(from: EdgePosition, options: FollowOptions = {}): AsyncGenerator<Delivered> {
    return followed((...heard) => this.#following(...heard), from, options);
  }

  #following(...[take, fail]: Parameters<BeginFollow>): FollowRequest {
    if (this.#over) throw this.#over;
    const at = { channel: this.channel, id: this.#id() };
    const heard = (frame: Frame): void => (frame.type === FrameType.ERROR ? fail(errorOf(frame)) : take(frame));
    this.#requests.set(at.id, { writes: false, take: heard, fail });
    return {
      send: (frame) => {
        if (!this.#over) this.#transmit(encodeFrame({ ...at, ...frame }));
      },
      end: () => this.#requests.delete(at.id),
    };
  }

  #id(): number {
    while (this.#requests.has(this.#nextId)) this.#nextId = (this.#nextId + 1) >>> 0;
    const id = this.#nextId;
    // Id 0 means the channel itself.
    this.#nextId = (id + 1) >>> 0 || 1;
    return id;
  }

  close(): void {
    this.leave(new TidemarkError("CLOSED", "the log was closed", { reason: "closed" }));
  }

  /** Closes the channel. Calls under way end with `error`. */
  leave(error: TidemarkError): void {
    if (this.#over) return;
    this.end(error);
    this.#transmit(encodeFrame({ type: FrameType.CLOSE, channel: this.channel }));
  }

  /** Called by the socket with a frame of this channel. */
  take(frame: Frame): void {
    if (frame.type === FrameType.HELLO) {
      this.#credits = this.#most = frame.credits;
      return this.#settle?.resolve(jsonOf(frame) as Record<string, unknown> & SocketHello);
    }
    if (frame.id === 0 && frame.type === FrameType.ERROR) return this.end(errorOf(frame));
    this.#requests.get(frame.id)?.take(frame);
  }

  /** Called by the socket when nothing more comes. */
  end(error: TidemarkError): void {
    if (this.#over) return;
    this.#over = error;
    this.#leave();
    this.#settle?.reject(error);
    const unknown = new TidemarkError(
      "OUTCOME_UNKNOWN",
      "the socket ended before the answer",
      { ...error.details },
      { cause: error },
    );
    for (const request of this.#requests.values()) request.fail(request.writes ? unknown : error);
    this.#requests.clear();
    for (const { fail } of this.#waiting.splice(0)) fail(error);
    this.#hearEnd(error);
  }
}
