/**
 * HTTP between a device and the edge, where its WebSockets don't get through: the requests of the product's HttpWire,
 * the Worker's own answers to them, and a network that loses either, is slow, or cuts bodies.
 *
 *   HttpWire ─▶ request() ─▶ way up ─▶ POST: one frame ─▶ LogSockets.answer     front/frame-over-http.ts
 *                                  └─▶ GET: long-poll ──▶ answerBatches         front/live-reads.ts, without notices
 *            ◀─ answer ◀── way down: lost │ 502 of something between │ late │ cut
 */
import { decodeFrame, type Frame, FrameType } from "../../../src/sync/frames.ts";
import type { HttpAnswer, HttpRequest } from "../../../src/sync/http-wire.ts";
import { BYTES_HEADER, OUTBOX_HEADER, readSpeaking, type Speaking } from "../../../src/sync/http-words.ts";
import { EdgeError } from "../../../worker/errors.ts";
import { answerBatches } from "../../../worker/log-object/batches-dialect.ts";
import type { SyncState } from "../../../worker/log-object/outbox-sessions.ts";
import { withAsker } from "../../../worker/rpc/join-prefix.ts";
import type { Stream } from "../../../worker/stream/stream.ts";
import { errorAnswer } from "../../../worker/wire/http.ts";
import type { Joiner } from "./network.ts";
import type { Time } from "./time.ts";
import { OWNER, type Token, tokenOf } from "./tokens.ts";

/** The object of one log, behind the front. */
export interface HttpLog {
  /** Throws EdgeError. */
  begin(): void;
  stream(): Promise<Stream>;
  answerFrame(frame: Frame, sync: SyncState | undefined): Promise<Uint8Array>;
  /** Calls `look` at each move of the log, until what is returned is called. */
  onMove(look: () => void): () => void;
  passed(wire: object, owner: string): void;
  pushes(speaker: Joiner, frame: Frame): void;
}

/** The edge's front. */
export interface HttpDoor {
  readonly time: Time;
  readonly isReachable: boolean;
  isGood(text: string): boolean;
  doorOf(path: string): HttpLog | undefined;
}

/** The log that an address names. */
export const pathOf = (url: string): string => new URL(url).pathname.split("/").at(-1)!;

export const HTTP_FAULTS = [
  "http request lost",
  "http answer lost",
  "http 502",
  "http late",
  "http body cut",
  "http body short",
  "http request cut",
  "http request doubled",
] as const;
type HttpFault = (typeof HTTP_FAULTS)[number];
const BODILESS_FAULTS = HTTP_FAULTS.filter((fault) => fault !== "http request cut");

export interface HttpWayHost {
  readonly door: HttpDoor;
  /** By it the edge's judge knows the device. */
  readonly wire: object;
  /** The device's part of what comes: it may sleep, or be no more. */
  readonly pass: (work: () => void) => void;
  /** The next request meets this fault. */
  fault(faults: readonly HttpFault[]): HttpFault | undefined;
}

interface Plain {
  readonly status: number;
  readonly headers: Headers;
  readonly bytes: Uint8Array;
}

/** One way takes up to so long. */
const WAY_MS = 30;
const LATE_MS = 60_000;
/** src/browser/sync/browser-host.ts: a request that takes longer is lost. */
const LOST_MS = 40_000;
/** The Worker holds a long-poll for so long. */
const POLL_MS = 20_000;
const FAILS_SHARE = 1 / 2;

/** Node reads a body in turns of its own, which are not the simulation's: what was put in is kept. */
class KeepingResponse extends Response {
  readonly given: unknown;
  constructor(body?: BodyInit | null, init?: ResponseInit) {
    super(body, init);
    this.given = body;
  }
}

async function plainOf(make: () => Promise<Response>): Promise<Plain> {
  const before = globalThis.Response;
  globalThis.Response = KeepingResponse;
  const { status, headers, given } = (await make().finally(() => (globalThis.Response = before))) as KeepingResponse;
  return { status, headers, bytes: (given as Uint8Array | null) ?? new Uint8Array(0) };
}

function refusal(thrown: unknown): Plain {
  const { status, headers, body } = errorAnswer(thrown);
  return { status, headers: new Headers(headers), bytes: new TextEncoder().encode(body ?? "") };
}

export class HttpWay {
  readonly #host: HttpWayHost;

  constructor(host: HttpWayHost) {
    this.#host = host;
  }

