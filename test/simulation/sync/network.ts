/**
 * A socket between a device and the edge's front, and the front itself: it knows the token, and has a channel for each
 * log, as the Worker has.
 *
 *   device ── SimSocket: delays, cuts, held, half-open ── front: token, owner, rights ── channels ── the log's object
 *
 * Messages keep their order in each direction. A socket that ended for the device may still bring what was sent.
 */
import type { Wire } from "../../../src/sync/edge-socket.ts";
import { decodeFrame, encodeFrame, type Frame, FrameType, jsonFrame, jsonOf } from "../../../src/sync/frames.ts";
import { EdgeError } from "../../../worker/errors.ts";
import type { HibernatingSocket } from "../../../worker/rpc/sockets.ts";
import { withAsker } from "../../../worker/rpc/join-prefix.ts";
import { wireErrorOf } from "../../../worker/wire/http.ts";
import type { Time } from "./time.ts";
import { OWNER, type Token, tokenOf } from "./tokens.ts";

/** A message takes up to so long. */
const DELAY_MS = 30;
/** The edge notices the end of a socket within so long. */
const LEFT_MS = 500;
/** The front notices within so long that the way from a log's object is broken. */
const SILENT_MS = 5_000;
export const UNAUTHORIZED = 4401;

type Sent = Uint8Array<ArrayBuffer> | string;

/** The object's end of one channel. */
export class ObjectSocket implements HibernatingSocket {
  #attachment: unknown;
  isOpen = true;
  constructor(
    readonly door: LogDoor,
    readonly tell: (data: Uint8Array) => void,
    readonly ended: (code: number) => void,
  ) {}
  send(data: ArrayBuffer | Uint8Array): void {
    if (this.isOpen) this.tell(new Uint8Array(data instanceof Uint8Array ? data.slice() : data.slice(0)));
  }
  close(code: number): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    this.ended(code);
  }
  get isAccepted(): boolean {
    return this.#attachment !== undefined;
  }
  serializeAttachment(value: unknown): void {
    this.#attachment = structuredClone(value);
  }
  deserializeAttachment(): unknown {
    return structuredClone(this.#attachment);
  }
}

/** The object of one log, behind the front. */
export interface LogDoor {
  /** A channel to the log's object. Throws EdgeError. */
  accept(channel: number, object: ObjectSocket): Promise<void>;
  message(object: ObjectSocket, data: Uint8Array<ArrayBuffer>): Promise<void>;
  left(object: ObjectSocket): void;
  /** A push passes the front under this owner. */
  passed(socket: SimSocket, owner: string): void;
  /** A push of an outbox passes. `speaker`: the leader that joined for it. */
  pushes(speaker: Joiner, frame: Frame): void;
}

/** The front: what all sockets and logs of the edge share. */
export interface Front {
  readonly time: Time;
  /** The edge's clock. */
  now(): number;
  doorOf(path: string): LogDoor | undefined;
  /** So long each message takes, each way. Undefined: chance decides. */
  readonly wayMs: number | undefined;
  /** Nobody hears of this socket any more. */
  forget(socket: SimSocket): void;
  /** A message was delivered, either way. */
  delivered(socket: SimSocket): void;
  /** True: this frame is lost, although the socket goes on. */
  loses(frame: Frame): boolean;
  /** True: from this frame on a log's channel brings nothing more, and it ends a while later. */
  silences(frame: Frame): boolean;
  /** After how long the front passes this frame to the log's object once more; undefined: it does not. */
  repeats(frame: Frame): number | undefined;
}

/** As a channel has joined last. */
export interface Joiner {
  readonly outbox: string;
  readonly term: number;
}

/** Looks at what a device says and hears. wire-judge.ts is one. */
export interface SocketWatcher {
  sent(frame: Frame): void;
  heard(frame: Frame): void;
  /** The device closes it. `waitedMs`: how long what it has not heard has waited for it. */
  closed(waitedMs: number): void;
}

export interface DeviceEnd {
  /** Runs the device's part of a message: it may sleep, or be no more. */
  readonly pass: (work: () => void, isMessage: true) => void;
  readonly watcher: SocketWatcher;
}

export class SimSocket implements Wire {
  readonly #listeners = { message: [] as ((event: never) => void)[], close: [] as ((event: never) => void)[] };
  readonly channels = new Map<number, ObjectSocket>();
  readonly #joined = new Map<number, Joiner>();
  readonly #front: Front;
  readonly #onDevice: (work: () => void, isMessage: true) => void;
  readonly #watcher: SocketWatcher;
  /** When each message came that the device has not heard. */
  readonly #unheard: number[] = [];
  isOpen = true;
  /** What the device sends waits in its machine, or on its way. */
  #held: Sent[] | undefined;
  /** Nothing comes through any more, and nobody is told. */
  isHalfOpen = false;
  /** What it had sent when it ended is lost. */
  #isForgotten = false;
  /** Channels that bring nothing more. */
  readonly #silent = new Set<number>();
  #lastUp = 0;
  #lastDown = 0;
  #token: Token | undefined;
  #expiry: () => void = () => undefined;

