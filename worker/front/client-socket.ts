/**
 * The client's end of the WebSocket dialect (src/sync/frames.ts). The Worker holds the client's socket, and behind it
 * one hibernating socket to the object of each log:
 *
 *   GET /v1/stream/<path>, Upgrade    one log, whose channel 0 is open from the start
 *   GET /v1/socket, Upgrade           many: `open` frames name paths, each gets a channel
 *
 *   client ══ one socket ══▶ Worker ──▶ object of log a        frames are passed on unchanged
 *                              └──────▶ object of log b
 *
 * These things are here and not in the objects: rights, which each frame is checked for by the newest token; the timer
 * that ends a socket when its token expires (in an object it would prevent sleep); and limits on what must be held for
 * a client that does not read. Batches are bounded by credits. Answers are counted: every few hundred frames the client
 * must answer a ping, which shows that it has read so far.
 */
import { textDecoder, viewOf } from "../../src/record/bytes.ts";
import {
  CloseCode,
  CREDITS_AT,
  decodeFrame,
  encodeFrame,
  type Frame,
  FrameType,
  jsonFrame,
  jsonOf,
} from "../../src/sync/frames.ts";
import { allows, type Caller, callerOf } from "./auth.ts";
import { type Env, numberOf } from "../env.ts";
import { SOCKET_HEADER } from "../rpc/internal-headers.ts";
import { emit } from "../telemetry/events.ts";
import { textField } from "../wire/fields.ts";
import { badRequest, EdgeError } from "../errors.ts";
import { refusalIn, wireErrorOf } from "../wire/http.ts";
import { checkRate } from "./request-limits.ts";
import { checkPath, isReservedPath } from "../wire/paths.ts";
import { type Requests, SocketCredits } from "./socket-credits.ts";
import { refusalOf } from "../telemetry/socket-events.ts";
import type { Ask } from "../rpc/watch.ts";
import { ReadPace } from "./read-pace.ts";
import { SilenceWatch } from "./silence-watch.ts";
import { type AppendedTo, UnackedAppends } from "./unacked-appends.ts";
import { closeSocket, pairOf, type ServerSocket, socketIn, upgraded } from "../rpc/sockets.ts";
import { COUNTED, CREDITED, isClients, NEEDS } from "../rpc/frame-rules.ts";
import { withAsker } from "../rpc/join-prefix.ts";
import { subprotocolOf } from "../wire/bearer.ts";
import { ownerOf } from "./owner.ts";

/** Most logs on one socket. Each needs a socket of its own behind it. */
const CHANNELS_MAX = 256;
/** Most tokens that may be under check at a time. */
const RENEWALS_MAX = 16;
const PATH_CHARS_MAX = 1_024;
/** A client that sent nothing between two looks gets a ping, and is given up if it is still silent at the next. */
const SILENT_MS = 30_000;
/** Not SLOW, after which a client takes less: this one may only have slept. To clients it is a socket that was lost. */
const SILENT_CODE = 4408;
/** The longest time that a timer can hold. */
const TIMER_MS_MAX = 2 ** 31 - 1;
/** Text frames: what the client is asked, and what it must answer. */
const PING = "ping";
const PONG = "pong";

interface Channel extends AppendedTo {
  readonly path: string;
  /** Undefined while the channel is being opened. */
  socket: ServerSocket | undefined;
  reads: boolean;
  writes: boolean;
  /** Follows and fetches with their credits. */
  readonly requests: Requests;
  /** The owner who has joined on this channel. */
  joinedBy: string | undefined;
  /** Frames that wait for the rate limiter, in order. Undefined if nothing waits. */
  turn: Promise<void> | undefined;
}

/** Makes a function that asks the object of this tenant's path. */
export type AskOf = (tenant: string, path: string) => Ask;

