/**
 * The client's WebSocket (src/sync/frames.ts): one for all topics, open as long as some read follows.
 *
 *   follow   at the log's end, in place of long-polls: batches come as they are committed, as many as the loop takes
 *   append   a batch that is sent for the first time, of a topic whose channel is open; else it goes by a request
 *
 * Whatever goes wrong here is no error: a follow just ends, and its reader asks by requests, which say what is the
 * matter. A batch that was sent when the socket ended is OUTCOME_UNKNOWN, and is sent again by a request. After a
 * socket that did not open, or soon ended, none is tried for a while: the network may let only requests through.
 */
import { TidemarkError } from "../errors.ts";
import { viewOf } from "../record/bytes.ts";
import { BATCH_HEADER_BYTES, LENGTH_AT, LENGTH_OVERHEAD, nextOffsetOf, readHeader } from "../record/format.ts";
import { FollowWindow } from "../sync/follow-window.ts";
import {
  appendPayload,
  CloseCode,
  decodeFrame,
  encodeFrame,
  type Frame,
  FrameType,
  jsonFrame,
  jsonOf,
} from "../sync/frames.ts";
import { socketProtocols } from "../sync/http-words.ts";
import type { WebSocketClass, WebSocketLike } from "./api.ts";
import type { Page } from "./page.ts";
import { openedSocket } from "./let-go.ts";
import type { EdgeRequests } from "./requests.ts";
import type { Posted } from "./sender.ts";
import { unlessAborted, within } from "./waiting.ts";

/** Bytes of batches that may be on their way to one follow; more for a batch that is larger. */
const WINDOW_BYTES = 256 * 1024;
/** A socket, and a log's channel, open within this time, or requests are used. */
const OPEN_MS = 5_000;
/** If the edge is silent for this long it gets a ping. If it is silent for as long again, the socket is given up. */
const SILENT_MS = 20_000;
/** After a socket that failed within this time of its opening, no socket is tried for as long. */
const AVOID_MS = 10_000;
/** Topics that a socket has room for, as the edge has it. */
const CHANNELS_MAX = 256;
/**
 * A topic that is appended to gets the channel of one that was unused for this long. Else appends to more topics than
 * there is room for, in turn, would open a channel each. A read that follows does not wait.
 */
const UNUSED_MS = 10_000;
const NOTHING = new Uint8Array(0);

interface Heard {
  take(frame: Frame): void;
  fail(): void;
}

class Channel {
  readonly heard = new Map<number, Heard>();
  usedAt = performance.now();
  #ids = 0;
  constructor(
    readonly name: string,
    readonly number: number,
    readonly socket: WebSocketLike,
  ) {}

  /** `frameOf` makes the frame for the id under which `heard` is told. */
  ask(heard: Heard, frameOf: (id: number) => Uint8Array<ArrayBuffer>): number {
    const id = ++this.#ids;
    this.usedAt = performance.now();
    this.heard.set(id, heard);
    this.socket.send(frameOf(id));
    return id;
  }
  fail(): void {
    for (const { fail } of this.heard.values()) fail();
    this.heard.clear();
  }
}

export class LiveSocket {
  readonly #requests: EdgeRequests;
  readonly #Class: WebSocketClass;
  readonly #closed: AbortSignal;
  /** By the topic's name, from when it is asked for. A channel that ended is opened anew. */
  readonly #channels = new Map<string, Promise<Channel>>();
  /** The channels whose hello has come, by the topic's name. */
  readonly #ready = new Map<string, Channel>();
  readonly #byNumber = new Map<number, Channel>();
  #socket: Promise<WebSocketLike> | undefined;
  #end: ((code: number) => void) | undefined;
  #numbers = 0;
  #follows = 0;
  #avoidUntil = 0;

