/**
 * One synced topic on the link: opens its channel, joins, follows into the replica, pushes the outbox, claims. The
 * order of these is a table in session-state.ts; verdict.ts says what the answer to a join means.
 *
 *   attach(socket) ─▶ open ─▶ join ─▶ verdict ─┬─▶ receiver.ts follows, until the channel ends
 *                              ▲               └─▶ pump.ts pushes, claimer.ts claims
 *                              └─── a new id, a conflict, an answer that tells nothing
 *
 * An answer counts only on the channel on which it was asked for, and only for the id that asked. Whatever finishes
 * later finds that its conversation is over.
 */
import { TidemarkError } from "../errors.ts";
import { libraryCodeOf } from "./edge-codes.ts";
import { joinIn, joinOf, judgeJoin, standNow, makeReplica } from "./joining.ts";
import type { Conversation, JoinUnderWay } from "./conversation.ts";
import type { ClaimHost } from "./claimer.ts";
import { type EdgeLog, type EdgeSocket, type JoinReply, takesSync } from "./edge-socket.ts";
import type { Linked } from "./link.ts";
import { LogAtEdge } from "./log-at-edge.ts";
import { type Block, type Chain, edgeCodeOf, floorOf, Pump, type PumpEnd, type PumpHost } from "./pump.ts";
import { isFullEdge } from "./push-answers.ts";
import { receive, type ReceiverHost } from "./receiver.ts";
import { isTokenError, openedLog, failedOpening } from "./opening.ts";
import type { Failure, SessionOptions } from "./session-options.ts";
import { isSettled, type SessionEvent, sessionNext, type SessionState } from "./session-state.ts";
import { Signal } from "./signal.ts";
import type { OutboxJoin, Joined, Pushed, TidePayload } from "./sync-frames.ts";
import type { OutboxRun, Range, TopicStore } from "./topic-store.ts";
import { TrimSoon } from "./trim-soon.ts";
import type { Verdict } from "./verdict.ts";

/** If the device is full, the session waits at least this long before it tries again. */
const FULL_MS = 30_000;
/** After this many bad frames with no good one in between the session stops as CORRUPT_RANGE. */
const BAD_FRAMES_MAX = 3;

export class Session implements Linked {
  readonly path: string;
  readonly #options: SessionOptions;
  readonly #store: TopicStore;
  readonly #changed = new Signal();
  #state: SessionState = { at: "waiting", tries: 0 };
  #socket: EdgeSocket | undefined;
  #conversation: Conversation | undefined;
  #timer: (() => void) | undefined;
  readonly #trim: TrimSoon;
  readonly #unlisten: () => void;
  block: Block | undefined;
  #again: readonly Range[] = [];
  readonly atEdge = new LogAtEdge();
  /** What failed last, until the topic is level again. */
  failure: Failure | undefined;
  /** The token may not read here: own records go out, nothing comes in. Another token ends it. */
  isBlind = false;
  /** The edge has refused the token the log itself, or its making. Counts while the session waits for its next try. */
  isRefused = false;
  /** Wall clock: when the replica last reached the edge's end. */
  lastSyncedAt: number | undefined;
  #lastJoin: string | undefined;
  readonly #internals = { at: -1, count: 0 };
  #badFrames = 0;

  /** The edge's log while this topic is live on it. */
  get edge(): EdgeLog | undefined {
    return this.#state.at === "live" ? this.#conversation?.log : undefined;
  }

  constructor(options: SessionOptions) {
    this.#options = options;
    this.#store = options.store;
    this.path = options.path;
    const { host, store, failed } = options;
    const changed = (): void => this.#changed.set();
    this.#trim = new TrimSoon({ after: host.after, store, failed, trimmed: changed });
    this.#unlisten = store.listen({ appended: changed, drawn: changed, settled: changed, risen: changed });
  }

  get state(): SessionState {
    return this.#state;
  }
  get store(): TopicStore {
    return this.#store;
  }

  // --- the link ----------------------------------------------------------------------------------------------------

  attach(socket: EdgeSocket): void {
    // What blocks all of the outbox is told anew by the join, and another token may be allowed more.
    if (this.block?.ranges.length === 0) this.block = undefined;
    this.#socket = socket;
    this.#step({ on: "linked" });
  }

