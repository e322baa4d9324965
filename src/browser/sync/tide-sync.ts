/**
 * Sync of one tide, in the worker that leads it: one link for the edge, a session for each synced topic, one status for
 * all tabs. src/sync makes the decisions, and this file connects them to the tide.
 *
 *   page ── ask ──▶ TideSync ── topics opened as outbox and replica ──▶ sessions ── link ── edge
 *        ◀─ news ─┘     └─ status, at most once a frame
 */
import { TidemarkError } from "../../errors.ts";
import type { Kernel } from "../../kernel/types.ts";
import { adoptedLook } from "../../sync/adopted.ts";
import { saveLinkOptions, saveOptions } from "../../sync/save-options.ts";
import { Session } from "../../sync/session.ts";
import type { SessionNews, SessionOptions } from "../../sync/session-options.ts";
import type { SyncHost } from "../../sync/sync-host.ts";
import { fitsType, type KeptOptions, type LinkWishes } from "../../sync/topic-options.ts";
import type { SyncedTopicOptions, SyncStatus } from "../sync-api.ts";
import type { AnswerHost, BlockChoice, Leaving } from "./answers.ts";
import { Background } from "./background.ts";
import { BlockNews } from "./block-news.ts";
import { browserHost } from "./browser-host.ts";
import { Healer } from "./healer.ts";
import { Links } from "./links.ts";
import { makeLog } from "./make-log.ts";
import type { SyncedLog } from "../../sync/synced-log.ts";
import { type AskedTopic, notSynced, orClosed, type SyncedTopic } from "./open-synced.ts";
import { tideStatus, topicStatus, reopened } from "./sync-status.ts";
import { TokenDesk, type TokenPage } from "./token-desk.ts";
import { TopicWaits } from "./topic-waits.ts";
import type { Range } from "../../sync/topic-store.ts";
import type { Places, SyncAsk, SyncNews } from "./words.ts";

export interface TideSyncHost extends AnswerHost {
  /** Every tab's port; the leader's own page first. */
  pages(): Iterable<TokenPage>;
  tell(news: SyncNews): void;
  proveTerm(): Promise<void>;
  /** The leader epoch of the volume's opening. */
  readonly epoch: number;
  readonly kernel: Kernel;
  /**
   * Opens a synced topic. If sync() names it, a local topic becomes synced, and a topic that does not exist is made.
   */
  open(topic: string, asked: AskedTopic | undefined): Promise<SyncedTopic>;
  /** Topics that are synced already, with where their logs are at the edge, as far as this version can read that. */
  synced(): ReadonlyMap<string, { readonly url?: string; readonly link?: LinkWishes | undefined }>;
  /** The replica has grown, or the edge has removed records: what retention removes here is looked for. */
  due(topic: string): void;
  /** The topic is synced no more, and there is none of its name. */
  ended(topic: string): void;
  failed(error: TidemarkError): void;
}

/** The status is told once in a frame of the screen, and before a call that has changed it is answered. */
const STATUS_MS = 16;
/** After this long a topic that could not be opened is tried again. */
const REOPEN_MS = 30_000;
/** Most retractions of a topic that are remembered for tabs that missed them. */
const RETRACTED_MAX = 100;

const unsynced = (topic: string): TidemarkError =>
  new TidemarkError("UNKNOWN_TOPIC", `the topic ${topic} is not synced: sync() begins it`, { topic });

interface Synced extends SyncedTopic {
  readonly session: Session;
  /** Where the log began at the edge when this device's copy was last looked at for what it may remove. */
  lookedFor?: number;
}

export class TideSync {
  readonly #host: TideSyncHost;
  readonly #desk: TokenDesk;
  readonly #worker: SyncHost;
  readonly #topics = new Map<string, Promise<Synced>>();
  readonly #open = new Map<string, Synced>();
  readonly #healer: Healer;
  readonly #links: Links;
  readonly #waits: TopicWaits;
  readonly #background: Background;
  readonly #blocks: BlockNews;
  /** By topic: what was retracted in this opening, the newest last. */
  readonly #retracted = new Map<string, readonly Range[]>();
  #isTelling = false;
  #isClosed = false;

