/**
 * Sync as a page sees it: the status that the leader's worker tells to all tabs, this page's token, and the promises of
 * records that have no place at the edge yet. Loaded by the first call of sync(), or when the worker first sends news
 * of it.
 */
import { TidemarkError } from "../../errors.ts";
import { callback, checkOptions, flag, refused } from "../../topic/check.ts";
import type {
  Sync,
  SyncEvent,
  SyncOptions,
  SyncStatus,
  SyncWaitOptions,
  TokenAsk,
  TokenProvider,
  TopicSyncStatus,
} from "../sync-api.ts";
import { isPageHidden, hintsOfPage, type PageHint } from "./page-hints.ts";
import { checkChoice, checkGivenToken, checkSyncedName, checkSync, checkToken, checkWait } from "./sync-checks.ts";
import type { Places, SettledRun, SyncAsk, SyncNews } from "./words.ts";
import { laterTurn } from "../platform/timing.ts";
import type { RecordOwner } from "../../record/record-id.ts";
import type { WantedRun } from "../../sync/place-search.ts";
import type { Ack } from "../api.ts";
import { report } from "../platform/errors.ts";
import { PROVISIONAL_FROM } from "../../log/provisional-layout.ts";

/** What it needs of its tide. */
export interface PageSyncHost {
  ask(ask: SyncAsk, signal?: AbortSignal): Promise<unknown>;
  readonly tide: {
    /** Once the tide has ended for this page. */
    readonly ended: unknown;
    /** The tide's own field, which the application reads: undefined until something is synced. */
    syncing: PageSync | undefined;
    tell(event: { readonly type: "sync"; readonly event: SyncEvent }): void;
  };
  /**
   * This page's topics, by name. `drained` resolves once all that was appended so far is acknowledged or has failed.
   */
  readonly topics: ReadonlyMap<string, { drained(): Promise<void>; readonly serializer: unknown }>;
}

export interface Committed {
  readonly offset: number | undefined;
}

interface Waiting {
  readonly resolve: (committed: Committed) => void;
  readonly reject: (error: TidemarkError) => void;
  /** The record's name: its batch, and its place among the batch's records. */
  readonly owner: RecordOwner;
  readonly at: number;
}

/** What is known of a record by its ack. */
interface Acked extends Pick<Waiting, "owner" | "at"> {
  readonly offset: number;
  /** True if it was appended before, and is acknowledged once more. */
  readonly duplicate: boolean;
}

const IDLE: SyncStatus = { state: "idle", connected: false, topics: {} };

/** The status once the tide has ended: what is here stays as it was, and nothing goes on. */
function endedStatus({ topics }: SyncStatus): SyncStatus {
  const left = Object.entries(topics).map(([name, { progress: _, ...topic }]): [string, TopicSyncStatus] => {
    const isOver = topic.state === "blocked" || topic.state === "stopped";
    return [name, isOver ? topic : { ...topic, state: "offline" }];
  });
  return { ...IDLE, topics: Object.fromEntries(left) };
}

/** As long as the leader waits for a page's token. */
const TOKEN_MS = 10_000;

