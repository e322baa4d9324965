/**
 * The client's end of the WebSocket dialect (src/sync/frames.ts). The Worker holds the client's socket, and one
 * hibernating socket to each log's object behind it:
 *
 *   GET /v1/stream/<path>, Upgrade    one log, open from the start as channel 0
 *   GET /v1/socket, Upgrade           many: `open` frames name paths, each gets a channel
 *
 *   client ══ one socket ══▶ Worker ──▶ object of log a        frames are passed on as they are
 *                              └──────▶ object of log b
 *
 * Here and not in the objects: who may do what, by each frame, with the newest token; the timer that ends a socket with
 * its token (in an object it would keep it from sleeping); and the bounds of what a client that doesn't read can make
 * us hold. Batches are bounded by credits. Answers are counted, and every few hundred the client has to show by a text
 * frame that it has read so far.
 */
import { viewOf } from "../../src/record/bytes.ts";
import {
  APPEND_CREDIT_BYTES,
  CloseCode,
  CREDITS_AT,
  decodeFrame,
  encodeFrame,
  type Frame,
  FrameType,
  jsonFrame,
  jsonOf,
} from "../../src/sync/frames.ts";
import { type Action, type Caller, callerOf } from "./auth.ts";
import { type Env, numberOf } from "../env.ts";
import { SOCKET_HEADER } from "../rpc/internal-headers.ts";
import { emit } from "../telemetry/events.ts";
import { textField } from "../wire/fields.ts";
import { badRequest, EdgeError } from "../errors.ts";
import { refusalIn, wireErrorOf } from "../wire/http.ts";
import { checkRate } from "./request-limits.ts";
import { checkPath } from "../wire/paths.ts";
import { type Requests, SocketCredits } from "./socket-credits.ts";
import { refusalOf } from "../telemetry/socket-events.ts";
import type { Ask } from "../rpc/watch.ts";
import { ReadPace } from "./read-pace.ts";
import { closeSocket, pairOf, type ServerSocket } from "./server-socket.ts";
import { COUNTED, CREDITED, isClients, NEEDS } from "./frame-rules.ts";
import { withAsker } from "../rpc/join-prefix.ts";
import { subprotocolOf } from "../wire/bearer.ts";
import { ownerOf } from "./owner.ts";

/** Logs on one socket: each is a socket of its own behind it. */
const CHANNELS_MAX = 256;
/** Of all channels' appends without an answer. */
const UNACKED_BYTES_MAX = 32 * 1024 * 1024;
/** Tokens that are being checked. */
const RENEWALS_MAX = 16;
const PATH_CHARS_MAX = 1_024;
/** A client that has said nothing for as long is asked; one that still says nothing is given up as long after. */
const SILENT_MS = 30_000;
/** Timers hold no more. */
const TIMER_MS_MAX = 2 ** 31 - 1;
/** What the client is asked by text, and answers. */
const PING = "ping";
const PONG = "pong";

interface Channel {
  readonly path: string;
  /** Undefined while it is being opened. */
  socket: ServerSocket | undefined;
  reads: boolean;
  writes: boolean;
  /** Follows and fetches, and their credits. */
  readonly requests: Requests;
  /** Bytes of appends without an answer. */
  unacked: number;
  /** Who has joined it. */
  joinedBy: string | undefined;
  /** Frames that wait for the rate limiter, in their order; undefined where there is none, or nothing waits. */
  turn: Promise<void> | undefined;
}

/** Asks the object of a path of this tenant. */
export type AskOf = (tenant: string, path: string) => Ask;

const allows = (caller: Caller, action: Action, path: string): boolean => {
  try {
    caller.require(action, path);
    return true;
  } catch {
    return false;
  }
};

class ClientSocket {
  readonly #env: Env;
  readonly #askOf: AskOf;
  readonly #socket: ServerSocket;
  readonly #channels = new Map<number, Channel>();
  /** One log's socket: no others are opened. */
  readonly #isBound: boolean;
  #caller: Caller;
  #owner: string;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #silence: ReturnType<typeof setTimeout> | undefined;
  /** How often it was looked at since the client has said anything. */
  #quiet = 0;
  readonly #credits = new SocketCredits();
  #unacked = 0;
  #renewals = 0;
  readonly #pace = new ReadPace();
  #ended = false;