  detach(): void {
    // A join on the next connection finds the same where nothing was written meanwhile. That is no loop.
    if (isSettled(this.#state, this.#options.host.monotonic())) this.#lastJoin = undefined;
    this.#socket = undefined;
    this.#end();
    this.#step({ on: "unlinked" });
  }

  /** Another token may be the owner's, or be allowed more. */
  renewed(): void {
    if (this.block?.code === "FORBIDDEN" || this.isBlind) this.rejoin();
    if (this.#state.at === "stopped" && this.#state.code === "OWNER_CHANGED") this.resolve();
  }

  /** Ends the session for good: the volume closes, or the topic is no longer synced. */
  close(): void {
    this.detach();
    this.#trim.cancel();
    this.#unlisten();
  }

  // --- states ------------------------------------------------------------------------------------------------------

  #step(event: SessionEvent): void {
    const { host } = this.#options;
    const before = this.#state;
    const state = sessionNext(before, event, host.random(), host.monotonic());
    if (state === before) return;
    this.#state = state;
    this.#timer?.();
    this.#timer = undefined;
    if (state.at === "opening") void this.#converse();
    if (state.at === "retrying") {
      this.#end();
      // The next join comes after a wait, so that its answer is not taken for a repeat.
      this.#lastJoin = undefined;
      this.#timer = host.after(state.ms, () => this.#step({ on: "timer" }));
    }
    if (state.at === "stopped" && before.at !== "stopped") {
      this.#end();
      const { code, details } = state;
      this.#options.tell({ type: "stopped", code, details });
    }
    // The tide that shows this may have come before this state.
    if (state.at === "catching-up") this.#lookLevel();
    if (state.at === "live") this.#options.served();
    this.#changed.set();
    this.#options.changed();
  }

  /** Leaves the channel. What it still answers does not count. */
  #end(): void {
    const talk = this.#conversation;
    this.#conversation = undefined;
    if (!talk) return;
    talk.isOver = true;
    this.#store.forgetTold();
    talk.log.close();
    this.#changed.set();
  }

  /** A person has decided. `again` are positions in doubt that are to be sent again. */
  unblock(again: readonly Range[] = []): void {
    this.block = undefined;
    // A person may be asked once more before the claim is granted: what was answered then still stands.
    this.#again = [...this.#again, ...again];
    this.#lastJoin = undefined;
    this.#step({ on: "unblocked" });
    this.#changed.set();
  }

  /** What stopped the session may have changed: it joins again. */
  resolve(): void {
    this.#step({ on: "resolved" });
    if (this.#socket) this.#step({ on: "linked" });
  }

  /** Joins again, because something on this device has changed that the verdict depends on. */
  rejoin(): void {
    if (this.block?.ranges.length === 0) this.block = undefined;
    this.#lastJoin = undefined;
    this.#step({ on: "rejoin" });
    this.#changed.set();
  }

  // --- a conversation ----------------------------------------------------------------------------------------------

  async #converse(): Promise<void> {
    const socket = this.#socket!;
    let log: EdgeLog;
    try {
      log = await openedLog(socket, this.#options);
    } catch (thrown) {
      if (this.#socket === socket && this.#state.at === "opening") this.#failedOpen(TidemarkError.from(thrown));
      return;
    }
    if (this.#socket !== socket || this.#state.at !== "opening") return log.close();
    this.isRefused = false;
    const talk: Conversation = { log, isOver: false, isFollowing: false, joins: 0 };
    this.#conversation = talk;
    this.#step({ on: "hello", takesSync: takesSync(await log.opened) });
    await this.#talk(talk).catch((thrown: unknown) => this.#failed(talk, TidemarkError.from(thrown)));
  }

  #failedOpen(error: TidemarkError): void {
    this.#note(error.toWire());
    this.isRefused = edgeCodeOf(error) === "FORBIDDEN";
    if (isTokenError(error)) this.#options.unauthorized();
    this.#step(failedOpening(error, this.#store));
  }

  #note({ code, message }: Pick<Failure, "code" | "message">): void {
    this.failure = { code, message, at: this.#options.host.now() };
  }

  /** Ends this channel, because a call on it has failed, or the volume has. */
  #failed(talk: Conversation, error: TidemarkError): void {
    if (error.details["poisoned"] || error.code === "STORAGE_FAILED") this.#options.failed(error);
    if (talk.isOver) return;
    const code = edgeCodeOf(error);
    this.#note(error.toWire());
    if (code === "INVALID_BATCH" && ++this.#badFrames >= BAD_FRAMES_MAX)
      return this.#step({ on: "corrupt", details: { from: this.#store.watermark } });
    // A join can't see it where nothing is here that it could compare: a copy that began at the end of what was lost.
    if (code === "DIVERGED") return this.#step({ on: "diverged", details: { agreedTo: this.atEdge.agreedTo } });
    if (code === "GONE" || code === "NOT_FOUND") {
      this.#end();
      return this.#step({ on: "failed", code });
    }
    if (isTokenError(error)) this.#options.unauthorized();
    const isFull = isFullEdge(error.code) && error.details["edge"] === undefined;
    if (isFullEdge(error.code)) this.#options.tell({ type: "quota", where: isFull ? "device" : "edge" });
    const floorMs = isFull ? FULL_MS : floorOf(error);
    this.#step({ on: "failed", code, floorMs });
  }

  async #talk(talk: Conversation): Promise<void> {
    while (!talk.isOver) {
      const at = this.#state.at;
      if (at === "joining") await this.#join(talk);
      else if (at === "blocked" || at === "catching-up" || at === "live" || at === "claiming")
        await this.#changed.wait();
      else return;
    }
  }

  async #join(talk: Conversation): Promise<void> {
    const { host } = this.#options;
    talk.joins++;
    await host.proveTerm();
    this.#store.forgetTold();
    const samples = await this.#store.samples();
    // The notes are read in the turn in which the join is sent.
    const asked = joinOf(this.#store, this.#options.term, samples);
    const reply = await joinIn(talk.log, asked, host);
    if (talk.isOver) return;
    // The follow may bring batches of this life at once, and the edge does not tell it a second time.
    this.atEdge.life = reply.joined.life;
    const { outbox } = asked;
    const isLeft = this.#isOver(talk, talk.joins, outbox);
    // If another id was drawn meanwhile, the session joins again with that. The same is checked after each wait below.
    if (isLeft()) return;
    const verdict = await judgeJoin(this.#store, this.#options.fits, asked, reply);
    if (isLeft()) return;
    // A device whose token may not write needs no outbox id while nothing waits to be sent. It joins again without
    // one.
    if (verdict.row === "right" && this.#store.pending.batches === 0 && (await this.#store.leave())) return;
    const { joined } = reply;
    const mark = [verdict.row, outbox, joined.next, joined.generation, this.#store.watermark].join();
    const isRepeat = mark === this.#lastJoin;
    this.#lastJoin = mark;
    const isClosed = joined.closed && verdict.is === "claim";
    const counted: Verdict = isClosed ? { row: "10", is: "closed" } : verdict;
    if (counted.is !== "stopped") await this.#level({ talk, isLeft }, joined, counted.is);
    if (isLeft()) return;
    this.#step({ on: "verdict", verdict: counted, isRepeat });
    await this.#after({ talk, isLeft }, counted, joined);
  }

  /**
   * Done after every answer but a stop: updates the note, makes the replica, covers a gap in it, and starts the follow.
   */
  async #level({ talk, isLeft }: JoinUnderWay, joined: Joined, is: Verdict["is"]): Promise<void> {
    const { owner, stream, next, lastOffset, lastCrc, logStartOffset } = joined;
    const store = this.#store;
    this.atEdge.joined(joined);
    if (!talk.isFollowing) this.atEdge.caughtFrom = store.watermark;
    const isFine = is === "fine";
    // A claim pushes as well. So the note gets the owner now, and no other owner's token may continue.
    if (isFine || is === "claim") await store.joined({ owner, stream, isFine });
    this.isBlind = false;
    const refused = await makeReplica(store, talk.log, joined, this.#options.from);
    if (refused && !this.#turnsBlind(talk, refused)) throw refused;
    // Before the follow: what it brings raises the end to beyond what was missed.
    await store.missed(joined.tombstonesTo);
    if (isLeft()) return;
    if (isFine && joined.known) store.told({ next, lastOffset, lastCrc });
    if (this.isBlind) return;
    if (logStartOffset > store.watermark) await this.#gap(logStartOffset, joined.life);
    if (talk.isFollowing || talk.isOver) return;
    talk.isFollowing = true;
    void this.#follow(talk);
  }

  async #gap(to: number, life: string): Promise<void> {
    const { onTrimmed, tell } = this.#options;
    if (onTrimmed === "stop") {
      const details = { reason: "trimmed", logStartOffset: to, watermark: this.#store.watermark };
      return this.#step({ on: "trimmed", details });
    }
    // The replica's end rises by what this life says, so the note must name it: an older one may have ended before.
    await this.#store.beginLife(life);
    const [from, end] = await this.#store.gap(to, "trimmed");
    tell({ type: "gap", from, to: end });
  }

  async #follow(talk: Conversation): Promise<void> {
    try {
      await receive(this.#receiving(talk), talk.log);
    } catch (thrown) {
      const error = TidemarkError.from(thrown);
      // The edge has removed what comes next. The next join says from where the follow goes on.
      if (error.code === "OFFSET_OUT_OF_RANGE" && !talk.isOver) {
        talk.isFollowing = false;
        return this.#step({ on: "rejoin" });
      }
      if (!this.#turnsBlind(talk, error)) return this.#failed(talk, error);
    }
    // The log is closed, or may not be read. It may be deleted all the same, and nothing is asked of the channel now.
    this.#failed(talk, await talk.log.ended);
  }

  /**
   * Notes whether this error says that the token may not read. If it does the session goes on without a follow, except
   * in a claim, which must read. The error of a channel that has ended does not say it: over HTTP a channel ends when
   * the token may be another owner's.
   */
  #turnsBlind(talk: Conversation, error: TidemarkError): boolean {
    const isRefused = edgeCodeOf(error) === "FORBIDDEN" && !talk.isOver && !talk.log.isOver;
    this.isBlind = isRefused && this.#state.at !== "claiming";
    if (!this.isBlind) return false;
    talk.isFollowing = false;
    this.#note(error.toWire());
    this.#step({ on: "blind" });
    this.#options.changed();
    return true;
  }

  #receiving(talk: Conversation): ReceiverHost {
    const advanced = (tide?: TidePayload): unknown => !talk.isOver && this.#advanced(tide);
    return { store: this.#store, atEdge: this.atEdge, advanced };
  }

  #advanced(tide: TidePayload | undefined): void {
    this.#badFrames = 0;
    if (tide) this.atEdge.risen(tide);
    this.#lookLevel();
    this.#trim.look();
    this.#changed.set();
    this.#options.changed();
  }

  #lookLevel(): void {
    const { end } = this.atEdge;
    if (this.isBlind || end === undefined || this.#store.watermark < end) return;
    this.lastSyncedAt = this.#options.host.now();
    this.failure = undefined;
    this.#step({ on: "level" });
  }

  /** Does what a verdict asks for, once the state has changed. */
  async #after(joining: JoinUnderWay, verdict: Verdict, joined: Joined): Promise<void> {
    const { at } = this.#state;
    if (verdict.is === "blocked") this.#setBlock({ code: verdict.code, message: verdict.message, ranges: [] });
    const offers = this.#store.outboxNote.offering && at !== "retrying";
    if (offers && (verdict.is === "fine" || verdict.is === "closed")) return this.#claim(joining, joined);
    if (verdict.is === "closed" && at !== "retrying") return this.#closed(joining);
    if (at === "claiming") return this.#claim(joining, joined);
    if (verdict.is !== "fine" || at === "retrying") return;
    if (this.block) this.#step({ on: "blocked", code: this.block.code });
    // Where this is below the outbox's start, the pump finds that positions are missing, and asks for a claim.
    return this.#pump(joining, joined, { expected: joined.next, previous: joined.lastCrc });
  }

  /** The edge's log is closed. What is pending, or is appended later, waits for a person. */
  async #closed({ talk, isLeft }: JoinUnderWay): Promise<void> {
    const isOver = (): boolean => isLeft() || this.#state.at === "joining";
    while (!isOver() && this.#store.pending.batches === 0) await this.#changed.wait();
    if (talk.isOver) return;
    if (isOver()) return this.#step({ on: "rejoin" });
    this.#setBlock({ code: "STREAM_CLOSED", message: "the log is closed at the edge", ranges: [] });
  }

  #setBlock(block: Block): void {
    if (block.ranges.length > 0 || this.block === undefined) this.block = block;
    this.#step({ on: "blocked", code: block.code });
    this.#options.tell({ type: "blocked", block });
  }

  #isOver(talk: Conversation, joins: number, outbox: string | null): () => boolean {
    return () => talk.isOver || talk.joins !== joins || this.#store.outboxNote.outbox !== outbox;
  }

  async #pump(joining: JoinUnderWay, { limits }: Joined, chain: Chain): Promise<void> {
    const { talk, isLeft } = joining;
    // The look may be long. It ends early when another join is asked for.
    const isOver = (): boolean => isLeft() || this.#state.at === "joining";
    const refused = this.block ? undefined : await this.#options.refused(limits, chain.expected, isOver);
    if (refused && !isOver()) this.#setBlock(refused);
    const session = this;
    const host: PumpHost = {
      store: this.#store,
      changed: this.#changed,
      limits,
      internals: this.#internals,
      get block() {
        return session.block;
      },
      setBlock: (block) => this.#setBlock(block),
      proveTerm: () => this.#options.host.proveTerm(),
      isOver,
      taken: (run, pushed) => this.#taken(run, pushed),
    };
    const end = await new Pump(host, talk.log, chain).run();
    if (talk.isOver) return;
    // The pump gave no reason: a new id was drawn, or a person has answered.
    if (!end || end.then === "join") return this.#step({ on: "rejoin" });
    if (end.then === "claim") {
      this.#step({ on: "claim" });
      return this.#claim(joining, await this.#stand(talk));
    }
    if (end.then === "token") return this.#options.unauthorized();
    this.#later(end);
  }

  /** The edge takes nothing for now. */
  #later({ code, floorMs }: Extract<PumpEnd, { then: "retry" }>): void {
    if (isFullEdge(code)) this.#options.tell({ type: "quota", where: "edge" });
    this.#note({ code: libraryCodeOf(code), message: `the edge takes nothing for now: ${code}` });
    this.#step({ on: "failed", code, floorMs });
  }

