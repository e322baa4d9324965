/**
 * Sync of one tide, in the worker that leads it: one link for the edge, a session for each synced topic, one status for
 * all tabs. src/sync makes the decisions, and this file connects them to the tide.
 *
 *   page ── ask ──▶ TideSync ── topics opened as outbox and replica ──▶ sessions ── link ── edge
 *        ◀─ news ─┘     └─ status, at most once a frame
 */
import { TidemarkError } from "../../errors.ts";
import type { LogApi } from "../../log/types.ts";
import { pathInAddress, SyncLink } from "../../sync/link.ts";
import type { LinkState } from "../../sync/link-state.ts";
import { Session, type SessionNews, type SessionOptions } from "../../sync/session.ts";
import type { SyncHost } from "../../sync/sync-host.ts";
import type { TopicStore } from "../../sync/topic-store.ts";
import type { BlockedBatch, SyncedTopicOptions, SyncStatus, TopicSyncStatus } from "../sync-api.ts";
import { browserHost } from "./browser-host.ts";
import type { EdgeAddress, SyncedTopic } from "./open-synced.ts";
import { TokenDesk, type TokenPage } from "./token-desk.ts";
import type { SyncAsk, SyncNews } from "./words.ts";
import { PROVISIONAL_FROM } from "../../sync/places.ts";

export interface TideSyncHost {
  /** Every tab's port; the leader's own page first. */
  pages(): Iterable<TokenPage>;
  tell(news: SyncNews): void;
  proveTerm(): Promise<void>;
  /** The leader epoch of the volume's opening. */
  readonly epoch: number;
  /**
   * Opens a synced topic. With an edge address, a local topic becomes synced, and a topic that does not exist is made.
   */
  open(topic: string, edge: EdgeAddress | undefined): Promise<SyncedTopic>;
  /** Topics that are synced already. */
  synced(): readonly string[];
  failed(error: TidemarkError): void;
}

/** The status is told at most this often: once in a frame of the screen. */
const STATUS_MS = 16;
/** Most bytes that one follow may have on their way while it catches up. Together all follows have WINDOWS_BYTES. */
const WINDOW_BYTES = 8 * 1024 * 1024;
const WINDOWS_BYTES = 12 * 1024 * 1024;
const JSON_TYPE = "application/json";

interface Synced extends SyncedTopic {
  readonly session: Session;
}

export class TideSync {
  readonly #host: TideSyncHost;
  readonly #desk: TokenDesk;
  readonly #worker: SyncHost;
  readonly #topics = new Map<string, Promise<Synced>>();
  readonly #open = new Map<string, Synced>();
  readonly #sessions = new Set<Session>();
  #link: SyncLink | undefined;
  #url: string | undefined;
  /** Each returns true once what it waits for has happened, and is then removed. */
  readonly #waiting = new Set<() => boolean>();
  #isTelling = false;
  #isClosed = false;

  constructor(host: TideSyncHost) {
    this.#host = host;
    this.#desk = new TokenDesk(() => host.pages());
    this.#worker = browserHost({ token: (reason) => this.#desk.token(reason), proveTerm: () => host.proveTerm() });
  }

  async ask(ask: SyncAsk): Promise<unknown> {
    switch (ask.ask) {
      case "start":
        return this.#start(ask.url, ask.topics);
      case "token":
        return this.#desk.answered(ask.id, ask);
      case "pause":
        return this.#link?.step({ on: "pause", why: "user" });
      case "resume":
        return this.#link?.step({ on: "resume" });
      case "authenticate":
        return this.#link?.step({ on: "authenticate" });
      case "hint":
        return this.#link?.hint();
      case "wait":
        return this.#wait(ask.until, ask.topic);
      case "unblock":
        return this.#unblock(ask.topic, ask.choice);
      case "status":
        return this.status();
    }
  }