  /** As fetch() does it in the browser: rejects where the answer is lost, and when `signal` aborts. */
  readonly request = (asked: HttpRequest): Promise<HttpAnswer> =>
    new Promise((resolve, reject) => {
      const { door, pass } = this.#host;
      const { signal } = asked;
      const lost = (): void => reject(new TypeError("the request failed"));
      if (signal.aborted) return lost();
      signal.addEventListener("abort", lost, { once: true });
      door.time.after(LOST_MS, () => pass(lost));
      this.#travel(asked).then(
        (answer) => pass(() => resolve(answer)),
        () => pass(lost),
      );
    });

  async #travel(asked: HttpRequest): Promise<HttpAnswer> {
    const { door } = this.#host;
    const { time } = door;
    const { random } = time;
    const fault = this.#host.fault(asked.body ? HTTP_FAULTS : BODILESS_FAULTS);
    const way = (): Promise<void> => time.sleep(random.int(WAY_MS));
    await way();
    if (!door.isReachable || fault === "http request lost") throw new Error("lost");
    if (fault === "http 502" && random.chance(FAILS_SHARE)) return between();
    // A body that ends early is noticed by the front, which then asks no object.
    if (fault === "http request cut") throw new Error("cut");
    // Something between that has seen no answer asks again. The first answer is lost.
    const doubled =
      fault === "http request doubled" ? { ...asked, ...(asked.body && { body: asked.body.slice() }) } : undefined;
    if (doubled) await this.#answer(doubled).catch(refusal);
    const { status, headers, bytes } = await this.#answer(asked).catch(refusal);
    if (fault === "http late") await time.sleep(random.int(LATE_MS));
    await way();
    if (!door.isReachable || fault === "http answer lost") throw new Error("lost");
    if (fault === "http 502") return between();
    const isCut = fault === "http body cut" || fault === "http body short";
    const body = isCut && bytes.length > 0 ? bytes.slice(0, random.int(bytes.length)) : bytes.slice();
    const isNoticed = fault === "http body cut" && body.length < bytes.length;
    return {
      status,
      header: (name) => headers.get(name),
      bytes: () => (isNoticed ? Promise.reject(new TypeError("the body ends early")) : Promise.resolve(body)),
    };
  }

  async #answer({ method, url, headers, body }: HttpRequest): Promise<Plain> {
    const { door, wire } = this.#host;
    const log = door.doorOf(pathOf(url));
    if (!log) throw new EdgeError("NOT_FOUND", "no such stream");
    const text = headers["authorization"]?.slice("Bearer ".length);
    if (text !== undefined && !door.isGood(text)) throw new EdgeError("UNAUTHORIZED", "the token is not good");
    const token = text === undefined ? undefined : tokenOf(text);
    log.begin();
    if (method === "HEAD") return this.#head(log);
    if (method === "GET") return this.#poll(log, new URL(url));
    const frame = decodeFrame(body!)!;
    const isPush = frame.type === FrameType.PUSH;
    const speaker = isPush ? readSpeaking(headers[OUTBOX_HEADER] ?? null) : undefined;
    if (isPush) this.#checkPush(log, token, frame, speaker, wire);
    const owner = token?.owner ?? OWNER;
    const asker = { owner, mayWrite: token?.write ?? true };
    const asked = frame.type === FrameType.JOIN ? decodeFrame(withAsker(frame, asker))! : frame;
    const answer = await log.answerFrame(asked, speaker && { ...speaker, owner, life: "" });
    return { status: 200, headers: new Headers({ [BYTES_HEADER]: String(answer.byteLength) }), bytes: answer };
  }

  #checkPush(log: HttpLog, token: Token | undefined, frame: Frame, speaker: Speaking | undefined, wire: object): void {
    if (token && !token.write) throw new EdgeError("FORBIDDEN", "the token does not allow writes of this log");
    log.passed(wire, token?.owner ?? OWNER);
    if (speaker) log.pushes(speaker, frame);
  }

  async #head(log: HttpLog): Promise<Plain> {
    await log.stream();
    return { status: 200, headers: new Headers(), bytes: new Uint8Array(0) };
  }

  /** Asks once more when the log has moved, or when the time is over. */
  async #poll(log: HttpLog, url: URL): Promise<Plain> {
    const { time } = this.#host.door;
    const asked = { until: Infinity, isLong: false, wantsTide: true };
    const stream = await log.stream();
    const first = await plainOf(() => answerBatches(stream, url, asked));
    const isLive = url.searchParams.get("live") !== null;
    if (first.bytes.length > 0 || !isLive || stream.closed) return noContent(first);
    await new Promise<void>((resolve) => {
      const unlisten = log.onMove(() => (unlisten(), resolve()));
      time.after(POLL_MS, () => (unlisten(), resolve()));
    });
    const later = await log.stream();
    return noContent(await plainOf(() => answerBatches(later, url, asked)));
  }
}

const noContent = (answer: Plain): Plain => (answer.bytes.length > 0 ? answer : { ...answer, status: 204 });

/** An answer that did not come from the edge. */
const between = (): HttpAnswer => ({
  status: 502,
  header: () => null,
  bytes: () => Promise.resolve(new TextEncoder().encode("<html>502 Bad Gateway</html>")),
});
