/**
 * EdgeRequests to the edge: the token and its renewal, time limits, and what answers mean.
 *
 *   ask ──▶ token ──▶ fetch ──┬─ answer of the edge ──▶ EdgeReply, or its error (errorIn)
 *             ▲               ├─ 401: the token is asked for once more
 *             └───────────────┘
 *                             └─ none, or of something between ──▶ CLOSED, reason "network"
 *   again ──▶ work ── failed, and it may pass ──▶ pause, longer each time ──▶ work …   until the call's time is over
 */
import { TidemarkError, type WireError } from "../errors.ts";
import { pauseMs } from "../log/back-off.ts";
import { copyOf, textDecoder } from "../record/bytes.ts";
import { libraryNameOf } from "../sync/edge-codes.ts";
import { pathInAddress, retryMsOf } from "../sync/http-words.ts";
import type { TokenReason } from "../sync/sync-host.ts";
import type { ConnectOptions } from "./api.ts";
import { pauseFor, within } from "./waiting.ts";

/** A request whose answer does not begin, or stops coming, for this long is lost. */
const SILENT_MS = 15_000;
/** A body gets as much longer as it takes at this speed: no line that is worth a try is slower. */
const BYTES_PER_MS = 8;
/** A token function that does not answer within this time has failed. */
const TOKEN_MS = 10_000;
const BACK_OFF = { minMs: 100, maxMs: 5_000 };
const TIMEOUT_MS = 30_000;
/** Timers of a longer time fire at once. */
const TIMER_MS_MAX = 2 ** 31 - 1;

export interface EdgeAsk {
  readonly method: string;
  /** The topic's name. */
  readonly path: string;
  readonly query?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array<ArrayBuffer>;
  readonly signal?: AbortSignal | undefined;
  readonly silentMs?: number;
}

export interface EdgeReply {
  readonly status: number;
  readonly headers: Headers;
  readonly bytes: Uint8Array;
}

/** True if the same call may succeed later. A closed stream stays closed, though its code has the same kind. */
export const mayPass = ({ kind, code, details }: TidemarkError): boolean =>
  (kind === "reopen" && details["edge"] !== "STREAM_CLOSED") ||
  /^(BACKPRESSURE|LIMIT_EXCEEDED|TIMEOUT)$/.test(code) ||
  (details["status"] === 500 && kind !== "stop");

const networkError = (message: string, details: TidemarkError["details"], cause?: unknown): TidemarkError =>
  new TidemarkError("CLOSED", message, { reason: "network", ...details }, { cause });

/**
 * The error that an answer without success says. The edge names its code in a header; a body with
 * an `error` alone may be a proxy's.
 */
export function errorIn({ status, headers, bytes }: EdgeReply): TidemarkError {
  const text = textDecoder.decode(bytes);
  const edge = headers.get("tidemark-error");
  const details = { status, retryAfter: retryMsOf(headers.get("retry-after"), Date.now()) / 1000 || undefined };
  if (!edge) return networkError(`status ${status}, and not from an edge: ${text.slice(0, 100)}`, details);
  let wire: Partial<WireError> | undefined;
  try {
    wire = (JSON.parse(text) as { error?: WireError }).error;
  } catch {
    // HEAD has no body.
  }
  return TidemarkError.fromWire({
    code: libraryNameOf(edge),
    message: wire?.message ?? `the edge answered ${status}`,
    details: { ...wire?.details, edge, ...details },
  });
}

export class EdgeRequests {
  readonly url: string;
  readonly timeoutMs: number;
  readonly #options: ConnectOptions;
  readonly #closed: AbortSignal;
  #token: { readonly text: Promise<string | undefined> } | undefined;

  constructor(url: string, options: ConnectOptions, closed: AbortSignal) {
    this.url = url;
    this.#options = options;
    this.#closed = closed;
    this.timeoutMs = Math.min(options.timeoutMs ?? TIMEOUT_MS, TIMER_MS_MAX);
  }

