/**
 * A wire over HTTP, for networks where no WebSocket gets through. To EdgeSocket it looks like any other: the frames
 * that it is given become requests, and their answers become frames (http-words.ts).
 *
 *   open, join, push, fetch ──▶ POST, one after the other for each log ──▶ the frame in the answer
 *   follow                  ──▶ long-polls, while it has credits         ──▶ batches, passed, tide
 *   (a follow that has ended: the log is closed) ──▶ HEAD each minute    ──▶ the channel's end, if it was deleted
 *   token                   ──▶ used from the next request on            ──▶ ok; another owner's ends each channel
 *
 * A request that fails ends the wire, as a lost connection ends a socket: the link then joins anew. After HTTP_WIRE_MS
 * the wire ends by itself as a server that restarts, so that the link tries a WebSocket. Browsers open six
 * connections to a host at most, so with more than LIVE_MAX follows each asks every POLL_MS instead of waiting at the
 * edge.
 */
import { nextOffsetOf, readHeader } from "../record/format.ts";
import { splitBatches } from "../record/record-batch.ts";
import type { Wire } from "./edge-socket.ts";
import { CloseCode, decodeFrame, encodeFrame, type Frame, FrameType, jsonFrame, jsonOf } from "./frames.ts";
import {
  BATCHES_TYPE,
  BYTES_HEADER,
  END_HEADER,
  formatOffset,
  FRAME_TYPE,
  HTTP_WIRE_MS,
  LIFE_HEADER,
  offsetInHeader,
  OUTBOX_HEADER,
  pathInAddress,
  type Speaking,
  speakingText,
  TIDE_HEADER,
} from "./http-words.ts";
import { Signal } from "./signal.ts";
import { type OutboxJoin, readPush, tidePayload } from "./sync-frames.ts";
import { isSameOwner } from "./token-claims.ts";

const LIVE_MAX = 4;
const POLL_MS = 2_000;
/** The time between two looks at a closed log. */
const CLOSED_MS = 60_000;
const GONE: Readonly<Record<number, string>> = { 404: "NOT_FOUND", 410: "GONE" };
const LOST = 1006;
const RESTART = 1012;
const PONG = "pong";

export interface HttpRequest {
  readonly method: "GET" | "HEAD" | "POST";
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Uint8Array<ArrayBuffer>;
  readonly signal: AbortSignal;
}
export interface HttpAnswer {
  readonly status: number;
  header(name: string): string | null;
  bytes(): Promise<Uint8Array>;
}
export interface HttpWireHost {
  /** The edge, without a slash at its end. */
  readonly url: string;
  readonly token: string | undefined;
  request(request: HttpRequest): Promise<HttpAnswer>;
  after(ms: number, work: () => void): () => void;
}

interface Follow {
  readonly id: number;
  readonly over: AbortController;
  next: string;
  credits: number;
  /** Set by credits, by the follow's end, and when a pause is over. */
  readonly changed: Signal;
  /** The log's ends and its life, as the follow was told last. */
  told: string;
  life: string | undefined;
}

interface Channel {
  readonly number: number;
  readonly url: string;
  readonly follows: Map<number, Follow>;
  /** The requests before this one. */
  turn: Promise<void>;
  speaking: Speaking | undefined;
}

class Ended extends Error {
  constructor(
    readonly code: number,
    /** Retry-After of the answer that ended it. */
    readonly reason = "",
  ) {
    super("the wire has ended");
  }
}

/** Where a follow begins, as the query of a read says it. */
const startOf = (from: unknown): string =>
  from === "earliest" ? "-1" : from === "latest" ? "now" : formatOffset(Number(from));

export class HttpWire implements Wire {
  readonly #host: HttpWireHost;
  readonly #channels = new Map<number, Channel>();
  readonly #over = new AbortController();
  readonly #messages = new Set<(event: { data: unknown }) => void>();
  readonly #closes = new Set<(event: { code: number; reason: string }) => void>();
  #token: string | undefined;