  async #start(url: string, topics: Readonly<Record<string, SyncedTopicOptions>>): Promise<SyncStatus> {
    if (this.#url !== undefined && this.#url !== url)
      throw new TidemarkError("INVALID_ARGUMENT", `this tide is synced with ${this.#url}: one edge for a tide`, {
        field: "url",
        url,
      });
    this.#url = url;
    await Promise.all(Object.entries(topics).map(([topic, options]) => this.#topic(topic, options)));
    this.#link!.step({ on: "wanted" });
    return this.status();
  }

  /** Goes on with the topics that were synced in an earlier opening. */
  async resume(): Promise<void> {
    await Promise.all(this.#host.synced().map((topic) => this.#topic(topic, undefined)));
    this.#link?.step({ on: "wanted" });
  }

  /** The log of a topic that is synced. */
  async log(topic: string): Promise<LogApi> {
    return (await this.#topic(topic, undefined)).log;
  }

  #topic(topic: string, options: SyncedTopicOptions | undefined): Promise<Synced> {
    const known = this.#topics.get(topic);
    if (known) return known;
    const opening = this.#openTopic(topic, options ?? {}, options !== undefined);
    this.#topics.set(topic, opening);
    // An opening that failed may succeed later.
    opening.catch(() => this.#topics.delete(topic));
    return opening;
  }

  async #openTopic(topic: string, options: SyncedTopicOptions, isNew: boolean): Promise<Synced> {
    const path = options.path ?? topic;
    const opened = await this.#host.open(topic, isNew ? { url: this.#url!, path } : undefined);
    const { store } = opened;
    this.#url ??= store.outboxNote.url;
    const link = (this.#link ??= this.#newLink(this.#url));
    const session = new Session(this.#options(topic, store, options));
    store.listen({
      settled: (runs) => {
        this.#host.tell({ type: "settled", topic, runs });
        this.#changed();
      },
      appended: () => {
        this.#changed();
        link.hint();
      },
    });
    this.#sessions.add(session);
    const synced = { ...opened, session };
    this.#open.set(topic, synced);
    if (link.socket) session.attach(link.socket);
    return synced;
  }

  #newLink(url: string): SyncLink {
    return new SyncLink({
      host: this.#worker,
      url,
      sessions: this.#sessions,
      changed: () => this.#changed(),
      token: (outcome) => this.#host.tell({ type: "token", outcome }),
    });
  }

  #options(topic: string, store: TopicStore, options: SyncedTopicOptions): SessionOptions {
    const { from = "earliest", create = {}, onTrimmed = "skip" } = options;
    const { path } = store.outboxNote;
    return {
      host: this.#worker,
      store,
      path,
      term: this.#host.epoch,
      from,
      create: create !== false && (() => this.#make(path, create)),
      onTrimmed,
      // An edge's log takes the values of every serializer as bytes. Only a log of JSON is choosy, and says so itself.
      fits: () => true,
      windowBytesMax: Math.min(WINDOW_BYTES, Math.floor(WINDOWS_BYTES / Math.max(1, this.#topics.size))),
      changed: () => this.#changed(),
      tell: (news) => this.#news(topic, news),
      unauthorized: () => this.#link?.step({ on: "unauthorized" }),
      failed: (error) => this.#host.failed(error),
    };
  }

  /** Makes the edge's log. If there is one already (409), that is as good. */
  async #make(
    path: string,
    { retention, compaction }: Exclude<NonNullable<SyncedTopicOptions["create"]>, false>,
  ): Promise<void> {
    const link = this.#link!.state;
    const { maxAgeMs, maxBytes, maxRecords } = retention ?? {};
    const headers: Record<string, string> = { "content-type": JSON_TYPE };
    if (maxAgeMs !== undefined) headers["tidemark-retention-age"] = String(maxAgeMs);
    if (maxBytes !== undefined) headers["tidemark-retention-bytes"] = String(maxBytes);
    if (maxRecords !== undefined) headers["tidemark-retention-records"] = String(maxRecords);
    if (compaction) headers["tidemark-compaction"] = "keys";
    const token = link.at === "live" ? link.token : undefined;
    const url = `${this.#url}/v1/stream/${pathInAddress(path)}`;
    const { status } = await this.#worker.http({ method: "PUT", url, token, headers });
    if (status >= 300 && status !== 409)
      throw new TidemarkError("UNKNOWN_TOPIC", `the edge does not make ${path}: ${status}`, {
        edge: "NOT_FOUND",
        status,
      });
  }

  // --- what all tabs see -------------------------------------------------------------------------------------------

  #news(topic: string, news: SessionNews): void {
    if (news.type === "blocked") {
      const blocked = blockedOf(this.#open.get(topic)!.session);
      if (blocked) this.#host.tell({ type: "blocked", topic, blocked });
    } else this.#host.tell({ ...news, topic } as SyncNews);
    this.#changed();
  }

  #changed(): void {
    for (const look of [...this.#waiting]) if (look()) this.#waiting.delete(look);
    if (this.#isTelling || this.#isClosed) return;
    this.#isTelling = true;
    setTimeout(() => {
      this.#isTelling = false;
      if (!this.#isClosed) this.#host.tell({ type: "status", status: this.status() });
    }, STATUS_MS);
  }

  status(): SyncStatus {
    const link: LinkState = this.#link?.state ?? { at: "idle" };
    const topics = Object.fromEntries([...this.#open].map(([topic, { session }]) => [topic, topicStatus(session)]));
    const states = Object.values(topics).map(({ state }) => state);
    const connected = link.at === "live";
    const nextTryAt = this.#link?.nextTryAt;
    return {
      state: stateOf(link, states),
      connected,
      ...(link.at === "paused" && { reason: link.why }),
      ...(nextTryAt !== undefined && { nextTryAt }),
      topics,
    };
  }

  /** "drained" counts as of this call: what is appended later is not waited for. */
  #wait(until: "drained" | "level", topic: string | undefined): Promise<void> {
    const topics = [...this.#open].filter(([name]) => topic === undefined || name === topic);
    if (topic !== undefined && topics.length === 0)
      throw new TidemarkError("UNKNOWN_TOPIC", `the topic ${topic} is not synced`, { topic });
    const ends = topics.map(([name, { session, store }]) => ({ name, session, store, end: store.end }));
    return new Promise((resolve, reject) => {
      const look = (): boolean => {
        for (const { name, session, store, end } of ends) {
          const { state } = session;
          const isDone = until === "drained" ? store.firstUnsettled >= end : state.at === "live";
          if (isDone) continue;
          if (this.#isClosed) reject(new TidemarkError("CLOSED", "the tide is opened anew", { reason: "reopened" }));
          else if (state.at === "blocked" || state.at === "stopped") reject(endOf(name, session));
          else return false;
          return true;
        }
        resolve();
        return true;
      };
      if (!look()) this.#waiting.add(look);
    });
  }

  async #unblock(topic: string, choice: "retry" | "discard"): Promise<void> {
    const { session, store } = await this.#topic(topic, undefined);
    const { block } = session;
    if (!block) throw new TidemarkError("INVALID_ARGUMENT", `the topic ${topic} is not blocked`, { topic });
    if (choice === "discard") {
      for (const range of block.ranges) {
        await store.retract(range[0], range[1], "discarded");
        this.#host.tell({ type: "retracted", topic, range });
      }
    }
    session.unblock(choice === "retry" && block.code === "IN_DOUBT" ? block.ranges : []);
  }

  /** Called when the volume closes or is opened anew. */
  close(): void {
    this.#isClosed = true;
    this.#link?.close();
    for (const session of this.#sessions) session.close();
    this.#sessions.clear();
    this.#changed();
  }
}

function endOf(topic: string, { state, block }: Session): TidemarkError {
  if (state.at === "stopped") {
    const { code, details } = state;
    return new TidemarkError(code, `sync of ${topic} has stopped`, { ...details, topic });
  }
  const code = block?.code ?? "BLOCKED";
  return TidemarkError.fromWire({
    code: code as TidemarkError["code"],
    message: `the topic ${topic} is blocked: ${block?.message ?? ""}; unblock() says what becomes of it`,
    details: { topic, edge: code },
  });
}

function stateOf(link: LinkState, topics: readonly TopicSyncStatus["state"][]): SyncStatus["state"] {
  if (topics.includes("blocked")) return "blocked";
  switch (link.at) {
    case "idle":
    case "closed":
      return "idle";
    case "paused":
      return "paused";
    case "backoff":
      return "offline";
    case "live":
      return topics.every((state) => state === "live" || state === "stopped") ? "live" : "catching-up";
    default:
      return "connecting";
  }
}

function blockedOf({ block }: Session): BlockedBatch | undefined {
  if (!block) return undefined;
  const { code, message, ranges } = block;
  const [first] = ranges;
  const records = ranges.reduce((sum, [from, to]) => sum + to - from, 0);
  return { code, message, firstOffset: first && PROVISIONAL_FROM + first[0], records };
}

function topicStatus(session: Session): TopicSyncStatus {
  const { state, store, edgeEnd, lastSyncedAt } = session;
  const { records, bytes } = store.pending;
  const { watermark } = store;
  const blocked = state.at === "blocked" ? blockedOf(session) : undefined;
  return {
    state: nameOf(state.at),
    pending: { records, bytes },
    ...(edgeEnd !== undefined && { behind: { records: Math.max(0, edgeEnd - watermark) } }),
    watermark,
    hasSynced: lastSyncedAt !== undefined,
    ...(lastSyncedAt !== undefined && { lastSyncedAt }),
    ...(blocked && { blocked }),
    ...(state.at === "stopped" && { stopped: { code: state.code, details: state.details } }),
  };
}

function nameOf(at: Session["state"]["at"]): TopicSyncStatus["state"] {
  if (at === "waiting" || at === "retrying") return "offline";
  if (at === "opening" || at === "joining") return "joining";
  return at === "claiming" ? "catching-up" : at;
}