  constructor(requests: EdgeRequests, Class: WebSocketClass, closed: AbortSignal) {
    this.#requests = requests;
    this.#Class = Class;
    this.#closed = closed;
    closed.addEventListener("abort", () => this.#end?.(1000));
  }

  // --- the socket --------------------------------------------------------------------------------------------------

  #opened(): Promise<WebSocketLike> {
    return (this.#socket ??= this.#open().catch((thrown: unknown) => {
      this.#socket = undefined;
      this.#avoidUntil = performance.now() + AVOID_MS;
      throw thrown;
    }));
  }

  async #open(): Promise<WebSocketLike> {
    const token = this.#requests.token();
    const text = await token.text;
    this.#closed.throwIfAborted();
    const socket = new this.#Class(this.#requests.url.replace(/^http/, "ws") + "/v1/socket", socketProtocols(text));
    socket.binaryType = "arraybuffer";
    const over = openedSocket(socket);
    // Nobody is told why none opens: the reader's next request says it.
    const ended = new Promise<never>((_, reject) => {
      socket.addEventListener("error", reject);
      socket.addEventListener("close", reject);
    });
    const open = new Promise<void>((resolve) =>
      // In this turn: a socket that opens and ends at once is heard to end, and one that `closed` finds open is closed.
      socket.addEventListener("open", () => resolve(this.#live(socket, token, over))),
    );
    try {
      await within(OPEN_MS, [this.#closed], () => Promise.race([open, ended]));
    } catch (thrown) {
      socket.close();
      over();
      throw thrown;
    }
    return socket;
  }

  #live(socket: WebSocketLike, token: ReturnType<EdgeRequests["token"]>, over: () => void): void {
    const since = performance.now();
    let timer: ReturnType<typeof setTimeout>;
    const silence = (next: () => void): void => {
      clearTimeout(timer);
      timer = setTimeout(next, SILENT_MS);
    };
    const ask = (): void => {
      socket.send("ping");
      silence(() => end(1006));
    };
    const end = (code: number): void => {
      if (this.#end !== end) return;
      this.#end = this.#socket = undefined;
      clearTimeout(timer);
      if (code !== 1000 && performance.now() - since < AVOID_MS) this.#avoidUntil = performance.now() + AVOID_MS;
      if (code === CloseCode.UNAUTHORIZED) this.#requests.token("expired", token);
      this.#channels.clear();
      this.#ready.clear();
      for (const channel of this.#byNumber.values()) channel.fail();
      this.#byNumber.clear();
      socket.close(1000);
      over();
    };
    this.#end = end;
    silence(ask);
    socket.addEventListener("message", ({ data }) => {
      // Some sockets tell what comes while they close.
      if (this.#end !== end) return;
      silence(ask);
      if (data === "ping") return socket.send("pong");
      const frame = decodeFrame(data);
      if (frame) this.#take(frame);
    });
    socket.addEventListener("close", ({ code }) => end(code));
  }

  #take(frame: Frame): void {
    const channel = this.#byNumber.get(frame.channel);
    if (!channel) return;
    // Hello, and the end of a channel, have no id of their own: both are told to whoever opened it.
    if (frame.type === FrameType.HELLO || frame.id !== 0) return channel.heard.get(frame.id)?.take(frame);
    this.#drop(channel);
  }

  #drop(channel: Channel): void {
    this.#byNumber.delete(channel.number);
    if (this.#ready.get(channel.name) === channel) {
      this.#ready.delete(channel.name);
      this.#channels.delete(channel.name);
    }
    channel.fail();
  }

  /** Nobody follows and nothing is under way: the socket would only keep the program alive. */
  #rest(): void {
    const isBusy = (): boolean => [...this.#byNumber.values()].some(({ heard }) => heard.size > 0);
    if (this.#follows === 0 && !isBusy()) this.#end?.(1000);
  }

  /**
   * True if the topic has a channel or can get one. Where all are taken it closes the one that nothing was asked of for
   * longest, and at least for `unusedMs`.
   */
  #hasRoom(name: string, unusedMs: number): boolean {
    if (this.#channels.size < CHANNELS_MAX || this.#channels.has(name)) return true;
    const latest = performance.now() - unusedMs;
    const [unused] = [...this.#ready.values()]
      .filter(({ heard, usedAt }) => heard.size === 0 && usedAt <= latest)
      .sort((a, b) => a.usedAt - b.usedAt);
    if (!unused) return false;
    this.#drop(unused);
    unused.socket.send(encodeFrame({ type: FrameType.CLOSE, channel: unused.number }));
    return true;
  }

  #channel(name: string): Promise<Channel> {
    const known = this.#channels.get(name);
    if (known) return known;
    const made = this.#openChannel(name);
    this.#channels.set(name, made);
    made.catch(() => {
      if (this.#channels.get(name) === made) this.#channels.delete(name);
    });
    return made;
  }

  async #openChannel(name: string): Promise<Channel> {
    const opened = this.#opened();
    const socket = await opened;
    // Meanwhile the last read may have left.
    if (this.#socket !== opened) throw new Error("the socket has ended");
    let number;
    do number = this.#numbers++ & 0xffff;
    while (this.#byNumber.has(number));
    const channel = new Channel(name, number, socket);
    this.#byNumber.set(number, channel);
    const hello = new Promise<unknown>((take, fail) => channel.heard.set(0, { take, fail }));
    try {
      socket.send(jsonFrame({ type: FrameType.OPEN, channel: number }, { path: name }));
      await within(OPEN_MS, [this.#closed], () => hello);
    } catch (thrown) {
      // A channel that went on waiting for its hello would keep the socket open, and with it the program alive.
      this.#byNumber.delete(number);
      this.#rest();
      throw thrown;
    }
    channel.heard.delete(0);
    this.#ready.set(name, channel);
    this.#rest();
    return channel;
  }

  // --- appends -----------------------------------------------------------------------------------------------------

  /** Undefined if it was not sent, or refused: a request then says why. OUTCOME_UNKNOWN if the socket ended. */
  async append(
    name: string,
    batch: Uint8Array<ArrayBuffer>,
    ifEnd: number | undefined,
    signal: AbortSignal,
  ): Promise<Posted | undefined> {
    const channel = this.#ready.get(name);
    if (!channel) {
      // While it opens, requests are as fast.
      if (this.#end && this.#hasRoom(name, UNUSED_MS)) this.#channel(name).catch(() => undefined);
      return undefined;
    }
    const unknown = (): TidemarkError => new TidemarkError("OUTCOME_UNKNOWN", "the socket ended before the answer");
    let id = 0;
    const answer = new Promise<Frame>((resolve, reject) => {
      id = channel.ask({ take: resolve, fail: () => reject(unknown()) }, (id) =>
        encodeFrame({ type: FrameType.APPEND, channel: channel.number, id, payload: appendPayload([batch], ifEnd) }),
      );
    });
    const frame = await within(SILENT_MS, [signal], () => answer).finally(() => {
      channel.heard.delete(id);
      this.#rest();
    });
    const { appended } = (jsonOf(frame) ?? {}) as { appended?: readonly Posted[] };
    return frame.type === FrameType.OK ? appended?.[0] : undefined;
  }

  // --- follows -----------------------------------------------------------------------------------------------------

  /** Undefined if there is no socket for now. */
  follow(name: string, from: number, signal: AbortSignal): AsyncGenerator<Page> | undefined {
    const isTried = performance.now() >= this.#avoidUntil && this.#hasRoom(name, 0);
    return isTried ? this.#follow(name, from, signal) : undefined;
  }

  async *#follow(name: string, from: number, signal: AbortSignal): AsyncGenerator<Page> {
    const frames: Frame[] = [];
    let isOver = false;
    let wake = (): void => undefined;
    const end = (): void => {
      isOver = true;
      wake();
    };
    signal.addEventListener("abort", end);
    this.#follows++;
    let left = (): void => undefined;
    try {
      const channel = await unlessAborted(this.#channel(name), signal);
      // Closed in this turn, for another topic.
      if (this.#ready.get(name) !== channel) return;
      const fields = { channel: channel.number };
      const take = (frame: Frame): void => {
        frames.push(frame);
        wake();
      };
      const id = channel.ask({ take, fail: end }, (id) =>
        jsonFrame({ type: FrameType.FOLLOW, ...fields, id, credits: WINDOW_BYTES }, { from }),
      );
      left = () => {
        if (channel.heard.delete(id)) channel.socket.send(encodeFrame({ type: FrameType.CANCEL, ...fields, id }));
      };
      const window = new FollowWindow(WINDOW_BYTES);
      const give = (credits: number): void => {
        if (credits > 0 && channel.heard.has(id))
          channel.socket.send(encodeFrame({ type: FrameType.CREDIT, ...fields, id, credits }));
      };
      for (;;) {
        const frame = frames.shift();
        if (frame?.type === FrameType.STARVE) give(window.starved(viewOf(frame.payload).getUint32(0)));
        else if (frame) {
          const page = pageOf(frame);
          // The frame is an error. The reader's next request meets the same error, and reports it.
          if (!page) return this.#avoid();
          yield page;
          if (page.ended) return;
          if (page.bytes.length > 0) give(window.took(page.bytes.length));
        } else if (isOver) break;
        else await new Promise<void>((resolve) => (wake = resolve));
      }
    } catch {
      // The socket did not open, so the reader goes on with requests.
      this.#avoid();
    } finally {
      signal.removeEventListener("abort", end);
      left();
      this.#follows--;
      this.#rest();
    }
    signal.throwIfAborted();
  }

  #avoid(): void {
    this.#avoidUntil = Math.max(this.#avoidUntil, performance.now() + AVOID_MS);
  }
}

/** Offset behind the last batch, by headers alone. */
function endOf(bytes: Uint8Array): number {
  const view = viewOf(bytes);
  let last = 0;
  for (
    let at = 0;
    at < bytes.length;
    at += Math.max(BATCH_HEADER_BYTES, view.getInt32(at + LENGTH_AT) + LENGTH_OVERHEAD)
  )
    last = at;
  return nextOffsetOf(readHeader(bytes, last));
}

function pageOf(frame: Frame): Page | undefined {
  const { type, payload } = frame;
  const told = type === FrameType.BATCHES ? undefined : jsonOf(frame);
  const page = { bytes: NOTHING, isLevel: true, ended: type === FrameType.END };
  if (type === FrameType.BATCHES) return { ...page, bytes: payload, nextOffset: endOf(payload) };
  if (type === FrameType.PASSED) return { ...page, nextOffset: Number(told?.["nextOffset"]) };
  return type === FrameType.END ? { ...page, nextOffset: Number(told?.["logEndOffset"]) } : undefined;
}