  constructor(host: HttpWireHost) {
    this.#host = host;
    this.#token = host.token;
    const cancel = host.after(HTTP_WIRE_MS, () => this.#end(RESTART));
    this.#over.signal.addEventListener("abort", cancel);
  }

  addEventListener(
    type: "message" | "close",
    listener: ((event: { data: unknown }) => void) & ((event: { code: number; reason: string }) => void),
  ): void {
    if (type === "message") this.#messages.add(listener);
    else this.#closes.add(listener);
  }

  close(code = 1000): void {
    this.#end(code);
  }

  #end(code: number, reason = ""): void {
    if (this.#over.signal.aborted) return;
    this.#over.abort();
    for (const channel of [...this.#channels.values()]) this.#leave(channel);
    for (const listener of this.#closes) listener({ code, reason });
  }

  #told(data: unknown): void {
    if (this.#over.signal.aborted) return;
    for (const listener of this.#messages) listener({ data });
  }

  send(data: Uint8Array<ArrayBuffer> | string): void {
    if (typeof data === "string") return this.#run(this.#sign());
    const frame = decodeFrame(data);
    if (!frame) return;
    if (frame.type === FrameType.TOKEN) return this.#renew(frame);
    if (frame.type === FrameType.OPEN) this.#open(frame);
    const channel = this.#channels.get(frame.channel);
    if (!channel) return;
    if (frame.type === FrameType.FOLLOW) return this.#follow(channel, frame);
    if (frame.type === FrameType.CREDIT) return this.#credit(channel.follows.get(frame.id), frame.credits);
    if (frame.type === FrameType.CANCEL) return this.#cancel(channel, frame.id);
    if (frame.type === FrameType.CLOSE) return this.#leave(channel);
    channel.turn = channel.turn.then(() => this.#ask(channel, frame, data)).catch((thrown) => this.#failed(thrown));
  }

  #run(work: Promise<void>): void {
    work.catch((thrown: unknown) => this.#failed(thrown));
  }

  #failed(thrown: unknown): void {
    const { code, reason } = thrown instanceof Ended ? thrown : new Ended(LOST);
    this.#end(code, reason);
  }

  #open(frame: Frame): void {
    const path = String(jsonOf(frame)?.["path"]);
    const url = `${this.#host.url}/v1/stream/${pathInAddress(path)}`;
    const number = frame.channel;
    this.#channels.set(number, { number, url, follows: new Map(), turn: Promise.resolve(), speaking: undefined });
  }

  #dismiss(channel: Channel): void {
    this.#leave(channel);
    const refusal = { code: "FORBIDDEN", message: "the new token may belong to another owner: join again" };
    this.#told(jsonFrame({ type: FrameType.ERROR, channel: channel.number, id: 0 }, refusal));
  }

  #leave(channel: Channel): void {
    this.#channels.delete(channel.number);
    for (const { over } of channel.follows.values()) over.abort();
  }

  #renew({ channel, id, payload }: Frame): void {
    const token = new TextDecoder().decode(payload);
    // A push that waits would go out under another owner's token. As over a WebSocket, what may have been joined under
    // another owner is joined again.
    if (!isSameOwner(this.#token, token)) for (const each of [...this.#channels.values()]) this.#dismiss(each);
    this.#token = token;
    // The edge sees it with the next request. What a refusal does is decided there.
    void Promise.resolve().then(() => this.#told(jsonFrame({ type: FrameType.OK, channel, id }, { expires: null })));
  }

  /** The answer to a ping: any answer of the edge shows that it lives. */
  async #sign(): Promise<void> {
    const [first] = this.#channels.values();
    if (first) await this.#request("HEAD", first.url, {}, this.#over.signal);
    this.#told(PONG);
  }

  async #request(
    method: HttpRequest["method"],
    url: string,
    headers: Record<string, string>,
    signal: AbortSignal,
    body?: Uint8Array<ArrayBuffer>,
  ): Promise<HttpAnswer> {
    if (this.#token !== undefined) headers["authorization"] = `Bearer ${this.#token}`;
    const answer = await this.#host.request({ method, url, headers, signal, ...(body && { body }) });
    if (answer.status === 401) throw new Ended(CloseCode.UNAUTHORIZED);
    return answer;
  }

  /** An answer that is no success, as a frame of the request `id`. What is not the edge's own refusal ends the wire. */
  async #refusal(answer: HttpAnswer, channel: number, id: number, credits = 0): Promise<Uint8Array<ArrayBuffer>> {
    const body = new TextDecoder().decode(await answer.bytes());
    try {
      const { error } = JSON.parse(body) as { error: { code: unknown } };
      if (typeof error.code === "string") return jsonFrame({ type: FrameType.ERROR, channel, id, credits }, error);
    } catch {
      // Not of the edge, but of something between.
    }
    throw new Ended(LOST, answer.header("retry-after") ?? "");
  }

  async #ask(channel: Channel, frame: Frame, data: Uint8Array<ArrayBuffer>): Promise<void> {
    const { signal } = this.#over;
    if (signal.aborted || this.#channels.get(channel.number) !== channel) return;
    const headers: Record<string, string> = { "content-type": FRAME_TYPE };
    const isPush = frame.type === FrameType.PUSH;
    if (isPush && channel.speaking) headers[OUTBOX_HEADER] = speakingText(channel.speaking);
    const answer = await this.#request("POST", channel.url, headers, signal, data);
    const credits = isPush ? frame.payload.length : 0;
    const told =
      answer.status === 200
        ? await wholeBody(answer)
        : await this.#refusal(answer, channel.number, frame.type === FrameType.OPEN ? 0 : frame.id, credits);
    const said = decodeFrame(told);
    // A proxy may have cut the answer short. Then its JSON can't be parsed. Batches and STARVE are not JSON.
    if (!said || (said.type !== FrameType.BATCHES && said.type !== FrameType.STARVE && !jsonOf(said)))
      throw new Ended(LOST);
    this.#learn(channel, frame, said);
    this.#told(told);
  }

  /** A join, even a refused one, says for whom later pushes speak. A claim that was granted raises the generation. */
  #learn(channel: Channel, asked: Frame, answer: Frame): void {
    const body = jsonOf(answer) ?? {};
    if (asked.type === FrameType.JOIN) {
      const { outbox, ...standing } = jsonOf(asked) as Record<string, unknown> & OutboxJoin;
      channel.speaking = outbox === null ? undefined : { ...standing, outbox };
    }
    if (asked.type === FrameType.PUSH && answer.type === FrameType.OK && isClaim(asked) && channel.speaking)
      channel.speaking = { ...channel.speaking, generation: Number(body["generation"]) };
  }

  // --- follows -----------------------------------------------------------------------------------------------------

  #follow(channel: Channel, frame: Frame): void {
    const { id, credits } = frame;
    const over = new AbortController();
    const next = startOf(jsonOf(frame)?.["from"]);
    const follow: Follow = { id, over, next, credits, changed: new Signal(), told: "", life: undefined };
    channel.follows.set(id, follow);
    over.signal.addEventListener("abort", () => follow.changed.set(), { once: true });
    const polls = async (): Promise<void> => {
      while (!over.signal.aborted) await this.#poll(channel, follow);
    };
    void polls().catch((thrown: unknown) => {
      if (!over.signal.aborted) this.#failed(thrown);
    });
  }

