/**
 * tabs.js of the package: many tabs, one log. Loaded when a second tab shows up, or when a worker has not answered for seconds.
 *
 *   lobby = BroadcastChannel "tidemark:<name>"
 *
 *   follower                                        leader's page                  leader's worker
 *    │ ── hail ─────────────────────────────────────▶│
 *    │ ◀─ { leader, epoch, version, broker } ────────│   also whenever a term begins
 *    │ ── join, with a port by the broker, ─────────▶│ ── op "join" on its port ────▶│
 *    │      or with a channel's name in the lobby    │                               │
 *    │ ◀═ hello, then everything else, directly ════════════════════════════════════▶│
 *    │ ◀─ opening ───────────────────────────────────│   instead of the second line: it is about to lead
 *    │ ◀─ { coming, version, broker } ───────────────│   its worker lives: who has no leader joins now, and waits
 *    │ ◀─ away ──────────────────────────────────────│   it is hidden: is anybody seen?
 *    │ ── here ─────────────────────────────────────▶│   then it hands over
 *
 * Locks, all of them released by the browser when their holder is gone, however it went:
 *
 *   tidemark:<name>                 exclusive, the leader's page, for its term; every follower waits for it
 *   tidemark-worker:<name>:<uuid>   exclusive, a worker, for its life; who watches it waits for it in shared mode
 *   tidemark-port:<uuid>            exclusive, a follower, as long as it keeps its port; the worker waits for it
 *
 * A connection belongs to one term: what comes over an older one is no longer heard, and a leader of an older term is no
 * longer listened to.
 */
import { TidemarkError } from "../../errors.ts";
import { Broker } from "./broker-client.ts";
import type { Member } from "./member.ts";
import { type Announcement, type Coming, Joiner, refusePast, type Word } from "./joiner.ts";
import { isHidden, watchPage } from "../platform/page-life.ts";
import { deposeLock, endTerms } from "./locks.ts";
import { takeLock, workerEnd } from "../platform/locks.ts";
import type { PortClient } from "../port/port-client.ts";
import { type JoinRequest, PROTOCOL_VERSION } from "../port/protocol.ts";
import { Spare } from "./standby-workers.ts";
import { BEHIND_MS, SUCCESSOR_WAIT_MS } from "../platform/terms.ts";
import { laterTurn, sleep } from "../platform/timing.ts";
import { pause, SOON_MS, watchCalls } from "./liveness.ts";

/** Who says so often that it is about to lead, and does not, never will. */
const OPENINGS_MAX = 6;
/** So often is another tab left to depose a leader; by then it hangs, too. */
const DEPOSERS_MAX = 3;
/** Who looks at another tab for a moment keeps the lead: each change costs all tabs some 50 ms. */
const HIDDEN_MS = 1_000;
/** What passes by itself (files still locked, no network for a part) is tried again so often by the tab that has the lead. */
const LEAD_TRIES = 5;
/** A worker that has not opened the volume by then never will. */
const LEAD_MS = 20_000;
const LEAD_PAUSE_MS = 200;

export class Tabs {
  readonly #tide: Member;
  readonly #broker = new Broker((join) => this.#admit(join));
  /** The one that calls went to last. */
  #connection: PortClient | undefined;
  /** Of the newest term known. */
  #epoch = 0;
  #lifeLock: string | undefined;
  /** Of the last leader's worker that is known to have ended. */
  #goneLock: string | undefined;
  #onGone: (() => void) | undefined;
  /** Those who came before this tab's worker led. */
  #early: JoinRequest[] = [];
  #queued: AbortController | undefined;
  /** From the lock's grant on. */
  #leading: boolean;
  /** It has waited for another tab to lead: before that it opens by itself. */
  #followed = false;
  #release = (): void => undefined;
  /** The lock as it was granted last; `lost` when another tab has taken it away. */
  #term = { lost: false };
  /** The page is frozen, or kept for the way back: it must not be given the lead. */
  #asleep = false;
  readonly #spare: Spare;
  readonly #joiner: Joiner;
  #starting: Worker | undefined;
  /** Workers that ended before they led. */
  #failures = 0;
  /** Calls that wait for a connection, or the end. */
  readonly #waiting: (() => void)[] = [];
  /** One each time that there is no leader: what waited through the last such time must not judge this one. */
  #expecting: object | undefined;
  #appends = (): number => 0;
  #heardAt = 0;
  /** Heard since there was a leader. */
  #openings = 0;
  /** Tries to depose it that another tab was at. */
  #deposers = 0;
  #hiding: ReturnType<typeof setTimeout> | undefined;
  readonly #onWord = ({ data }: MessageEvent<Word>): void => this.#hear(data);
  /** Takes the listeners off the page. */
  readonly #unlisten = new AbortController();