  #taken({ lastCrc }: OutboxRun, { next, lastOffset }: Pushed): void {
    this.atEdge.reaches(lastOffset + 1);
    this.#store.told({ next, lastOffset, lastCrc });
    this.#step({ on: "taken" });
    this.#options.changed();
  }

  /** Where the edge's log and the outbox stand now. Asked before a claim that this device begins by itself. */
  async #stand(talk: Conversation): Promise<Joined> {
    const joined = await standNow(talk.log, this.#options);
    if (talk.isOver) return joined;
    // The edge does not tell this life a second time.
    this.atEdge.life = joined.life;
    this.atEdge.reaches(joined.logEndOffset);
    return joined;
  }

  /** The end of the edge's log at a moment after this call; undefined if the topic is not live then. */
  async askEnd(): Promise<number | undefined> {
    const talk = this.#conversation;
    if (!talk || this.#state.at !== "live") return undefined;
    const joined = await this.#stand(talk).catch((thrown: unknown) => this.#failed(talk, TidemarkError.from(thrown)));
    return talk.isOver ? undefined : joined?.logEndOffset;
  }

  async #claim(joining: JoinUnderWay, joined: Joined): Promise<void> {
    const { host, tell } = this.#options;
    const { talk, isLeft } = joining;
    if (this.#state.at !== "claiming") this.#step({ on: "claim" });
    const claiming: ClaimHost = {
      store: this.#store,
      changed: this.#changed,
      again: this.#again,
      setBlock: (block) => this.#setBlock(block),
      proveTerm: () => host.proveTerm(),
      // Without a follow the watermark does not rise: the edge may have let go of what comes next.
      isOver: () => isLeft() || this.#state.at === "joining" || this.isBlind,
      pause: (ms) => new Promise((resolve) => host.after(ms, resolve)),
      random: () => host.random(),
      offered: (what) => tell({ type: "offered", ...what }),
      claimed: ({ generation, found }) => tell({ type: "claimed", generation, found }),
      taken: ({ lastOffset }) => this.atEdge.reaches(lastOffset + 1),
    };
    const { claim } = await import("./claimer.ts");
    const end = await claim(claiming, talk.log, joined);
    if (talk.isOver) return;
    if (!end) return this.#step({ on: "rejoin" });
    this.#lastJoin = undefined;
    if (end.then === "granted") {
      this.#again = [];
      this.#step({ on: "granted" });
      return this.#pump(joining, joined, end.chain);
    }
    if (end.then === "left" || end.then === "join") return this.#step({ on: "rejoin" });
    if (end.then === "token") return this.#options.unauthorized();
    if (end.then === "retry") this.#later(end);
  }
}