  constructor(front: Front, { pass, watcher }: DeviceEnd, text: string | undefined) {
    this.#front = front;
    this.#onDevice = pass;
    this.#watcher = watcher;
    this.#take(text);
  }

  get owner(): string {
    return this.#token?.owner ?? OWNER;
  }

  #take(text: string | undefined): void {
    this.#token = text === undefined ? undefined : tokenOf(text);
    this.#expiry();
    if (!this.#token) return;
    const ms = this.#token.exp * 1000 - this.#front.now();
    this.#expiry = this.#front.time.after(Math.max(0, ms), () => this.end(UNAUTHORIZED));
  }

  addEventListener(type: "message" | "close", listener: (event: never) => void): void {
    this.#listeners[type].push(listener);
  }

  // --- from the device ---------------------------------------------------------------------------------------------

  send(data: Sent): void {
    if (!this.isOpen) return;
    const copy = typeof data === "string" ? data : data.slice();
    const frame = typeof copy === "string" ? undefined : decodeFrame(copy);
    if (frame) this.#watcher.sent(frame);
    if (this.#held) this.#held.push(copy);
    else this.#travel(copy);
  }

  hold(): void {
    this.#held ??= [];
  }
  /** What waited goes on, even if the socket has ended for the device. */
  release(): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const data of held) this.#travel(data);
  }

  get #delayMs(): number {
    const { wayMs, time } = this.#front;
    return wayMs ?? time.random.int(DELAY_MS);
  }

  #travel(data: Sent): void {
    const { time } = this.#front;
    this.#lastUp = Math.max(this.#lastUp, time.ms + this.#delayMs);
    time.after(this.#lastUp - time.ms, () => void this.#arrived(data));
  }

  async #arrived(data: Sent): Promise<void> {
    if (this.#isForgotten || this.isHalfOpen) return;
    this.#front.delivered(this);
    if (data === "ping") return this.tell("pong");
    const frame = decodeFrame(data);
    if (!frame || this.#front.loses(frame)) return;
    try {
      await this.#route(frame, data as Uint8Array<ArrayBuffer>);
    } catch (thrown) {
      const { channel, id, payload, type } = frame;
      const credits = type === FrameType.PUSH ? payload.length : 0;
      this.tell(jsonFrame({ type: FrameType.ERROR, channel, id, credits }, wireErrorOf(thrown)));
    }
  }

  async #route(frame: Frame, data: Uint8Array<ArrayBuffer>): Promise<void> {
    const { type, channel } = frame;
    if (type === FrameType.TOKEN) return this.#renew(frame);
    if (type === FrameType.OPEN) return this.#open(channel, jsonOf(frame)!);
    const object = this.channels.get(channel);
    if (!object) throw new EdgeError("CLOSED", "the channel is not open", { reason: "channel" });
    const { door } = object;
    if (type === FrameType.CLOSE) {
      this.channels.delete(channel);
      object.isOpen = false;
      return door.left(object);
    }
    const mayWrite = this.#token?.write ?? true;
    if (type === FrameType.PUSH) {
      if (!mayWrite) throw new EdgeError("FORBIDDEN", "the token does not allow writes of this log");
      door.passed(this, this.owner);
      const speaker = this.#joined.get(channel);
      if (speaker) door.pushes(speaker, frame);
    }
    const { outbox, term } = (type === FrameType.JOIN && jsonOf(frame)) || {};
    if (type === FrameType.JOIN) this.#joined.set(channel, { outbox: String(outbox), term: Number(term) });
    const sent = type === FrameType.JOIN ? withAsker(frame, { owner: this.owner, mayWrite }) : data;
    const again = this.#front.repeats(frame);
    if (again !== undefined) this.#repeat(object, channel, sent.slice(), again);
    return door.message(object, sent);
  }

  /**
   * It counts only while the object has the channel, and for the leader who sent it: what comes twice names its outbox
   * and term, as a request over HTTP does. The bytes are a copy: a log writes into what it takes.
   */
  #repeat(object: ObjectSocket, channel: number, data: Uint8Array<ArrayBuffer>, ms: number): void {
    const sender = this.#joined.get(channel);
    this.#front.time.after(ms, () => {
      const joiner = this.#joined.get(channel);
      if (!object.isOpen || joiner?.outbox !== sender?.outbox || joiner?.term !== sender?.term) return;
      object.door.message(object, data).catch(() => undefined);
    });
  }

  #renew(frame: Frame): void {
    const text = new TextDecoder().decode(frame.payload);
    const { exp, owner } = tokenOf(text);
    if (exp * 1000 <= this.#front.now()) return this.#refuse(frame);
    const isOthers = owner !== this.owner;
    this.#take(text);
    // What was joined under another owner is joined again.
    if (isOthers) for (const channel of [...this.channels.keys()]) this.endChannel(channel, "FORBIDDEN");
    this.tell(jsonFrame({ type: FrameType.OK, channel: frame.channel, id: frame.id }, { expires: exp }));
  }

  #refuse({ channel, id }: Frame): void {
    this.tell(jsonFrame({ type: FrameType.ERROR, channel, id }, { code: "UNAUTHORIZED", message: "it has expired" }));
    const { time } = this.#front;
    time.after(Math.max(0, this.#lastDown - time.ms), () => this.end(UNAUTHORIZED));
  }

  async #open(channel: number, { path }: Record<string, unknown>): Promise<void> {
    const door = this.#front.doorOf(String(path));
    if (!door) throw new EdgeError("NOT_FOUND", "no such stream");
    const object = new ObjectSocket(
      door,
      (data) => this.tell(data.slice()),
      (code) => this.endChannel(channel, code === 4404 ? "GONE" : "CLOSED"),
    );
    this.channels.set(channel, object);
    this.#silent.delete(channel);
    await door.accept(channel, object).catch((thrown: unknown) => {
      this.channels.delete(channel);
      object.isOpen = false;
      throw thrown;
    });
  }

  // --- to the device -----------------------------------------------------------------------------------------------

  tell(data: Sent | Uint8Array): void {
    if (!this.isOpen || this.isHalfOpen) return;
    const { time } = this.#front;
    this.#lastDown = Math.max(this.#lastDown, time.ms + this.#delayMs);
    time.after(this.#lastDown - time.ms, () => {
      if (!this.isOpen || this.isHalfOpen) return;
      this.#front.delivered(this);
      const sent = typeof data === "string" ? undefined : decodeFrame(data);
      if (!this.isOpen || (sent && (this.#front.loses(sent) || this.#isSilenced(sent)))) return;
      const message =
        typeof data === "string" ? data : data.buffer.slice(data.byteOffset, data.byteOffset + data.length);
      this.#unheard.push(time.ms);
      this.#onDevice(() => {
        this.#unheard.shift();
        const frame = typeof message === "string" ? undefined : decodeFrame(message);
        if (frame) this.#watcher.heard(frame);
        for (const listener of this.#listeners.message) listener({ data: message } as never);
      }, true);
    });
  }

  /** The way from a log's object is broken at this frame, or was before it. Its end comes through later. */
  #isSilenced(frame: Frame): boolean {
    const { channel } = frame;
    if (this.#silent.has(channel)) return frame.id !== 0 || frame.type !== FrameType.ERROR;
    const object = this.channels.get(channel);
    if (!object || !this.#front.silences(frame)) return false;
    this.#silent.add(channel);
    const { time } = this.#front;
    time.after(time.random.int(SILENT_MS), () => {
      if (this.channels.get(channel) === object) this.endChannel(channel, "CLOSED");
    });
    return true;
  }

  /** The object has ended this channel, or has restarted. */
  endChannel(channel: number, code: "CLOSED" | "GONE" | "FORBIDDEN"): void {
    const object = this.channels.get(channel);
    if (!object) return;
    this.channels.delete(channel);
    object.isOpen = false;
    object.door.left(object);
    const error = new EdgeError(code, "the channel has ended", { reason: "reset" });
    this.tell(jsonFrame({ type: FrameType.ERROR, channel, id: 0 }, wireErrorOf(error)));
  }

  close(): void {
    const { ms } = this.#front.time;
    if (this.isOpen) this.#watcher.closed(ms - (this.#unheard[0] ?? ms));
    this.end(1000);
  }

  /** The front has noticed that the socket is no more. */
  #left(): void {
    this.#isForgotten = true;
    for (const object of this.channels.values()) {
      object.isOpen = false;
      object.door.left(object);
    }
    this.channels.clear();
    this.#front.forget(this);
  }

  /** Ends the socket, for the device at once. `isLate`: what the device had sent still arrives. */
  end(code: number, isLate = true): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    this.#expiry();
    if (!isLate) this.#isForgotten = true;
    this.#front.time.after(this.#front.time.random.int(LEFT_MS), () => this.#left());
    // Nobody hears of the end of a half-open one.
    if (this.isHalfOpen) return;
    this.#front.time.after(1, () =>
      this.#onDevice(() => {
        for (const listener of this.#listeners.close) listener({ code, reason: "" } as never);
      }, true),
    );
  }
}