/** TIMEOUT for a token function that does not answer. */
function inTime<T>(token: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const text = `the token function has not answered in ${TOKEN_MS} ms: call authenticate() again`;
    const late = (): void => reject(new TidemarkError("TIMEOUT", text, { field: "token", ms: TOKEN_MS }));
    const timer = setTimeout(late, TOKEN_MS);
    token.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

/** Rejects with the signal's reason if that comes first. */
async function unlessAborted(work: Promise<unknown>, signal: AbortSignal | undefined): Promise<void> {
  signal?.throwIfAborted();
  let left = (): void => undefined;
  const aborted = new Promise<never>((_, reject) => {
    left = () => reject(signal!.reason as Error);
    signal?.addEventListener("abort", left);
  });
  await Promise.race([work, aborted]).finally(() => signal?.removeEventListener("abort", left));
}

/** Adds a listener. The function that it returns removes that one only, even if the same function was added twice. */
function addListener<T>(listeners: Set<(what: T) => void>, listener: (what: T) => void): () => void {
  callback("listener", listener);
  const tell = (what: T): void => listener(what);
  listeners.add(tell);
  return () => void listeners.delete(tell);
}

export class PageSync implements Sync {
  readonly #host: PageSyncHost;
  #token: TokenProvider | undefined;
  #status: SyncStatus = IDLE;
  readonly #listeners = new Set<(status: SyncStatus) => void>();
  readonly #events = new Set<(event: SyncEvent) => void>();
  #ended: TidemarkError | undefined;
  /** By topic and position of the record. */
  readonly #waiting = new Map<string, Map<number, Waiting>>();
  /** By topic: the watermark when the first of those began to wait. None of them has a place below. */
  readonly #since = new Map<string, number>();
  readonly #looking = new Set<string>();

  constructor(host: PageSyncHost) {
    this.#host = host;
    const end = hintsOfPage((hint) => (host.tide.ended ? end() : this.#hint(hint)));
  }

  #hint(hint: PageHint): void {
    this.#host.ask({ ask: "hint", hint }).catch(() => undefined);
  }

  get status(): SyncStatus {
    return this.#status;
  }

  async start(options: SyncOptions): Promise<this> {
    const { url, topics, background } = checkSync(options, (topic) => this.#host.topics.get(topic)?.serializer);
    const before = this.#token;
    this.#token = options.token ?? before;
    const hasToken = this.#token !== undefined;
    try {
      this.#become((await this.#host.ask({ ask: "start", url, topics, background, hasToken })) as SyncStatus);
    } catch (thrown) {
      // A token for another edge than this tide's must not go to this one.
      if (TidemarkError.from(thrown).details["field"] === "url") this.#token = before;
      throw thrown;
    }
    return this;
  }

  /** INVALID_ARGUMENT if the page begins to use a topic with other values than sync() was told. */
  checkTopic(topic: string, serializer: unknown = "json"): void {
    const known = this.#status.topics[topic]?.serializer;
    if (known === undefined || typeof serializer !== "string" || serializer === known) return;
    throw refused("serializer", serializer, `"${known}", as sync() has the topic ${topic}`);
  }

  subscribe(listener: (status: SyncStatus) => void): () => void {
    return addListener(this.#listeners, listener);
  }
  on(listener: (event: SyncEvent) => void): () => void {
    return addListener(this.#events, listener);
  }

  async drained(options: SyncWaitOptions = {}): Promise<void> {
    checkWait("drained()", options);
    const { topic, signal } = options;
    const topics = [...this.#host.topics].filter(([name]) => topic === undefined || name === topic);
    await unlessAborted(Promise.all(topics.map(([, each]) => each.drained())), signal);
    await this.#host.ask({ ask: "wait", until: "drained", topic }, signal);
  }
  async caughtUp(options: SyncWaitOptions = {}): Promise<void> {
    checkWait("caughtUp()", options);
    const { topic, signal } = options;
    await this.#host.ask({ ask: "wait", until: "level", topic }, signal);
  }
  async pause(): Promise<void> {
    await this.#host.ask({ ask: "pause" });
  }
  async resume(): Promise<void> {
    await this.#host.ask({ ask: "resume" });
  }
  async authenticate(token?: TokenProvider): Promise<void> {
    checkToken(token);
    this.#token = token ?? this.#token;
    const own = await inTime(this.#tokenFor({ reason: "connect" }).catch(() => undefined));
    checkGivenToken(own);
    await this.#host.ask({ ask: "authenticate", token: own });
  }
  async unblock(topic: string, choice: "retry" | "setAside" | "discard"): Promise<void> {
    checkChoice(topic, choice, "retry", "setAside", "discard");
    await this.#host.ask({ ask: "unblock", topic, choice });
  }

  async resolve(topic: string, choice: "detach" | "restart" | "offerAgain"): Promise<void> {
    checkChoice(topic, choice, "detach", "restart", "offerAgain");
    await this.#once({ ask: "resolve", topic, choice });
  }
  async detach(topic: string, options: { readonly force?: boolean | undefined } = {}): Promise<void> {
    checkSyncedName(topic);
    checkOptions("detach()", options, { force: flag });
    await this.#once({ ask: "detach", topic, force: options.force ?? false });
  }

  /** What an earlier try has done is refused by the next leader: it finds a topic that has not stopped, or is gone. */
  async #once(ask: Extract<SyncAsk, { readonly ask: "resolve" | "detach" }>): Promise<void> {
    const { counted } = await import("../platform/counted-call.ts");
    const call = counted(ask, "sends");
    await this.#host.ask(call.asked).catch((thrown: unknown) => {
      const { code } = TidemarkError.from(thrown);
      throw code === "INVALID_ARGUMENT" || code === "UNKNOWN_TOPIC" ? call.unlessRepeated(thrown) : thrown;
    });
  }

  // --- what the worker says ----------------------------------------------------------------------------------------

  hear(news: SyncNews): void {
    if (news.type === "ask-token") return void this.#giveToken(news.id, news.ask);
    if (news.type === "ask-seen") {
      const answer = { ask: "seen", id: news.id, isHidden: isPageHidden() } as const;
      return void this.#host.ask(answer).catch(() => undefined);
    }
    if (news.type === "settled") return this.#settled(news.topic, news.runs);
    if (news.type === "retracted") return this.#retracted(news.topic, news.range);
    if (news.type === "status") this.#become(news.status);
    else this.#host.tide.syncing = this;
    this.#tell(this.#events, news);
    this.#host.tide.tell({ type: "sync", event: news });
  }

  #become(status: SyncStatus): void {
    this.#status = status;
    if (Object.keys(status.topics).length > 0) this.#host.tide.syncing = this;
    this.#tell(this.#listeners, status);
  }

  #tell<T>(listeners: ReadonlySet<(what: T) => void>, what: T): void {
    for (const listener of [...listeners])
      try {
        // A listener that was called before may have removed this one.
        if (listeners.has(listener)) listener(what);
      } catch (thrown) {
        report(thrown);
      }
  }

  async #tokenFor(ask: TokenAsk): Promise<string | null | undefined> {
    const provider = this.#token;
    return typeof provider === "function" ? provider(ask) : provider;
  }

  async #giveToken(id: number, ask: TokenAsk): Promise<void> {
    // A rejection means "not now".
    let answer: SyncAsk = await this.#tokenFor(ask).then(
      (token) => ({ ask: "token", id, token }),
      (thrown: unknown) => ({ ask: "token", id, failed: `the token function failed: ${String(thrown)}` }),
    );
    try {
      checkGivenToken(answer.token);
    } catch (thrown) {
      // What is no token is a mistake in the application.
      report(thrown);
      answer = { ask: "token", id, failed: TidemarkError.from(thrown).message };
    }
    await this.#host.ask(answer).catch(() => undefined);
  }

  // --- places of records -------------------------------------------------------------------------------------------

  /** Resolves to the edge's offset of a record that was acknowledged at this offset, once that is known. */
  committed(topic: string, { offset, owner, at, duplicate }: Acked): Promise<Committed> {
    if (offset < PROVISIONAL_FROM) return Promise.resolve({ offset });
    const committed = new Promise<Committed>((resolve, reject) => {
      if (this.#ended) return reject(this.#ended);
      this.#host.tide.syncing = this;
      const waiting = this.#waiting.get(topic) ?? new Map<number, Waiting>();
      // A duplicate was appended before, so its place may be anywhere in the log.
      if (duplicate) this.#since.set(topic, 0);
      else if (waiting.size === 0) this.#since.set(topic, this.#status.topics[topic]?.watermark ?? 0);
      this.#waiting.set(topic, waiting.set(offset - PROVISIONAL_FROM, { resolve, reject, owner, at }));
    });
    // If nobody uses the promise, its rejection is not reported as unhandled.
    committed.catch(() => undefined);
    // Its place may have been told before this ack.
    if (duplicate) void this.#look(topic);
    return committed;
  }

  /** The tide has ended: nothing is told any more. */
  end(error: TidemarkError): void {
    this.#ended = error;
    for (const waiting of this.#waiting.values()) for (const { reject } of waiting.values()) reject(error);
    this.#waiting.clear();
    if (this.#status !== IDLE) this.hear({ type: "status", status: endedStatus(this.#status) });
  }

  /**
   * The page has another leader. What the last one has told, and what it had no time to tell, is asked for. A page that
   * was hidden before says so: nothing changes by which the leader would hear of it.
   */
  connected(): void {
    if (isPageHidden()) this.#hint("hidden");
    for (const topic of this.#waiting.keys()) void this.#look(topic);
  }

  async #look(topic: string): Promise<void> {
    if (this.#looking.has(topic)) return;
    this.#looking.add(topic);
    // Acks come in crowds.
    await laterTurn();
    this.#looking.delete(topic);
    const runs = wantedRuns(this.#waiting.get(topic) ?? []);
    if (runs.length === 0) return;
    try {
      const asked = { ask: "places", topic, since: this.#since.get(topic) ?? 0, runs } as const;
      const { runs: settled, retracted } = (await this.#host.ask(asked)) as Places;
      this.#settled(topic, settled);
      for (const range of retracted) this.#retracted(topic, range);
    } catch (thrown) {
      // The topic is synced no more. Whatever else fails, the next connection asks again.
      if (TidemarkError.from(thrown).code === "UNKNOWN_TOPIC") this.#retracted(topic, [0, Infinity]);
    }
  }

  /** Resolves to the ack once the record is at the edge. */
  async replicated<T extends Ack>(acked: Promise<T>): Promise<T> {
    const ack = await acked;
    const { offset } = await ack.committed;
    return Object.assign(ack, { acks: "replicated", ...(offset !== undefined && { offset }) });
  }

  #settled(topic: string, runs: readonly SettledRun[]): void {
    const waiting = this.#waiting.get(topic);
    if (!waiting) return;
    for (const { from, to, offset } of runs)
      for (let position = from; position < to; position++) {
        waiting.get(position)?.resolve({ offset: offset < 0 ? undefined : offset + position - from });
        waiting.delete(position);
      }
  }

  #retracted(topic: string, [from, to]: readonly [number, number]): void {
    const waiting = this.#waiting.get(topic) ?? [];
    const why = `not sent to the edge: discarded, set aside in ${topic}.aside, or left in ${topic}.kept as sync ended`;
    for (const [position, { reject }] of [...waiting]) {
      if (position < from || position >= to) continue;
      reject(new TidemarkError("RETRACTED", why, { topic }));
      this.#waiting.get(topic)!.delete(position);
    }
  }
}

/** Records that wait: a run for each batch whose records follow each other. */
function wantedRuns(waiting: Iterable<readonly [number, Waiting]>): WantedRun[] {
  const runs: (WantedRun & { count: number })[] = [];
  let batch: RecordOwner | undefined;
  for (const [position, { owner, at }] of waiting) {
    const last = runs.at(-1);
    if (last && owner === batch && last.position + last.count === position) {
      last.count++;
      continue;
    }
    batch = owner;
    const { producerId, producerEpoch, baseSequence } = owner;
    runs.push({ position, count: 1, producerId, producerEpoch, baseSequence, at });
  }
  return runs;
}

export const pageSync = (host: PageSyncHost): PageSync => new PageSync(host);