class ClientSocket {
  readonly #env: Env;
  readonly #askOf: AskOf;
  readonly #socket: ServerSocket;
  readonly #channels = new Map<number, Channel>();
  /** True for a socket of one log, which opens no other channels. */
  readonly #isBound: boolean;
  #caller: Caller;
  #owner: string;
  #timer: ReturnType<typeof setTimeout> | undefined;
  readonly #silence: SilenceWatch;
  readonly #credits = new SocketCredits();
  readonly #unacked = new UnackedAppends();
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
    // A Blob could only be read later, but frames must keep their order.
    socket.binaryType = "arraybuffer";
    socket.accept();
    socket.addEventListener("message", ({ data }) => this.#take(data));
    socket.addEventListener("close", () => this.#end(1000, "", false));
    socket.addEventListener("error", () => this.#end(1011, "", false));
    this.#silence = new SilenceWatch(numberOf(env.TIDEMARK_SOCKET_SILENT_MS, SILENT_MS), {
      ask: () => this.#ask(),
      giveUp: () => this.#end(SILENT_CODE, "the client does not answer"),
    });
    this.#watchExpiry();
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

  #end(code: number, reason: string, tell = true): void {
    if (this.#ended) return;
    this.#ended = true;
    if (this.#timer !== undefined) clearTimeout(this.#timer);
    this.#silence.end();
    for (const channel of this.#channels.values()) closeSocket(channel.socket, 1000);
    this.#channels.clear();
    // Without an answer to its close the client's end would stay half open, and keep a program of Node alive. A reason
    // without a code is refused.
    if (tell) closeSocket(this.#socket, code, reason);
    else closeSocket(this.#socket);
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

  /** Sends a ping behind the frames that it is about: a client that answers has read them. */
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
    this.#silence.heard();
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
    if (!channel?.socket) throw new EdgeError("CLOSED", "the channel is not open: open it", { reason: "channel" });
    // Frames that came before it are passed on first.
    if (frame.type === FrameType.CLOSE)
      return channel.turn
        ? void channel.turn.then(() => this.#drop(frame.channel, channel))
        : this.#drop(frame.channel, channel);
    const needed = NEEDS[frame.type];
    if (needed && !channel[needed]) throw new EdgeError("FORBIDDEN", `the token does not allow ${needed} of this log`);
    switch (frame.type) {
      case FrameType.JOIN:
        channel.joinedBy = this.#owner;
        return this.#pass(channel, frame, withAsker(frame, { owner: this.#owner, mayWrite: channel.writes }));
      case FrameType.APPEND:
      case FrameType.PUSH:
        this.#unacked.add(channel, frame.payload.length);
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

  /** The rate limiter takes time, so frames wait in a queue to keep their order. */
  #queue(channel: Channel, frame: Frame, data: ArrayBuffer | Uint8Array<ArrayBuffer>, isCounted: boolean): void {
    const turn: Promise<void> = (channel.turn ?? Promise.resolve())
      .then(() => (isCounted ? checkRate(this.#env, this.#caller.tenant, channel.path) : undefined))
      .then(() => {
        if (this.#channels.get(frame.channel) === channel) channel.socket?.send(data);
      })
      .catch((thrown: unknown) => {
        if (this.#channels.get(frame.channel) !== channel) return;
        if (CREDITED.has(frame.type)) this.#unacked.acked(channel, frame.payload.length);
        else this.#credits.end(channel.requests, frame.id);
        this.#refuse(frame, thrown);
      })
      .finally(() => {
        if (channel.turn === turn) channel.turn = undefined;
      });
    channel.turn = turn;
  }

  /** Passes a frame on to the channel's object, behind frames that wait for the limiter. */
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

  async #renew(frame: Frame): Promise<void> {
    if (this.#renewals >= RENEWALS_MAX) {
      return this.#refuse(
        frame,
        new EdgeError("LIMIT_EXCEEDED", `${RENEWALS_MAX} tokens are being checked; wait for their answers`),
      );
    }
    this.#renewals++;
    try {
      const text = textDecoder.decode(frame.payload);
      // A text that does not fit into a header can't be a token.
      if (!/^[\x21-\x7e]+$/.test(text)) throw new EdgeError("UNAUTHORIZED", "the frame holds no token");
      const headers = { authorization: `Bearer ${text}` };
      const caller = await callerOf(new Request("https://socket.invalid/", { headers }), this.#env);
      const owner = await ownerOf(caller);
      if (this.#ended) return;
      if (caller.tenant !== this.#caller.tenant) throw new EdgeError("FORBIDDEN", "the token has another tenant");
      this.#caller = caller;
      this.#owner = owner;
      this.#watchExpiry();
      for (const [number, channel] of this.#channels) this.#restrict(number, channel);
      this.#send(
        jsonFrame({ type: FrameType.OK, channel: frame.channel, id: frame.id }, { expires: caller.expires ?? null }),
      );
    } catch (thrown) {
      this.#refuse(frame, thrown);
      // The keys could not be fetched: the old token counts until it expires.
      const { code } = EdgeError.from(thrown);
      if (code === "CLOSED") return;
      this.#end(code === "FORBIDDEN" ? CloseCode.FORBIDDEN : CloseCode.UNAUTHORIZED, "the new token was refused");
    } finally {
      this.#renewals--;
    }
  }

  /** A follow that began with the old token ends if the new one does not allow it. */
  #restrict(number: number, channel: Channel): void {
    channel.writes = allows(this.#caller, "write", channel.path);
    if (channel.joinedBy !== undefined && channel.joinedBy !== this.#owner)
      return this.#dismiss(number, channel, "the new token belongs to another owner: join again");
    const read = allows(this.#caller, "read", channel.path);
    if (channel.reads && !read && channel.requests.size > 0) {
      this.#dismiss(number, channel, "the new token does not allow to read this log");
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
      if (this.#isBound) throw badRequest("this socket serves one log only; open others at /v1/socket");
      const checked = checkPath(textField(path, "path", PATH_CHARS_MAX), "path");
      if (isReservedPath(checked)) throw badRequest("path begins with __ds, which is reserved and names no stream");
      await this.open(frame.channel, checked);
    } catch (thrown) {
      this.#refuse(frame, thrown);
    }
  }

  /** Opens a channel. The first frame that its object sends is the hello. */
  async open(number: number, path: string): Promise<void> {
    if (this.#channels.has(number)) throw badRequest(`channel ${number} is open already: choose another number`);
    if (this.#channels.size >= CHANNELS_MAX)
      throw new EdgeError("LIMIT_EXCEEDED", `a socket has ${CHANNELS_MAX} logs: close one`, {
        channelsMax: CHANNELS_MAX,
      });
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
    const socket = socketIn(response);
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
    // The answer of an append gives credits back. It may have the same id as a follow, and does not end that.
    if (isAnswer && credits > 0) this.#unacked.acked(channel, credits);
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
    this.#unacked.acked(channel, channel.unacked);
    closeSocket(channel.socket, 1000);
  }

  /**
   * The object was reset, or its log deleted. The outcome of calls under way is unknown, and the client opens the log
   * again.
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
    this.#send(jsonFrame({ type: FrameType.ERROR, channel: number }, wireErrorOf(error)));
  }
}

/** The frame with other credits, in a copy: the client's own frame is left unchanged. */
function withCredits(data: ArrayBuffer, credits: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(data.slice(0));
  viewOf(bytes).setUint32(CREDITS_AT, credits);
  return bytes;
}

/**
 * Upgrades a request. With `path` the log is opened first, so that an error with it is an HTTP answer and not a socket.
 */
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
  return upgraded(client, headers);
}
