/**
 * The link: one socket to an edge, for all topics of a tide that are synced there. link-state.ts has its states as a
 * table. This file has the socket, the pings, the renewal of tokens and the timers.
 *
 *   host ──token, connect──▶ SyncLink ── EdgeSocket ──▶ sessions (attach), detach when it ends
 *
 * A socket that says it is open can be dead: a ping finds that out. When a socket is given up, nobody waits for its
 * close, which can take minutes. Where the edge answers requests but WebSockets don't get through, the same frames go
 * over HTTP (http-wire.ts); after ten minutes a WebSocket is tried again.
 */
import { TidemarkError } from "../errors.ts";
import { EdgeSocket, type Wire } from "./edge-socket.ts";
import { CloseCode } from "./frames.ts";
import { HTTP_WIRE_MS, pathInAddress, retryMsOf, socketProtocols } from "./http-words.ts";
import { type LinkAction, type LinkEvent, linkNext, type LinkState } from "./link-state.ts";
import { isTokenError } from "./opening.ts";
import type { Failure } from "./session-options.ts";
import type { SyncHost, TokenReason } from "./sync-host.ts";
import { RESTORE_MS, WindowBudget } from "./window-budget.ts";
import { tokenLife } from "./token-claims.ts";

/** What the link needs of a session. */
export interface Linked {
  readonly path: string;
  attach(socket: EdgeSocket): void;
  detach(): void;
  /** The edge has taken another token, which may be allowed more. */
  renewed(): void;
}

export interface LinkOptions {
  readonly host: SyncHost;
  /** The edge, without a slash at its end. */
  readonly url: string;
  readonly sessions: ReadonlySet<Linked>;
  /** Default: one of its own. */
  readonly windows?: WindowBudget;
  changed(): void;
  token(outcome: "renewed" | "refused" | "missing"): void;
}

const OPEN_MS = 10_000;
const TOKEN_MS = 30_000;
const SETTLED_MS = 10_000;
/**
 * After this silence the edge is pinged. If nothing comes within PONG_MS, the socket is given up. After a hint that the
 * socket may be dead, PONG_MS_HINTED counts instead.
 */
const SILENT_MS = 50_000;
const PONG_MS = 10_000;
const PONG_MS_HINTED = 2_000;
const HINT_MS = 1_000;
const RENEW_MS = 60_000;
const RENEW_MS_MIN = 1_000;
/**
 * Longest wait for a renewal; a token that lives longer is looked at again then. A host runs at once what is due later
 * than 2^31 ms, so the link would ask for tokens without an end.
 */
const RENEW_STEP_MS = 86_400_000;
/**
 * HTTP is used after this many WebSockets in a row that did not open or brought nothing, while the edge answered
 * requests.
 */
const BARRED = 2;
/** If a timer took more than this many times as long as it should, the device slept. */
const LATE = 2;

export class SyncLink {
  readonly #options: LinkOptions;
  readonly #host: SyncHost;
  #state: LinkState = { at: "idle" };
  #socket: EdgeSocket | undefined;
  /** Ends what is under way. */
  #attempt = new AbortController();
  #heardAt = 0;
  #barred = 0;
  #barredAt = 0;
  #isHttp = false;
  /** True once the socket has brought something. Before that it may be a proxy's, or a wire over HTTP, open at once. */
  wasHeard = false;
  #triedAt = -Infinity;
  /** No hint leads to a try before this time: the edge has said how long it is to be left alone. */
  #floorAt = -Infinity;
  /** The budget that all topics of this link share. */
  readonly windows: WindowBudget;
  /** When a hint last led to a ping. */
  #hintedAt = -Infinity;
  #isPingDue = false;
  /** Ends the wait for the next renewal of the token. */
  #renewal: (() => void) | undefined;
  /** Wall clock: when the next try is made. */
  nextTryAt: number | undefined;

  constructor(options: LinkOptions) {
    this.#options = options;
    this.#host = options.host;
    this.windows = options.windows ?? new WindowBudget();
  }

  get state(): LinkState {
    return this.#state;
  }
  get socket(): EdgeSocket | undefined {
    return this.#socket;
  }

  /** What failed last, until the link is open again. */
  failure: Failure | undefined;