  #cancel(channel: Channel, id: number): void {
    channel.follows.get(id)?.over.abort();
    channel.follows.delete(id);
  }

  #credit(follow: Follow | undefined, credits: number): void {
    if (!follow) return;
    follow.credits += credits;
    follow.changed.set();
  }

  async #poll(channel: Channel, follow: Follow): Promise<void> {
    if (follow.credits <= 0) return follow.changed.wait();
    let follows = 0;
    for (const each of this.#channels.values()) follows += each.follows.size;
    const isLive = follows <= LIVE_MAX && follow.told !== "";
    const query = `?offset=${follow.next}&live=long-poll`;
    const url = channel.url + (isLive ? query : query.replace("&live=long-poll", ""));
    const headers = { accept: BATCHES_TYPE, [TIDE_HEADER]: "1" };
    const answer = await this.#request("GET", url, headers, follow.over.signal);
    const bytes = answer.status === 204 ? new Uint8Array(0) : await answer.bytes();
    if (follow.over.signal.aborted) return;
    if (answer.status !== 200 && answer.status !== 204) {
      const refused = { ...answer, bytes: () => Promise.resolve(bytes) };
      this.#told(await this.#refusal(refused, channel.number, follow.id));
      return this.#cancel(channel, follow.id);
    }
    this.#deliver(channel, follow, answer, bytes);
    this.#told(PONG);
    if (bytes.length > 0 || follows <= LIVE_MAX) return;
    const cancel = this.#host.after(POLL_MS, () => follow.changed.set());
    await follow.changed.wait().finally(cancel);
  }

  #deliver(channel: Channel, follow: Follow, answer: HttpAnswer, bytes: Uint8Array): void {
    const fields = { channel: channel.number, id: follow.id };
    const from = offsetInHeader(answer.header("Tidemark-From-Offset"));
    const next = offsetInHeader(answer.header("Stream-Next-Offset"));
    const life = answer.header(LIFE_HEADER);
    // A proxy may have answered in the edge's place, or may have cut the answer short. Edges of earlier versions do
    // not say how long the body is.
    const sent = answer.header(BYTES_HEADER);
    if (life === null || answer.header("Stream-Next-Offset") === null) throw new Ended(LOST);
    if (sent !== null && Number(sent) !== bytes.length) throw new Ended(LOST);
    const ends = {
      logStartOffset: offsetInHeader(answer.header("Tidemark-Start-Offset")),
      highWatermark: offsetInHeader(answer.header(END_HEADER)),
      life,
    };
    const tide = (nextOffset: number): void => {
      follow.life = life;
      this.#told(encodeFrame({ type: FrameType.TIDE, ...fields, payload: tidePayload({ ...ends, nextOffset }) }));
    };
    if (bytes.length > 0) {
      if (follow.life !== life) tide(from);
      follow.credits -= bytes.length;
      this.#told(encodeFrame({ type: FrameType.BATCHES, ...fields, payload: bytes }));
    } else if (next > from) this.#told(jsonFrame({ type: FrameType.PASSED, ...fields }, { nextOffset: next }));
    follow.next = formatOffset(bytes.length > 0 ? endOf(bytes) : next);
    const told = `${ends.logStartOffset}-${ends.highWatermark}`;
    if (offsetInHeader(follow.next) >= ends.highWatermark && follow.told !== told) {
      follow.told = told;
      tide(offsetInHeader(follow.next));
    }
    if (answer.header("Stream-Closed") !== "true") return;
    this.#told(jsonFrame({ type: FrameType.END, ...fields }, { logEndOffset: ends.highWatermark }));
    this.#cancel(channel, follow.id);
    this.#watchClosed(channel);
  }

  /** Nothing follows a closed log, and no socket tells that it was deleted. */
  #watchClosed(channel: Channel): void {
    const cancel = this.#host.after(CLOSED_MS, () => this.#run(this.#lookClosed(channel)));
    this.#over.signal.addEventListener("abort", cancel, { once: true });
  }

  async #lookClosed(channel: Channel): Promise<void> {
    const { number, url } = channel;
    const isThere = (): boolean => this.#channels.get(number) === channel;
    if (!isThere()) return;
    const { status } = await this.#request("HEAD", url, {}, this.#over.signal);
    if (!isThere()) return;
    const code = GONE[status];
    if (!code) return this.#watchClosed(channel);
    this.#leave(channel);
    this.#told(jsonFrame({ type: FrameType.ERROR, channel: number, id: 0 }, { code, message: "the log was deleted" }));
  }
}

/**
 * A frame that was cut behind its header looks like one that holds nothing, as at the end of the log. An edge of an
 * earlier version does not say how long it is.
 */
async function wholeBody(answer: HttpAnswer): Promise<Uint8Array> {
  const bytes = await answer.bytes();
  const said = answer.header(BYTES_HEADER);
  if (said !== null && Number(said) !== bytes.length) throw new Ended(LOST);
  return bytes;
}

const isClaim = ({ payload }: Frame): boolean => readPush(payload)?.readTo !== undefined;
const endOf = (bytes: Uint8Array): number => nextOffsetOf(readHeader(splitBatches(bytes).at(-1)!));