  constructor(env: Env, askOf: AskOf, socket: ServerSocket, caller: Caller, owner: string, isBound: boolean) {
    this.#env = env;
    this.#askOf = askOf;
    this.#socket = socket;
    this.#caller = caller;
    this.#owner = owner;
    this.#isBound = isBound;
    // A Blob could only be read later, and frames keep their order.
    socket.binaryType = "arraybuffer";
    socket.accept();
    socket.addEventListener("message", ({ data }) => this.#take(data));
    socket.addEventListener("close", () => this.#end(1000, "", false));
    socket.addEventListener("error", () => this.#end(1011, "", false));
    this.#watchExpiry();
    this.#watchSilence();
  }

  // --- the socket's life -------------------------------------------------------------------------------------------

  #watchExpiry(): void {
    if (this.#timer !== undefined) clearTimeout(this.#timer);
    const { expires } = this.#caller;
    if (expires === undefined) return;
    const left = expires * 1000 - Date.now();
    this.#timer = setTimeout(
      () => (left > TIMER_MS_MAX ? this.#watchExpiry() : this.#end(CloseCode.UNAUTHORIZED, "the token has expired")),
      Math.min(left, TIMER_MS_MAX),
    );
  }

  /**
   * A client may go without a word, and its sockets to the logs would stay. It is asked behind one such time, and given
   * up behind the next.
   */
  #watchSilence(): void {
    this.#silence = setTimeout(
      () => {
        if (this.#quiet === 2) return this.#end(CloseCode.SLOW, "the client does not answer");
        if (this.#quiet === 1) this.#ask();
        this.#quiet++;
        if (!this.#ended) this.#watchSilence();
      },
      numberOf(this.#env.TIDEMARK_SOCKET_SILENT_MS, SILENT_MS),
    );
  }

  #end(code: number, reason: string, tell = true): void {
    if (this.#ended) return;
    this.#ended = true;
    if (this.#timer !== undefined) clearTimeout(this.#timer);
    if (this.#silence !== undefined) clearTimeout(this.#silence);
    for (const channel of this.#channels.values()) closeSocket(channel.socket, 1000);
    this.#channels.clear();
    closeSocket(this.#socket, tell ? code : undefined, reason);
  }

  abandon(): void {
    this.#end(1011, "", false);
  }

  #send(data: ArrayBuffer | Uint8Array | string, batchBytes = 0): void {
    if (this.#ended) return;
    try {
      this.#socket.send(data);
    } catch {
      return this.#end(1011, "", false);
    }
    const next = this.#pace.sent(batchBytes);
    if (next === "give up") this.#end(CloseCode.SLOW, "the client does not read");
    else if (next === "ask") this.#ask();
  }

  /** Behind the frames that it is about: who answers has read so far. */
  #ask(): void {
    this.#pace.asked();
    try {
      this.#socket.send(PING);
    } catch {
      this.#end(1011, "", false);
    }
  }

  #refuse({ channel, id, type, payload }: Pick<Frame, "channel" | "id" | "type" | "payload">, thrown: unknown): void {
    emit(this.#env, "rejection", {
      tenant: this.#caller.tenant,
      path: this.#channels.get(channel)?.path,
      ...refusalOf({ type, payload }, thrown),
    });
    this.#send(
      jsonFrame(
        { type: FrameType.ERROR, channel, id, credits: CREDITED.has(type) ? payload.length : 0 },
        wireErrorOf(thrown),
      ),
    );
  }

  // --- from the client ---------------------------------------------------------------------------------------------

  #take(data: unknown): void {
    if (this.#ended) return;
    this.#quiet = 0;
    if (data === PONG) return this.#credits.read(this.#pace.read());
    if (data === PING) return this.#send(PONG);
    const frame = decodeFrame(data);
    if (!frame) return this.#end(CloseCode.BAD_FRAME, "not a frame of version 1");
    try {
      this.#route(frame, data as ArrayBuffer);
    } catch (thrown) {
      this.#refuse(frame, thrown);
    }
  }

  #route(frame: Frame, data: ArrayBuffer): void {
    if (frame.type === FrameType.OPEN) return void this.#openByFrame(frame);
    if (frame.type === FrameType.TOKEN) return void this.#renew(frame);
    if (!isClients(frame.type)) return this.#end(CloseCode.BAD_FRAME, "no such type");
    const channel = this.#channels.get(frame.channel);
    if (!channel?.socket) throw new EdgeError("CLOSED", "the channel is not open", { reason: "channel" });
    // What came before it is sent on first.
    if (frame.type === FrameType.CLOSE)
      return channel.turn
        ? void channel.turn.then(() => this.#drop(frame.channel, channel))
        : this.#drop(frame.channel, channel);
    const needed = NEEDS[frame.type];
    if (needed && !channel[needed]) throw new EdgeError("FORBIDDEN", `the token does not allow it`);
    switch (frame.type) {
      case FrameType.JOIN:
        channel.joinedBy = this.#owner;
        return this.#pass(channel, frame, withAsker(frame, { owner: this.#owner, mayWrite: channel.writes }));
      case FrameType.APPEND:
      case FrameType.PUSH:
        this.#count(channel, frame.payload.length);
        return this.#pass(channel, frame, data);
      case FrameType.FOLLOW: {
        const granted = this.#credits.follow(
          channel.requests,
          frame.id,
          frame.credits,
          this.#grantTo(channel, frame.channel, frame.id),
        );
        return this.#pass(channel, frame, withCredits(data, granted));
      }
      case FrameType.FETCH:
        return this.#credits.fetch(channel.requests, frame.id, frame.credits, () => this.#pass(channel, frame, data));
      case FrameType.CREDIT:
        return this.#credits.more(channel.requests, frame.id, frame.credits);
      default:
        return this.#pass(channel, frame, data);
    }
  }

  /** The limiter takes its time, and frames keep their order. */
  #queue(channel: Channel, frame: Frame, data: ArrayBuffer | Uint8Array<ArrayBuffer>, isCounted: boolean): void {
    const turn: Promise<void> = (channel.turn ?? Promise.resolve())
      .then(() => (isCounted ? checkRate(this.#env, this.#caller.tenant, channel.path) : undefined))
      .then(() => {
        if (this.#channels.get(frame.channel) === channel) channel.socket?.send(data);
      })
      .catch((thrown: unknown) => {
        if (this.#channels.get(frame.channel) !== channel) return;
        if (CREDITED.has(frame.type)) this.#acked(channel, frame.payload.length);
        else this.#credits.end(channel.requests, frame.id);
        this.#refuse(frame, thrown);
      })
      .finally(() => {
        if (channel.turn === turn) channel.turn = undefined;
      });
    channel.turn = turn;
  }

  /** To the channel's object, behind what waits for the limiter. */
  #pass(channel: Channel, frame: Frame, data: ArrayBuffer | Uint8Array<ArrayBuffer>): void {
    const isCounted = COUNTED.has(frame.type) && this.#env.RATE_LIMIT !== undefined;
    if (isCounted || channel.turn) this.#queue(channel, frame, data, isCounted);
    else channel.socket?.send(data);
  }

  #grantTo(channel: Channel, number: number, id: number): (bytes: number) => void {
    return (credits) => {
      const data = encodeFrame({ type: FrameType.CREDIT, channel: number, id, credits });
      this.#pass(channel, decodeFrame(data)!, data);
    };
  }

  /** An append is counted until its answer gives the credits back. */
  #count(channel: Channel, bytes: number): void {
    const isTooMuch = channel.unacked > 0 && channel.unacked + bytes > APPEND_CREDIT_BYTES;
    if (isTooMuch)
      throw new EdgeError("BACKPRESSURE", "more than the credits of this log", { creditBytes: APPEND_CREDIT_BYTES });
    if (this.#unacked > 0 && this.#unacked + bytes > UNACKED_BYTES_MAX) {
      throw new EdgeError("BACKPRESSURE", "more appends on one socket than it may have under way", {
        unackedBytesMax: UNACKED_BYTES_MAX,
      });
    }
    channel.unacked += bytes;
    this.#unacked += bytes;
  }

  #acked(channel: Channel, bytes: number): void {
    const acked = Math.min(bytes, channel.unacked);
    channel.unacked -= acked;
    this.#unacked -= acked;
  }

  async #renew(frame: Frame): Promise<void> {
    if (this.#renewals >= RENEWALS_MAX) {
      return this.#refuse(
        frame,
        new EdgeError("LIMIT_EXCEEDED", `${RENEWALS_MAX} tokens are being checked; wait for their answers`),
      );
    }
    this.#renewals++;
    try {
      const text = new TextDecoder().decode(frame.payload);
      // What no header could hold is no token.
      if (!/^[\x21-\x7e]+$/.test(text)) throw new EdgeError("UNAUTHORIZED", "not a token");
      const headers = { authorization: `Bearer ${text}` };
      const caller = await callerOf(new Request("https://socket.invalid/", { headers }), this.#env);
      const owner = await ownerOf(caller);
      if (this.#ended) return;
      if (caller.tenant !== this.#caller.tenant) throw new EdgeError("FORBIDDEN", "the token is another tenant's");
      this.#caller = caller;
      this.#owner = owner;
      this.#watchExpiry();
      for (const [number, channel] of this.#channels) this.#restrict(number, channel);
      this.#send(
        jsonFrame({ type: FrameType.OK, channel: frame.channel, id: frame.id }, { expires: caller.expires ?? null }),
      );
    } catch (thrown) {
      this.#refuse(frame, thrown);
      // Its keys could not be had: the old token counts until it ends.
      const { code } = EdgeError.from(thrown);
      if (code === "CLOSED") return;
      this.#end(code === "FORBIDDEN" ? CloseCode.FORBIDDEN : CloseCode.UNAUTHORIZED, "the token is not taken");
    } finally {
      this.#renewals--;
    }
  }

  /** A follow that was begun with the old token ends with it. */
  #restrict(number: number, channel: Channel): void {
    channel.writes = allows(this.#caller, "write", channel.path);
    if (channel.joinedBy !== undefined && channel.joinedBy !== this.#owner)
      return this.#dismiss(number, channel, "the new token is another owner's: join again");
    const read = allows(this.#caller, "read", channel.path);
    if (channel.reads && !read && channel.requests.size > 0) {
      this.#dismiss(number, channel, "the new token does not allow to read here");
    }
    channel.reads = read;
  }

  #dismiss(number: number, channel: Channel, why: string): void {
    this.#refuse({ channel: number, id: 0, type: 0, payload: new Uint8Array(0) }, new EdgeError("FORBIDDEN", why));
    this.#drop(number, channel);
  }

  // --- channels ----------------------------------------------------------------------------------------------------

  async #openByFrame(frame: Frame): Promise<void> {
    try {
      const path = jsonOf(frame)?.["path"];
      if (this.#isBound) throw badRequest("this socket is one log's");
      const checked = checkPath(textField(path, "path", PATH_CHARS_MAX), "path");
      if (/^__ds(\/|$)/.test(checked)) throw badRequest("path begins with __ds, which names no stream");
      await this.open(frame.channel, checked);
    } catch (thrown) {
      this.#refuse(frame, thrown);
    }
  }

  /** Opens a channel; its object's first frame is the hello. */
  async open(number: number, path: string): Promise<void> {
    if (this.#channels.has(number)) throw badRequest("this channel is open");
    if (this.#channels.size >= CHANNELS_MAX)
      throw new EdgeError("LIMIT_EXCEEDED", "too many logs on one socket", { channelsMax: CHANNELS_MAX });
    const [reads, writes] = [allows(this.#caller, "read", path), allows(this.#caller, "write", path)];
    if (!reads && !writes) this.#caller.require("read", path);
    const channel: Channel = {
      path,
      socket: undefined,
      reads,
      writes,
      requests: new Map(),
      unacked: 0,
      joinedBy: undefined,
      turn: undefined,
    };
    this.#channels.set(number, channel);
    let socket: ServerSocket;
    try {
      await checkRate(this.#env, this.#caller.tenant, path);
      socket = await this.#connect(number, path);
    } catch (thrown) {
      this.#channels.delete(number);
      throw thrown;
    }
    if (this.#ended) return closeSocket(socket, 1000);
    channel.socket = socket;
    socket.binaryType = "arraybuffer";
    socket.accept();
    socket.addEventListener("message", ({ data }) => this.#relay(channel, data));
    const gone = (code = 1011) => this.#lost(number, channel, code);
    socket.addEventListener("close", ({ code }) => gone(code));
    socket.addEventListener("error", () => gone());
  }

  async #connect(number: number, path: string): Promise<ServerSocket> {
    const response = await this.#askOf(this.#caller.tenant, path)("", {
      upgrade: "websocket",
      [SOCKET_HEADER]: String(number),
    });
    const socket = (response as unknown as { webSocket: ServerSocket | null }).webSocket;
    if (socket) return socket;
    throw await refusalIn(response);
  }

  #relay(channel: Channel, data: unknown): void {
    const frame = data instanceof ArrayBuffer ? decodeFrame(data) : undefined;
    if (!frame || this.#ended) return;
    const { type, id, credits } = frame;
    const isAnswer = type === FrameType.ERROR || type === FrameType.OK;
    if (type === FrameType.STARVE && this.#credits.starved(channel.requests, id, viewOf(frame.payload).getUint32(0)))
      return;
    // An append's answer gives credits back; it may have the id of a follow, and ends none.
    if (isAnswer && credits > 0) this.#acked(channel, credits);
    else if (isAnswer || type === FrameType.END) this.#credits.end(channel.requests, id);
    const batchBytes = type === FrameType.BATCHES ? frame.payload.length : 0;
    this.#send(data as ArrayBuffer, batchBytes);
    if (type === FrameType.BATCHES) this.#credits.sent(channel.requests, id, batchBytes);
    // The object has ended this channel.
    if (type === FrameType.ERROR && id === 0) this.#drop(frame.channel, channel);
  }

  #drop(number: number, channel: Channel): void {
    if (this.#channels.get(number) !== channel) return;
    this.#channels.delete(number);
    this.#credits.drop(channel.requests);
    this.#acked(channel, channel.unacked);
    closeSocket(channel.socket, 1000);
  }

  /**
   * The object was reset, or its log deleted: what is under way has no known outcome, and the client opens it again.
   */
  #lost(number: number, channel: Channel, code: number): void {
    if (this.#ended || this.#channels.get(number) !== channel) return;
    this.#drop(number, channel);
    if (this.#isBound)
      return this.#end(code >= 4000 ? code : 1012, code === CloseCode.GONE ? "deleted" : "the log's object was reset");
    const error =
      code === CloseCode.GONE
        ? new EdgeError("GONE", "the stream was deleted")
        : new EdgeError("CLOSED", "the log's object was reset", { reason: "reset" });
    this.#send(encodeFrame({ ...jsonError(error), channel: number }));
  }
}

/** A frame with other credits. The client's own stays as it is. */
function withCredits(data: ArrayBuffer, credits: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(data.slice(0));
  viewOf(bytes).setUint32(CREDITS_AT, credits);
  return bytes;
}

const jsonError = (error: unknown) => ({
  type: FrameType.ERROR,
  payload: new TextEncoder().encode(JSON.stringify(wireErrorOf(error))),
});

/** Upgrades a request. With `path` the log is opened first: what is wrong with it is an HTTP answer, and no socket. */
export async function upgrade(
  request: Request,
  env: Env,
  askOf: AskOf,
  caller: Caller,
  path: string | undefined,
): Promise<Response> {
  const { client, server } = pairOf();
  const socket = new ClientSocket(env, askOf, server, caller, await ownerOf(caller), path !== undefined);
  try {
    if (path !== undefined) await socket.open(0, path);
  } catch (thrown) {
    socket.abandon();
    throw thrown;
  }
  const subprotocol = subprotocolOf(request.headers);
  const headers = subprotocol === undefined ? {} : { "sec-websocket-protocol": subprotocol };
  return new Response(null, { status: 101, webSocket: client, headers } as ResponseInit);
}