  constructor(tide: Member) {
    this.#tide = tide;
    this.#leading = tide.role === "leader";
    this.#spare = new Spare(tide, (ms) => this.#broker.sleep(ms));
    this.#joiner = new Joiner(tide, this.#broker, (word) => this.#say(word));
    tide.lobby.onmessage = this.#onWord;
    watchPage(
      { seen: () => this.#seen(), depart: () => this.#depart(), sleep: () => this.#sleep(), wake: () => this.#wake() },
      this.#unlisten.signal,
    );
    void this.#announce();
    this.#seen();
    if (!tide.connection || tide.connection.ended) return;
    // What was asked before is not watched; this is.
    this.#watch(tide.connection);
    void tide.connection.call({ op: "ready" }).catch(() => undefined);
  }

  #watch(connection: PortClient): void {
    const before = this.#connection;
    this.#connection = connection;
    if (before && !before.ended) {
      // Told only now, its end would be taken for that of this one.
      before.onEnd = undefined;
      before.fail(new TidemarkError("CLOSED", "its term is over"));
      this.#tide.tell({ type: "leaderlost", reason: "its term is over" });
    }
    this.#appends = watchCalls(
      connection,
      this.#tide.options.leaderTimeoutMs,
      (ms) => this.#broker.sleep(ms),
      () => this.#missed(connection),
    );
  }

  #say(word: Word): void {
    if (!this.#tide.ended && !this.#asleep) this.#tide.lobby.postMessage(word);
  }

  #changed(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  /** Resolves when this tab has a connection, to a leader or to its own worker. */
  async follow(): Promise<void> {
    this.#followed = true;
    this.#queue();
    void this.#expect();
    await this.after();
  }

  /** Resolves when calls go elsewhere than to `connection`, which threw this. */
  async after(connection?: PortClient, thrown?: TidemarkError): Promise<void> {
    // The next leader would show an empty store.
    if (thrown?.details["reason"] === "cleared") throw thrown;
    for (;;) {
      const { ended, connection: now } = this.#tide;
      if (ended) throw ended;
      if (now && now !== connection && !now.ended) return;
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  // --- the lead ----------------------------------------------------------------------------------------------------

  /** Waits for the lock for as long as it takes. */
  #queue(): void {
    if (this.#queued || this.#leading || this.#asleep || this.#tide.ended) return;
    const queued = (this.#queued = new AbortController());
    this.#hold({ signal: queued.signal }).then(
      (unlock) => void this.#lead(unlock),
      () => undefined,
    );
  }

  /** Resolves when the lead is ours, to what gives it back. A tab that takes it away thinks that this one hangs. */
  #hold(options: LockOptions): Promise<() => void> {
    return new Promise((resolve, reject) => {
      let term: { lost: boolean } | undefined;
      const granted = (): Promise<void> => {
        this.#term = term = { lost: false };
        return new Promise(resolve);
      };
      navigator.locks.request(this.#tide.lock, options, granted).catch((thrown: unknown) => {
        reject(thrown);
        if (!term) return;
        term.lost = true;
        if (this.#tide.role === "leader")
          this.#tide.connection!.fail(new TidemarkError("CLOSED", "another tab leads now"));
      });
    });
  }

  #unqueue(): void {
    this.#queued?.abort();
    this.#queued = undefined;
  }

  async #lead(unlock: () => void): Promise<void> {
    this.#queued = undefined;
    const term = this.#term;
    const release = (this.#release = (): void => {
      this.#leading = false;
      unlock();
    });
    // Granted in the moment in which it was no longer wanted.
    if (this.#tide.ended || this.#asleep) return release();
    this.#leading = true;
    this.#joiner.leave("it leads itself");
    const last = this.#isLastGone ? "" : this.#lifeLock;
    const isReady = this.#spare.awaits(this.#tide.takeover ? undefined : last);
    if (!isReady && !(await this.#lastWorkerGone())) {
      this.#say("opening");
      await this.#takeOver();
    }
    for (let tries = 1; ; tries++) {
      if (this.#tide.ended) return release();
      // Whoever waits for it hears of an error, as when its script does not load.
      const late = setTimeout(() => this.#starting?.onerror?.({ message: "it does not start" } as ErrorEvent), LEAD_MS);
      try {
        // A term ends with its lock; a try that fails keeps it.
        let began = false;
        const lead = this.#tide.lead(() => began && release(), {
          take: () => (this.#starting = this.#spare.take()),
          order: (worker, options) => this.#spare.order(worker, options),
        });
        this.#come();
        // A worker that starts now may take its time.
        if (!isReady) this.#say("opening");
        await lead;
        began = true;
        // Put to sleep while it began, or away for so long that another tab took over.
        if (this.#asleep || term.lost)
          this.#tide.connection!.fail(new TidemarkError("CLOSED", "its page was frozen", { reason: "frozen" }));
        return;
      } catch (thrown) {
        const error = TidemarkError.from(thrown);
        if (this.#tide.ended) return release();
        // Once the tide was open, no file that can't be loaded ends it: another tab may have it.
        const isLater = error.code === "LOAD_FAILED" && this.#tide.connection !== undefined;
        // Its worker was deposed while it began, or ended: back into the queue.
        const isGone = error.details["reason"] === "cleared";
        if (
          this.#asleep ||
          term.lost ||
          isLater ||
          (error.code === "CLOSED" && !isGone && ++this.#failures < LEAD_TRIES)
        ) {
          release();
          if (isLater) await this.#tide.later(error);
          this.#queue();
          return void this.#expect();
        }
        if (error.kind !== "retry" || tries === LEAD_TRIES) {
          release();
          return this.#tide.end(error);
        }
        // The lock was free, and its files are not: whoever has them is not to be waited for.
        if (error.code === "ALREADY_OPEN") await this.#takeOver();
        else await sleep(LEAD_PAUSE_MS * tries);
      } finally {
        clearTimeout(late);
      }
    }
  }

  /** Once the worker says that it lives: by the time at which it leads the others are there. */
  #come(): void {
    const coming = this.#tide.coming!;
    const { onEvent, lifeLock } = coming;
    refusePast(this.#tide, coming);
    this.#early = [];
    coming.onEvent = (event) => {
      onEvent!(event);
      this.#broker.lead(lifeLock);
      this.#say({ coming: lifeLock, version: PROTOCOL_VERSION, broker: this.#broker.id });
    };
  }

  get #isLastGone(): boolean {
    return !this.#lifeLock || this.#lifeLock === this.#goneLock;
  }

  /** Its page may be gone a moment earlier, and then the lock is free while its last writes still run. False: it hangs. */
  async #lastWorkerGone(): Promise<boolean> {
    if (this.#isLastGone) return true;
    // The connection's own watch has been waiting for longer.
    const told = new Promise<boolean>((resolve) => (this.#onGone = () => resolve(true)));
    return Promise.race([
      told,
      workerEnd(this.#lifeLock!).then(
        () => true,
        () => false,
      ),
    ]);
  }

  // --- a leader that hangs -----------------------------------------------------------------------------------------

  /**
   * From when there is no connection until there is one: who has the lead must say so, or that it soon will. Who listened all
   * the time does not ask at once: all tabs asking keep the next leader from its work. What was heard before does not count: it
   * may have come from one that is gone.
   */
  async #expect(asks = true): Promise<void> {
    if (this.#expecting) return;
    const mine = (this.#expecting = {});
    this.#openings = 0;
    const { leaderTimeoutMs } = this.#tide.options;
    const isOver = (): boolean =>
      mine !== this.#expecting ||
      this.#leading ||
      this.#asleep ||
      !!this.#tide.ended ||
      (!!this.#tide.connection && !this.#tide.connection.ended);
    for (let quietMs = asks ? 0 : SOON_MS; !isOver(); quietMs = 0) {
      if (quietMs > 0) await this.#broker.sleep(quietMs);
      if (isOver()) break;
      const since = performance.now();
      this.#say("hail");
      const onTime = await pause(leaderTimeoutMs - SUCCESSOR_WAIT_MS - quietMs, (ms) => this.#broker.sleep(ms));
      if (onTime && this.#heardAt < since && !isOver()) await this.#depose();
    }
    if (mine === this.#expecting) this.#expecting = undefined;
  }

  /** A worker that does not answer is deposed, our own too: a busy loop keeps its files and its lock for seconds after terminate(). */
  async #missed(connection: PortClient): Promise<void> {
    const own = this.#tide.role === "leader" ? connection : undefined;
    if (own || !this.#leading) await this.#depose(own);
  }

  /** One tab at a time does this; the others see the next leader, or try again. `own`: the leader that hangs is this tab's worker. */
  async #depose(own?: PortClient): Promise<void> {
    const deposing = await takeLock(
      deposeLock(this.#tide.name),
      this.#deposers < DEPOSERS_MAX ? { ifAvailable: true } : { steal: true },
    ).catch(() => undefined);
    if (!deposing) return void this.#deposers++;
    try {
      this.#unqueue();
      if (own) this.#tide.role = "follower";
      const unlock = await this.#hold({ steal: true }).catch(() => undefined);
      if (!unlock) return this.#queue();
      own?.fail(new TidemarkError("CLOSED", "its worker hangs", { reason: "worker" }));
      // What follows here must not find the tab in the queue again when its connection ends.
      this.#unqueue();
      this.#leading = true;
      this.#say("opening");
      await this.#takeOver();
      this.#lifeLock = undefined;
      await this.#lead(unlock);
    } finally {
      deposing();
    }
  }

  async #takeOver(): Promise<void> {
    // Whoever keeps its lock all the same keeps the next worker from opening (sole-writer.ts).
    await endTerms(this.#tide.name).catch(() => undefined);
    await this.#broker.sleep(SUCCESSOR_WAIT_MS);
    this.#tide.takeover = true;
  }

  /** Calls go to this connection from now on. */
  connected(): void {
    const { role, opened, connection } = this.#tide;
    this.#deposers = this.#openings = this.#failures = 0;
    this.#expecting = undefined;
    this.#watch(connection!);
    if (role === "leader") {
      this.#broker.lead(connection!.lifeLock);
      this.#tide.takeover = undefined;
      this.#spare.stop();
    }
    this.#changed();
    this.#tide.tell({
      type: "leaderchange",
      role,
      epoch: opened!.epoch,
      via: role === "leader" ? "worker" : this.#joiner.via,
    });
    void this.#begin(connection!);
    this.#seen();
  }

  /** What this tab has waiting, and sends again in this turn, goes ahead of the others' coming. */
  async #begin(connection: PortClient): Promise<void> {
    this.#know();
    if (this.#tide.role !== "leader") return;
    await laterTurn();
    if (this.#appends()) await connection.call({ op: "ready" }).catch(() => undefined);
    for (const join of this.#early.splice(0)) this.#admit(join);
    await connection.call({ op: "ready" }).catch(() => undefined);
    await this.#announce();
  }

  #know(): void {
    this.#epoch = this.#tide.opened!.epoch;
    this.#lifeLock = this.#tide.connection!.lifeLock;
  }

  /** A connection has ended, or the tide. */
  end(error: TidemarkError): void {
    if (this.#tide.ended) {
      this.#unqueue();
      this.#unlisten.abort();
      this.#broker.close();
      this.#spare.stop();
      this.#joiner.leave("the tide is closed");
      clearTimeout(this.#hiding);
      return this.#changed();
    }
    const { role, connection } = this.#tide;
    if (role === "leader") this.#leading = false;
    // What follows hears of a worker's end by its lock only.
    else if (error.details["reason"] === "worker") {
      this.#goneLock = connection!.lifeLock;
      this.#onGone?.();
    }
    this.#tide.role = "follower";
    this.#spare.wait();
    this.#followed = true;
    this.#queue();
    void this.#expect(false);
    this.#tide.tell({ type: "leaderlost", reason: error.message });
  }

  // --- handing over ------------------------------------------------------------------------------------------------

  /** Followers that are seen say so; a leader that is hidden, and stays so, asks for one. */
  #seen(): void {
    clearTimeout(this.#hiding);
    this.#hiding = undefined;
    void this.#spare.look();
    if (!isHidden()) return void (this.#leading || this.#say("here"));
    if (!this.#leading) return;
    this.#hiding = setTimeout(() => {
      this.#hiding = undefined;
      if (this.#leading) this.#say("away");
    }, HIDDEN_MS);
  }

  /** Behind those that are seen; of the others, who keeps a worker ready stays first. */
  async #stepBack(): Promise<void> {
    this.#unqueue();
    if (!this.#spare.ready) await this.#broker.sleep(BEHIND_MS);
    this.#queue();
    await this.#spare.look();
  }

  /** Flushes and closes first, so that the next leader finds a clean end and has nothing to scan. */
  async #handOver(): Promise<void> {
    const { connection, role } = this.#tide;
    if (role !== "leader" || connection!.ended) return;
    await connection!.call({ op: "close" }).catch(() => undefined);
    connection!.fail(new TidemarkError("CLOSED", "handed over to a tab that is seen", { reason: "closed" }));
  }

  /** The page goes for good, and its worker is not left to go with the process, some 50 ms later. What it has just appended is written first. */
  #depart(): void {
    this.#unqueue();
    if (this.#tide.role !== "leader") return;
    if (!this.#appends()) return this.#sleep();
    this.#asleep = true;
    void this.#tide.connection!.call({ op: "leave" }).catch(() => undefined);
    this.#release();
  }

  /** There is no time to flush: what waits for its ack is sent again by whoever sent it. A page on its way back hears nothing: Chromium lets one go that is told something. */
  #sleep(): void {
    if (this.#asleep) return;
    this.#asleep = true;
    this.#unqueue();
    this.#spare.stop();
    this.#tide.connection?.fail(new TidemarkError("CLOSED", "its page was frozen", { reason: "frozen" }));
    this.#joiner.leave("its page was frozen");
    this.#tide.lobby.close();
  }

  #wake(): void {
    if (!this.#asleep || this.#tide.ended) return;
    this.#asleep = false;
    this.#tide.lobby = new BroadcastChannel(this.#tide.lock);
    this.#tide.lobby.onmessage = this.#onWord;
    this.#queue();
    void this.#expect();
  }

  // --- the lobby ---------------------------------------------------------------------------------------------------

  async #announce(): Promise<void> {
    await this.#broker.tried;
    const { role, connection, opened } = this.#tide;
    if (!connection || connection.ended) return void ((this.#leading || !this.#followed) && this.#say("opening"));
    this.#know();
    if (role !== "leader") return;
    this.#broker.lead(connection.lifeLock);
    this.#say({
      leader: connection.lifeLock,
      epoch: opened!.epoch,
      version: PROTOCOL_VERSION,
      broker: this.#broker.id,
    });
  }

  #hear(word: Word): void {
    if (word === "hail") void this.#announce();
    else if (word === "destroyed") this.#tide.destroyed();
    else if (word === "opening") this.#heardAt = this.#openings++ < OPENINGS_MAX ? performance.now() : this.#heardAt;
    else if (word === "here") void (isHidden() && !this.#hiding && this.#handOver());
    else if (word === "away") void (isHidden() ? this.#stepBack() : this.#say("here"));
    else if ("leader" in word) void this.#join(word);
    else if ("coming" in word) this.#joinEarly(word);
    else if (word.to !== (this.#tide.role === "leader" ? this.#tide.connection : this.#tide.coming)?.lifeLock) return;
    else if (word.version === PROTOCOL_VERSION) this.#admit(word.join);
    else this.#tide.tell({ type: "version", ours: PROTOCOL_VERSION, theirs: word.version });
  }

  #admit({ port, life }: JoinRequest): void {
    const join: JoinRequest = { op: "join", port, life };
    if (this.#tide.role === "leader") this.#tide.connection!.call<void>(join).catch(() => undefined);
    else if (this.#leading) this.#early.push(join);
  }

  /** Nobody knows its term yet: only who has no leader goes there. */
  #joinEarly({ coming: leader, version, broker }: Coming): void {
    this.#heardAt = performance.now();
    const { connection } = this.#tide;
    if (!this.#leading && (!connection || connection.ended) && version === PROTOCOL_VERSION)
      void this.#join({ leader, epoch: this.#epoch, version, broker });
  }

  async #join({ leader, epoch, version, broker }: Announcement): Promise<void> {
    const { connection, ended } = this.#tide;
    if (ended || epoch < this.#epoch || (connection?.lifeLock === leader && !connection.ended)) return;
    if (version !== PROTOCOL_VERSION) return this.#joiner.differ(leader, version);
    this.#heardAt = performance.now();
    if (this.#joiner.isOnItsWay(leader)) return;
    connection?.fail(new TidemarkError("CLOSED", "another tab leads now"));
    const life = await this.#joiner.join(leader, broker);
    if (life !== undefined) this.#spare.follow(life, leader);
  }
}