  step(event: LinkEvent): void {
    this.#noteFailure(event);
    // The socket that is open gets the token of whoever has signed in now.
    if (event.on === "authenticate" && this.#state.at === "live")
      return void this.#renewed(this.#attempt.signal, "connect");
    const { state, actions } = linkNext(this.#state, event, this.#host.random(), this.#earlyMs);
    if (event.on === "token" && event.token === null) this.#options.token("missing");
    if (state !== this.#state && state.at === "token" && state.refused !== undefined) this.#options.token("refused");
    const isSame = state === this.#state;
    this.#state = state;
    if (actions.length > 0) this.#attempt.abort();
    if (actions.length > 0) this.#attempt = new AbortController();
    this.nextTryAt = state.at === "backoff" ? this.#host.now() + state.ms : undefined;
    for (const action of actions) this.#do(action);
    if (!isSame) this.#options.changed();
  }

  /** How long no hint may lead to a try. */
  get #earlyMs(): number {
    return Math.max(this.#floorAt, this.#triedAt + HINT_MS) - this.#host.monotonic();
  }

  #noteFailure(event: LinkEvent): void {
    const at = this.#host.now();
    if ("floorMs" in event) this.#floorAt = this.#host.monotonic() + (event.floorMs ?? 0);
    if (event.on === "open") this.failure = undefined;
    else if (event.on === "no-token")
      this.failure = { code: "TIMEOUT", message: event.why ?? "no page gave a token", at };
    else if (event.on === "ended") this.failure = { code: "CLOSED", message: this.#whyEnded(event.code), at };
    else if (event.on === "unauthorized") this.failure = { code: "CLOSED", message: REFUSED, at };
    else if (event.on === "not-open")
      this.failure = { code: "CLOSED", message: whyUnopened(event.status, this.#options.url), at };
  }

  #whyEnded(code: number): string {
    if (code === CloseCode.UNAUTHORIZED) return REFUSED;
    // A wire over HTTP is open before anything has answered it.
    if (this.#isHttp && !this.wasHeard) return `no edge answers at ${this.#options.url}: no network, or a wrong url`;
    return `the connection has ended (${code})`;
  }

  /**
   * Called when a page is online or visible again ("returned"), or something was appended. Tries sooner, or checks by a
   * ping that the socket lives. Hints may come by the thousand: one ping a second answers them all.
   */
  hint(on: "hint" | "returned" = "hint"): void {
    if (this.#state.at !== "live") {
      // A pause has no timer of its own: a hint that comes too early would be lost there.
      if (this.#earlyMs <= 0 || this.#state.at === "paused") this.step({ on });
      return;
    }
    if (this.#isPingDue) return;
    const now = this.#host.monotonic();
    const early = this.#hintedAt + HINT_MS - now;
    if (early <= 0) return this.#pingHinted();
    // The socket may have died since the last ping.
    this.#isPingDue = true;
    this.#after(early, this.#attempt.signal, () => this.#pingHinted());
  }

  #pingHinted(): void {
    this.#isPingDue = false;
    this.#hintedAt = this.#host.monotonic();
    this.#ping(PONG_MS_HINTED);
  }

  #do(action: LinkAction): void {
    const { signal } = this.#attempt;
    if (action.do === "ask") void this.#ask(action.reason, signal);
    else if (action.do === "connect") void this.#connect(action.token, signal);
    else if (action.do === "wait") this.#after(action.ms, signal, () => this.step({ on: "timer" }));
    else if (action.do === "begin") this.#begin(signal);
    else this.#drop();
  }

  #after(ms: number, signal: AbortSignal, work: () => void): () => void {
    const cancel = this.#host.after(ms, () => {
      signal.removeEventListener("abort", cancel);
      if (!signal.aborted) work();
    });
    signal.addEventListener("abort", cancel, { once: true });
    return cancel;
  }

  async #ask(reason: TokenReason, signal: AbortSignal): Promise<void> {
    this.#triedAt = this.#host.monotonic();
    this.#leave();
    const cancel = this.#after(TOKEN_MS, signal, () => this.step({ on: "no-token" }));
    const refused = this.#state.at === "token" ? this.#state.refused : undefined;
    try {
      const token = await this.#host.token(reason, refused);
      cancel();
      if (!signal.aborted) this.step({ on: "token", token });
    } catch (thrown) {
      cancel();
      if (!signal.aborted) this.step({ on: "no-token", why: TidemarkError.from(thrown).toWire().message });
    }
  }

  async #connect(token: string | undefined, signal: AbortSignal): Promise<void> {
    this.#triedAt = this.#host.monotonic();
    const late = new AbortController();
    signal.addEventListener("abort", () => late.abort(), { once: true });
    const cancel = this.#after(OPEN_MS, signal, () => late.abort());
    try {
      const wire = await this.#wire(token, late.signal);
      cancel();
      if (signal.aborted) return wire.close(1000);
      const { windows } = this;
      const socket = EdgeSocket.connect(wire, { after: this.#host.after, windows, heard: () => this.#heard(socket) });
      this.#socket = socket;
      this.step({ on: "open" });
    } catch {
      cancel();
      if (signal.aborted) return;
      const { status, retryMs } = await this.#statusOf(token);
      if (signal.aborted) return;
      if (this.#isHttp) this.#barred = 0;
      else if (isAnswer(status)) this.#bar();
      this.step({ on: "not-open", status, floorMs: retryMs });
    }
  }

  #wire(token: string | undefined, signal: AbortSignal): Promise<Wire> {
    const { url } = this.#options;
    this.wasHeard = false;
    this.#isHttp = this.#barred >= BARRED && this.#host.overHttp !== undefined;
    if (this.#isHttp) return this.#host.overHttp!(url, token);
    return this.#host.connect(`${url.replace(/^http/, "ws")}/v1/socket`, socketProtocols(token), signal);
  }

  /** Counts a WebSocket that failed though the edge answers requests. After BARRED of them HTTP is used. */
  #bar(): void {
    this.#barred++;
    this.#barredAt = this.#host.monotonic();
  }

  /** A browser does not say why a WebSocket was refused. The status of a request to the same edge does. */
  async #statusOf(token: string | undefined): ReturnType<SyncHost["http"]> {
    const { url, sessions } = this.#options;
    const [first] = sessions;
    const path = first ? pathInAddress(first.path) : "";
    const asked = { method: "HEAD", url: `${url}/v1/stream/${path}`, token, headers: {} } as const;
    return this.#host.http(asked).catch(() => ({ status: 0 }));
  }

  #begin(signal: AbortSignal): void {
    const socket = this.#socket!;
    this.#isPingDue = false;
    this.#heardAt = this.#host.monotonic();
    void socket.ended.then(({ code, reason }) =>
      this.#ended(socket, code, retryMsOf(reason || null, this.#host.now())),
    );
    this.#after(SETTLED_MS, signal, () => this.step({ on: "settled" }));
    this.#restore(signal);
    // An edge answers the first frames soon; a proxy may open a WebSocket and let nothing through.
    this.#watch(signal, PONG_MS);
    this.#renew(signal);
    for (const session of this.#options.sessions) session.attach(socket);
  }

  /** `floorMs`: said by a wire over HTTP, whose answer was 429 or 503. */
  #ended(socket: EdgeSocket, code: number, floorMs?: number): void {
    if (this.#socket !== socket) return;
    // The edge sent more than was taken here, or was sent more than it could take.
    if (code === CloseCode.SLOW) this.windows.halve();
    // An HTTP wire that has had its time makes room for one WebSocket; one that brought nothing was no way either.
    if (this.#isHttp && !this.wasHeard) this.#barred = 0;
    else if (this.#isHttp && this.#host.monotonic() - this.#barredAt >= HTTP_WIRE_MS) this.#barred = BARRED - 1;
    else if (!this.#isHttp && !this.wasHeard && LOST.has(code)) this.#bar();
    this.#leave();
    this.step({ on: "ended", code, floorMs });
  }

  /** Windows that were halved grow again. */
  #restore(signal: AbortSignal): void {
    if (!this.windows.isHalved) return;
    this.#after(RESTORE_MS, signal, () => {
      this.windows.restore();
      this.#restore(signal);
    });
  }

  /** Tells the sessions that the socket is over, and closes it. Nobody waits for that close. */
  #leave(): void {
    const socket = this.#socket;
    this.#socket = undefined;
    if (!socket) return;
    for (const session of this.#options.sessions) session.detach();
    socket.close();
  }

  #drop(): void {
    this.#leave();
  }