  /** One token for all requests, until one is refused. */
  token(reason: TokenReason = "connect", old?: { readonly text: Promise<string | undefined> }) {
    if (this.#token === undefined || this.#token === old) {
      const made = { text: this.#ask(this.#token === undefined ? "connect" : reason) };
      made.text.catch(() => {
        if (this.#token === made) this.#token = undefined;
      });
      this.#token = made;
    }
    return this.#token;
  }

  async #ask(reason: TokenReason): Promise<string | undefined> {
    const { token } = this.#options;
    let text: unknown = token;
    try {
      // One that never answers would be waited for by every later call.
      if (typeof token === "function") text = await within(TOKEN_MS, [this.#closed], async () => token(reason));
    } catch (thrown) {
      throw networkError(`the token function failed: ${String(thrown)}`, { reason: "token" }, thrown);
    }
    if (text === undefined || text === null) return undefined;
    if (typeof text === "string" && /^[\x21-\x7e]{1,8192}$/.test(text)) return text;
    throw new TidemarkError(
      "INVALID_ARGUMENT",
      "token must be a string without a space, or a function that gives one",
      { field: "token" },
    );
  }

  /** The edge's answer, whatever its status. Rejects with the signal's reason, CLOSED and TIMEOUT. */
  async ask(asked: EdgeAsk): Promise<EdgeReply> {
    const { silentMs = SILENT_MS, signal, body } = asked;
    const ms = silentMs + (body?.length ?? 0) / BYTES_PER_MS;
    return within(ms, [this.#closed, signal], async (over, heard) => {
      let token = this.token();
      let answer = await this.#once(asked, await token.text, over, heard);
      if (answer.status === 401 && typeof this.#options.token === "function") {
        token = this.token("refused", token);
        answer = await this.#once(asked, await token.text, over, heard);
      }
      return answer;
    });
  }

  async #once(
    { method, path, query = "", headers, body }: EdgeAsk,
    token: string | undefined,
    signal: AbortSignal,
    heard: () => void,
  ): Promise<EdgeReply> {
    const { fetch = globalThis.fetch } = this.#options;
    signal.throwIfAborted();
    try {
      const response = await fetch(`${this.url}/v1/stream/${pathInAddress(path)}${query}`, {
        method,
        headers: { ...headers, ...(token && { authorization: `Bearer ${token}` }) },
        signal,
        ...(body && { body }),
      });
      return { status: response.status, headers: response.headers, bytes: await bodyOf(response, heard) };
    } catch (thrown) {
      if (signal.aborted) throw signal.reason;
      throw networkError(
        `no answer from ${this.url}: ${String((thrown as Partial<Error>).message ?? thrown)}`,
        {},
        thrown,
      );
    }
  }

  /** Tries until it succeeds, fails for good, or nothing was achieved for `ms`. */
  async again<T>(
    work: (signal: AbortSignal) => Promise<T>,
    {
      ms = this.timeoutMs,
      signal,
    }: { readonly ms?: number | undefined; readonly signal?: AbortSignal | undefined } = {},
  ): Promise<T> {
    let last: TidemarkError | undefined;
    const tries = within(ms, [this.#closed, signal], async (over) => {
      for (let failures = 1; ; failures++) {
        try {
          return await work(over);
        } catch (thrown) {
          if (over.aborted || !(thrown instanceof TidemarkError) || !mayPass(thrown)) throw thrown;
          last = thrown;
          await this.pause(thrown, failures, over);
        }
      }
    });
    return tries.catch((thrown: unknown) => {
      // The last error of the edge or the network says more than that the time is over.
      if (last && thrown !== last && TidemarkError.from(thrown).code === "TIMEOUT")
        throw new TidemarkError(
          "TIMEOUT",
          `tried for ${ms} ms: ${last.message}`,
          { ms, ...last.details },
          { cause: last },
        );
      throw thrown;
    });
  }

  /** Before the next try. */
  async pause(error: TidemarkError, failures: number, signal: AbortSignal): Promise<void> {
    const { onRetry } = this.#options;
    const ms = Math.max(pauseMs(BACK_OFF, failures, Math.random()), 1000 * Number(error.details["retryAfter"] || 0));
    // In a turn of its own: an error that onRetry throws is reported as uncaught, and changes nothing here.
    if (onRetry) queueMicrotask(() => onRetry(error, ms));
    await pauseFor(ms, signal);
  }
}

/** The whole body; each piece shows that the answer still comes. */
async function bodyOf({ body }: Response, heard: () => void): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  const reader = body?.getReader();
  for (let next = await reader?.read(); next && !next.done; next = await reader!.read()) {
    heard();
    pieces.push(next.value);
  }
  return copyOf(pieces);
}