  constructor(host: TideSyncHost) {
    this.#host = host;
    this.#desk = new TokenDesk(() => host.pages());
    this.#worker = browserHost({
      token: (reason, refused) => this.#desk.token(reason, refused),
      proveTerm: () => host.proveTerm(),
    });
    const { after, monotonic } = this.#worker;
    this.#links = new Links({
      host: this.#worker,
      changed: () => this.#changed(),
      token: (outcome) => host.tell({ type: "token", outcome }),
    });
    this.#healer = new Healer({
      kernel: host.kernel,
      volume: host,
      healed: (topic, [from, to]) => host.tell({ type: "healed", topic, from, to }),
      stale: (topic, { code, message }) => host.tell({ type: "stale", topic, code, message }),
      changed: () => this.#changed(),
      now: () => this.#worker.now(),
      after,
    });
    this.#waits = new TopicWaits({
      pauseWhy: () => (this.#links.state.at === "paused" ? this.#links.state.why : undefined),
      isClosed: () => this.#isClosed,
      has: (session) => this.#sessions.includes(session),
      changed: () => this.#changed(),
    });
    this.#background = new Background({
      after,
      monotonic,
      link: this.#links,
      isSeen: () => this.#desk.isSeen(),
      hasWork: () => [...this.#open.values()].some(({ store }) => store.pending.batches > 0),
      keeps: () => this.#links.wishes?.background === "keep",
    });
    this.#blocks = new BlockNews({ volume: host, isClosed: () => this.#isClosed, status: () => this.status() });
  }

  /** Sessions of the topics that are open. */
  get #sessions(): Session[] {
    return [...this.#open.values()].map(({ session }) => session);
  }

  /** The status is told before the answer, because the caller may look at it next. */
  ask(ask: SyncAsk, signal?: AbortSignal): Promise<unknown> {
    return this.#answer(ask, signal).finally(() => this.#tellStatus());
  }

  async #answer(ask: SyncAsk, signal: AbortSignal | undefined): Promise<unknown> {
    switch (ask.ask) {
      case "start":
        return this.#start(ask);
      case "token":
      case "seen":
        return this.#desk.answered(ask.id, ask);
      case "pause":
      case "resume":
        return this.#pause(ask.ask === "pause");
      case "authenticate":
        if (ask.token !== undefined) this.#desk.said(ask.token);
        return this.#authenticate();
      case "hint":
        return this.#background[ask.hint]();
      case "wait":
        return this.#wait(ask.until, ask.topic, signal);
      case "unblock":
        return this.#unblock(ask.topic, ask.choice);
      case "resolve":
        return this.#resolve(ask.topic, ask.choice);
      case "detach":
        return this.#leave(ask.topic, "detach", ask.force);
      case "places":
        return this.#places(ask);
      case "status":
        return this.status();
    }
  }

  async #start({ url, topics, background, hasToken }: Extract<SyncAsk, { ask: "start" }>): Promise<SyncStatus> {
    // Behind this a topic whose sync an earlier opening had begun to end is not there any more.
    await this.#opened();
    const [there] = [...this.#host.synced().values()].flatMap((note) => note.url ?? []);
    const known = this.#links.url ?? there ?? url;
    if (known !== url)
      throw new TidemarkError(
        "INVALID_ARGUMENT",
        `url is ${url}, and this tide is synced with ${known}: use that one`,
        { field: "url", url, known },
      );
    this.#links.url = url;
    const wanted = Object.entries(topics).map(([topic, options]) => this.#wanted(topic, options));
    const all = await Promise.allSettled(wanted);
    // If one topic is refused, the others are synced all the same.
    if (background !== undefined) await this.#keepLink({ background });
    this.#links.step({ on: "wanted" });
    if (hasToken) this.#links.step({ on: "provided" });
    this.#letGo();
    for (const each of all) if (each.status === "rejected") throw each.reason;
    return this.status();
  }

  /** While nothing is synced there is no link, and sync() may name any edge. */
  #letGo(): void {
    if (this.#topics.size === 0 && this.#host.synced().size === 0) this.#links.end();
  }

  /** On a connection the sessions hear of the token when it has reached the edge. */
  #authenticate(): void {
    const isLive = this.#links.state.at === "live";
    this.#links.step({ on: "authenticate" });
    for (const session of this.#sessions) {
      // What the edge has said of the token before is not said of this one.
      session.isRefused = false;
      if (!isLive) session.renewed();
    }
  }

  /** Tells the link at once, and then the notes of all topics: one note is enough to remember a pause. */
  async #pause(paused: boolean): Promise<void> {
    const failed = await this.#opened();
    if (!this.#links.wishes && failed.size === 0)
      throw new TidemarkError("INVALID_ARGUMENT", "no topic is synced: sync() begins it", {});
    this.#links.step(paused ? { on: "pause", why: "user" } : { on: "resume" });
    await this.#keepLink({ paused });
    // Topics that could not be opened do not remember the pause, so the call fails with their errors.
    for (const thrown of failed.values()) throw thrown;
  }

  async #keepLink(change: LinkWishes): Promise<void> {
    this.#links.wishes = { ...this.#links.wishes, ...change };
    for (const { store } of this.#open.values()) await saveLinkOptions(store, this.#links.wishes);
  }

  /**
   * Goes on with the topics that were synced in an earlier opening. One that can't be opened keeps none of the others
   * from that. It is tried again while that may help, and its error is thrown.
   */
  async resume(): Promise<void> {
    const failed = await this.#opened();
    this.#links.step({ on: "wanted" });
    const errors = [...failed.values()].map((thrown) => TidemarkError.from(thrown));
    if (errors.some(({ kind }) => kind === "retry") && !this.#isClosed)
      this.#worker.after(REOPEN_MS, () => {
        if (!this.#isClosed) this.resume().catch((thrown: unknown) => this.#host.failed(TidemarkError.from(thrown)));
      });
    for (const error of errors) throw error;
  }

  /**
   * Opens all topics that are synced. A page may ask something before a worker that has just begun to lead has opened
   * them, and its call must leave out none. Gives the errors of those that can't be opened, by topic.
   */
  async #opened(): Promise<ReadonlyMap<string, unknown>> {
    const failed = new Map<string, unknown>();
    const opening = [...this.#host.synced().keys()].map((topic) =>
      this.#topic(topic, undefined).catch((thrown: unknown) => {
        // An earlier opening had begun to end this topic's sync. This one has finished that.
        if (TidemarkError.from(thrown).details["deleted"]) this.#host.ended(topic);
        else failed.set(topic, thrown);
      }),
    );
    await Promise.all(opening);
    return failed;
  }

  /** The log of a topic that is synced. */
  async log(topic: string): Promise<SyncedLog> {
    return (await this.#topic(topic, undefined)).log;
  }

  #topic(topic: string, options: SyncedTopicOptions | undefined): Promise<Synced> {
    const known = this.#topics.get(topic);
    if (known) return known;
    const opening = this.#openTopic(topic, options);
    this.#topics.set(topic, opening);
    // An opening that failed may succeed later.
    opening.catch(() => this.#topics.delete(topic));
    return opening;
  }

  /** sync() names the topic: it becomes synced, or what is named of its options changes. */
  async #wanted(topic: string, options: SyncedTopicOptions): Promise<void> {
    const { store, session } = await this.#topic(topic, options);
    const { path, options: before } = store.outboxNote;
    if (options.path !== undefined && options.path !== path)
      throw new TidemarkError(
        "INVALID_ARGUMENT",
        `path of ${topic} is ${path} already: leave it out, or use that one`,
        { field: "path", topic, path: options.path },
      );
    await saveOptions(store, options);
    const { state } = session;
    if (options.onTrimmed === "skip" && state.at === "stopped" && state.details["reason"] === "trimmed")
      session.resolve();
    if (before?.serializer !== store.outboxNote.options?.serializer) session.rejoin();
    this.#host.due(topic);
  }

  async #openTopic(topic: string, options: SyncedTopicOptions | undefined): Promise<Synced> {
    const links = this.#links;
    const asked = options && { url: links.url!, path: options.path ?? topic, options };
    const opened = await this.#host.open(topic, asked);
    const { store } = opened;
    links.url ??= store.outboxNote.url;
    links.begin([...this.#host.synced().values()].flatMap(({ link }) => link ?? []));
    await orClosed(opened, saveLinkOptions(store, links.wishes!));
    const session = new Session(this.#options(topic, opened));
    store.listen({
      settled: (all) => {
        const runs = all.filter(({ isRetracted }) => !isRetracted);
        if (runs.length > 0) this.#host.tell({ type: "settled", topic, runs });
        for (const { from, to, isRetracted } of all) if (isRetracted) this.#tellRetracted(topic, [from, to]);
        this.#changed();
      },
      appended: () => {
        this.#changed();
        this.#background.appended();
      },
      risen: () => this.#host.due(topic),
      full: (isFull) => isFull && this.#host.tell({ type: "outboxfull", topic }),
    });
    opened.log.onDamage = () => this.#changed();
    const link = links.add(session);
    const synced = { ...opened, session };
    this.#open.set(topic, synced);
    if (link.socket) session.attach(link.socket);
    return synced;
  }

  #options(topic: string, { store }: SyncedTopic): SessionOptions {
    const { path } = store.outboxNote;
    // Read anew each time, because sync() may change the options while the session runs.
    const kept = (): KeptOptions => store.outboxNote.options ?? {};
    return {
      host: this.#worker,
      store,
      path,
      term: this.#host.epoch,
      get from() {
        return kept().from ?? "earliest";
      },
      get onTrimmed() {
        return kept().onTrimmed ?? "skip";
      },
      create: () => kept().create !== false && makeLog(this.#worker, this.#links.url!, this.#links.state, path, kept()),
      fits: (contentType) => fitsType(kept().serializer, contentType),
      refused: adoptedLook(store, this.#host.kernel),
      changed: () => this.#changed(),
      tell: (news) => this.#news(topic, news),
      unauthorized: () => this.#links.step({ on: "unauthorized" }),
      served: () => this.#links.step({ on: "served" }),
      failed: (error) => this.#host.failed(error),
    };
  }

  // --- what all tabs see -------------------------------------------------------------------------------------------

  #news(topic: string, news: SessionNews): void {
    if (news.type === "blocked")
      void this.#blocks.tell(topic, this.#open.get(topic)!, news.block).then(() => this.#changed());
    else this.#host.tell({ ...news, topic });
    this.#changed();
  }

  #changed(): void {
    for (const [topic, each] of this.#open) {
      const { log, session } = each;
      log.isLive = session.state.at === "live";
      if ((each.lookedFor ?? 0) === session.atEdge.start) continue;
      each.lookedFor = session.atEdge.start;
      this.#host.due(topic);
    }
    this.#waits.look();
    if (this.#isTelling || this.#isClosed) return;
    this.#isTelling = true;
    setTimeout(() => this.#tellStatus(), STATUS_MS);
  }

  #tellStatus(): void {
    if (!this.#isTelling || this.#isClosed) return;
    this.#isTelling = false;
    this.#host.tell({ type: "status", status: this.status() });
    for (const [topic, open] of this.#open) this.#healer.look(topic, open);
  }

  status(): SyncStatus {
    const topics = [...this.#open].map(([topic, { session }]) => {
      return [topic, topicStatus(session, this.#blocks.contentsOf(session), this.#healer.failureOf(topic))] as const;
    });
    return tideStatus(this.#links, Object.fromEntries(topics), this.#sessions);
  }

  async #wait(until: "drained" | "level", topic: string | undefined, signal: AbortSignal | undefined): Promise<void> {
    const failed = await this.#opened();
    for (const [name, thrown] of failed) if (topic === undefined || name === topic) throw thrown;
    const topics = [...this.#open].filter(([name]) => topic === undefined || name === topic);
    if (topic !== undefined && topics.length === 0) throw unsynced(topic);
    const sessions = topics.map(([name, { session }]) => [name, session] as const);
    return this.#waits.begin(until, sessions, signal);
  }

  /** For a tab that may have missed some of what was told. */
  async #places({ topic, since, runs }: Extract<SyncAsk, { ask: "places" }>): Promise<Places> {
    const { store } = await this.#there(topic);
    const retracted = this.#retracted.get(topic) ?? [];
    return (await import("../../sync/place-search.ts")).placesOf(store, since, runs, retracted);
  }

  #tellRetracted(topic: string, range: Range): void {
    this.#retracted.set(topic, [...(this.#retracted.get(topic) ?? []), range].slice(-RETRACTED_MAX));
    this.#host.tell({ type: "retracted", topic, range });
  }

  /** A topic that is synced already; UNKNOWN_TOPIC if it is not. */
  #there(topic: string): Promise<Synced> {
    if (this.#topics.has(topic) || this.#host.synced().has(topic)) return this.#topic(topic, undefined);
    throw unsynced(topic);
  }

  async #unblock(topic: string, choice: BlockChoice): Promise<void> {
    const synced = await this.#there(topic);
    const { block } = synced.session;
    if (!block) throw new TidemarkError("INVALID_ARGUMENT", `the topic ${topic} is not blocked`, { topic });
    await (await import("./answers.ts")).answerBlock(this.#host, synced, block, choice);
  }

  async #resolve(topic: string, choice: Leaving): Promise<void> {
    const { session } = await this.#there(topic);
    if (session.state.at !== "stopped")
      throw new TidemarkError("INVALID_ARGUMENT", `sync of ${topic} has not stopped: detach() ends it`, { topic });
    await this.#leave(topic, choice, true);
  }

  /** The topic's session and logs are closed, and then it becomes another one. Calls that come meanwhile wait. */
  async #leave(topic: string, choice: Leaving, isForced: boolean): Promise<void> {
    const synced = await this.#there(topic);
    const { checkLeaving, leaveLog } = await import("./answers.ts");
    // Another tab's call may have come first. Two that leave at once would open the outbox twice.
    if (this.#open.get(topic) !== synced)
      throw new TidemarkError("INVALID_ARGUMENT", `the topic ${topic} was answered by another call`, { topic });
    checkLeaving(this.#host, synced, choice, isForced);
    const left = (async () => {
      synced.session.close();
      this.#links.remove(synced.session);
      this.#open.delete(topic);
      this.#healer.end(topic);
      await synced.log.close();
      return leaveLog(this.#host, synced, choice);
    })();
    const next = left.then(() => {
      if (choice === "detach") throw notSynced(topic);
      return this.#openTopic(topic, undefined);
    });
    this.#topics.set(topic, next);
    next.catch(() => this.#topics.get(topic) === next && this.#topics.delete(topic));
    try {
      for (const range of await left) this.#host.tell({ type: "retracted", topic, range });
      // An outbox that is made under this name begins anew.
      this.#retracted.delete(topic);
      if (choice !== "detach") await next;
      else {
        if (this.#topics.get(topic) === next) this.#topics.delete(topic);
        this.#host.ended(topic);
        this.#letGo();
      }
    } catch (thrown) {
      // The topic stays synced if it can be opened; otherwise the next opening of the tide finishes what was begun.
      this.#topic(topic, undefined).catch(() => undefined);
      throw thrown;
    } finally {
      this.#changed();
    }
  }

  /** Where the topic's log begins at the edge, as it was told last. */
  edgeStartOf(topic: string): number {
    return this.#open.get(topic)?.session.atEdge.start ?? 0;
  }

  /** What the topic's retention removes from this device's copy; with none, what the edge has removed. */
  async clean(topic: string): Promise<void> {
    const { log, store, session } = await this.#topic(topic, undefined);
    await log.clean();
    const isKept = Object.keys(log.settings.retention).length > 0;
    const to = isKept ? 0 : Math.min(session.atEdge.start, store.watermark, store.outboxNote.settledIn);
    if (to > log.logStartOffset) await log.trim(to);
  }

  /** Called when the volume closes or is opened anew. */
  close(): void {
    this.#isClosed = true;
    this.#healer.end();
    this.#background.close();
    this.#links.close();
    for (const session of this.#sessions) session.close();
    for (const { log } of this.#open.values()) log.end(reopened());
    this.#changed();
  }
}