  #heard(socket: EdgeSocket): void {
    if (this.#socket !== socket) return;
    this.#heardAt = this.#host.monotonic();
    this.wasHeard = true;
    if (!this.#isHttp) this.#barred = 0;
  }

  /** Looks again when the silence could be over its limit, so that a ping is not late by up to another limit. */
  #watch(signal: AbortSignal, ms: number): void {
    this.#after(ms, signal, () => {
      const left = this.wasHeard ? SILENT_MS + this.#heardAt - this.#host.monotonic() : 0;
      if (left <= 0) this.#ping(PONG_MS);
      this.#watch(signal, left > 0 ? left : SILENT_MS);
    });
  }

  #ping(ms: number): void {
    const { signal } = this.#attempt;
    const socket = this.#socket;
    if (!socket) return;
    const asked = this.#host.monotonic();
    socket.ping();
    this.#after(ms, signal, () => {
      if (this.#socket !== socket || this.#heardAt > asked) return;
      // The device slept, and could not hear an answer: it asks again.
      if (this.#host.monotonic() - asked > ms * LATE) return this.#ping(ms);
      this.#ended(socket, 0);
    });
  }

  /** Renews the token on the open socket before it expires. */
  #renew(signal: AbortSignal): void {
    const { state } = this;
    this.#renewal?.();
    if (state.at !== "live" || state.token === undefined) return;
    const life = tokenLife(state.token, this.#host.now());
    if (life === undefined) return;
    this.#renewAfter(renewalIn(life), signal);
  }

  #renewAfter(ms: number, signal: AbortSignal): void {
    const left = ms - RENEW_STEP_MS;
    this.#renewal = this.#after(Math.min(ms, RENEW_STEP_MS), signal, () => {
      if (left > 0) this.#renewAfter(left, signal);
      else void this.#renewed(signal, "expiring");
    });
  }

  async #renewed(signal: AbortSignal, reason: "connect" | "expiring"): Promise<void> {
    const state = this.#state;
    const socket = this.#socket;
    let token: string | null | undefined;
    try {
      token = await this.#host.token(reason, state.at === "live" ? state.token : undefined);
      if (signal.aborted || !socket || state.at !== "live") return;
      if (token === null && reason === "connect") {
        this.#options.token("missing");
        return this.step({ on: "pause", why: "signed-out" });
      }
      // There is no new token. The edge ends the socket when the old one expires.
      if (token === null || token === undefined || token === state.token) return;
      await socket.token(token);
      const { tries } = this.#state as typeof state;
      if (signal.aborted) return;
      this.#state = { at: "live", tries, token };
      this.#options.token("renewed");
      for (const session of this.#options.sessions) session.renewed();
      this.#renew(signal);
    } catch (thrown) {
      // The renewal failed: again the edge ends the socket when the old token expires. For a new one that it refuses it
      // ends the socket at once, and that one must not be sent again.
      if (!token || signal.aborted || !isTokenError(TidemarkError.from(thrown))) return;
      if (this.#state.at === "live") this.#state = { ...this.#state, token };
    }
  }

  close(): void {
    this.step({ on: "close" });
  }
}

const REFUSED = "the edge refuses the token (401), or wants one: see the option token of sync";
const SEE_URL = "see the option url of sync";

/** Why there is no connection, by the answer to a request. */
function whyUnopened(status: number, url: string): string {
  if (status === 0) return `the edge can't be reached at ${url}: no network, a wrong url, or an answer without CORS`;
  if (status === 401) return REFUSED;
  return `no WebSocket opens, and ${url} answers a request by ${status}${isAnswer(status) ? `: ${SEE_URL}` : ""}`;
}

/** The codes of a socket that was lost, and of one that was given up. */
const LOST = new Set([1006, 0]);
/** What keeps a WebSocket away is the token, or a limit: over HTTP it would be the same. */
const KEPT_AWAY = new Set([401, 429]);
/** True if the edge, or at least something between, answers requests that are like those of a WebSocket. */
const isAnswer = (status: number): boolean => status >= 200 && status < 500 && !KEPT_AWAY.has(status);

/**
 * When a token is renewed that the edge has just taken. Where it seems to be over, this device's clock is wrong, and to
 * renew it at once would go on without an end.
 */
function renewalIn({ left, whole }: { readonly left: number; readonly whole: number }): number {
  const lives = left > 0 ? left : Math.max(whole, RENEW_MS);
  return Math.max(RENEW_MS_MIN, lives - Math.min(RENEW_MS, Math.max(whole, 0) / 4));
}
