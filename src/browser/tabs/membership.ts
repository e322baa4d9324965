/**
 * tabs.js of the package: many tabs, one log. It is loaded when a second tab shows up, or when a worker has not
 * answered for seconds.
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
 * A table in life.ts says which states a tab has, and what leads from one to another. Nothing else decides that. This
 * file names the function of each action in that table:
 *
 *   membership ─▶ lobby │ visibility │ deposing │ election ─▶ standing ─▶ life
 *
 * Locks. The browser releases each of them when its holder is gone, in whatever way it went:
 *
 *   tidemark:<name>                 exclusive, the leader's page, for its term; every follower waits for it
 *   tidemark-worker:<name>:<uuid>   exclusive, a worker, for its life; who watches it waits for it in shared mode
 *   tidemark-port:<uuid>            exclusive, a follower, as long as it keeps its port; the worker waits for it
 *
 * A connection belongs to one term. A tab no longer hears what comes over an older connection, and no longer listens to
 * a leader of an older term.
 */
import { TidemarkError } from "../../errors.ts";
import { isHidden, watchPage } from "../platform/page-life.ts";
import type { PortClient } from "../port/port-client.ts";
import type { JoinRequest } from "../port/protocol.ts";
import { Broker } from "./broker-client.ts";
import { ask, depose, hearOpening, listen } from "./deposing.ts";
import {
  awaitLast,
  drop,
  endOfLast,
  letGo,
  queue,
  rule,
  standDown,
  startAgain,
  startWorker,
  steal,
  takeOver,
  unqueue,
} from "./election.ts";
import { Joiner, refusePast } from "./joiner.ts";
import { type TabAction, tabAfter, type TabEvent } from "./life.ts";
import { watchCalls } from "./liveness.ts";
import { announce, answer, hear, join, joinEarly, letIn } from "./lobby.ts";
import type { Member } from "./member.ts";
import { type Given, know, say, type Standing } from "./standing.ts";
import { Spare } from "./standby-workers.ts";
import { handOver, stepBack, unmute, waitHidden, write } from "./visibility.ts";

/** The function of each action in the table of life.ts. */
const ACTIONS: Readonly<Record<TabAction, (me: Standing, given: never) => unknown>> = {
  queue,
  unqueue,
  ask: (me) => ask(me),
  listen,
  "hear opening": hearOpening,
  depose,
  steal,
  "drop hung": (me) => drop(me, "its worker hangs", "worker"),
  "end terms": takeOver,
  "await last": awaitLast,
  start: startWorker,
  "start again": startAgain,
  "follow later": ({ tide, tell }, error: TidemarkError) => tide.later(error).then(() => tell("follow")),
  end: ({ tide }, error: TidemarkError) => tide.end(error),
  "drop past": (me) => drop(me, "another tab leads now"),
  "drop all": (me) => drop(me, "its page was frozen", "frozen"),
  "let go": letGo,
  rule,
  "stand by": ({ spare, joiner, tide }) => spare.follow(joiner.life, tide.connection!.lifeLock),
  "stand down": standDown,
  wait: waitHidden,
  "step back": stepBack,
  "hand over": handOver,
  "say opening": (me) => say(me, "opening"),
  "say here": (me) => say(me, "here"),
  "say away": (me) => say(me, "away"),
  announce,
  join,
  "join early": joinEarly,
  "let in": letIn,
  "let in later": ({ early }, join: JoinRequest) => early.push(join),
  write,
  mute: ({ tide }) => tide.lobby.close(),
  unmute,
};

export class Tabs {
  readonly #tide: Member;
  readonly #me: Standing;
  /** The connection that calls went to last. */
  #connection: PortClient | undefined;
  /** Wakes the calls that wait for a connection or for the tide's end. */
  readonly #waiting: (() => void)[] = [];
  /** Removes the listeners from the page. */
  readonly #unlisten = new AbortController();

  constructor(tide: Member) {
    this.#tide = tide;
    const broker = new Broker((join) => me.tell("join", join));
    const spare = new Spare(tide, (ms) => broker.sleep(ms));
    const me: Standing = (this.#me = {
      tide,
      broker,
      spare,
      joiner: new Joiner(tide, broker, (word) => say(me, word)),
      hear: ({ data }) => hear(me, data),
      tell: (event, given) => this.#tell(event, given),
      state: tide.role === "leader" ? "leading" : "alone",
      stay: {},
      tries: 0,
      ends: 0,
      early: [],
      epoch: 0,
      heardAt: 0,
      openings: 0,
      blocked: 0,
    });
    tide.lobby.onmessage = me.hear;
    const depart = (): boolean => me.tell(tide.role === "leader" && me.appends?.() ? "depart busy" : "depart");
    watchPage(
      { seen: () => this.#seen(), depart, sleep: () => me.tell("freeze"), wake: () => me.tell("wake") },
      this.#unlisten.signal,
    );
    // This tab may still be opening the tide by itself. That can take so long that another tab takes the lead
    // meanwhile.
    if (tide.coming) refusePast(tide, tide.coming);
    void answer(me);
    this.#seen();
    if (!tide.connection || tide.connection.ended) return;
    know(me);
    // Calls that began earlier are not watched, but this one is.
    this.#watch(tide.connection);
    void tide.connection.call({ op: "ready" }).catch(() => undefined);
  }

  #tell(event: TabEvent, given?: Given): boolean {
    const me = this.#me;
    const next = tabAfter(me.state, event);
    if (!next) return false;
    if (next.state !== me.state) me.stay = {};
    me.state = next.state;
    for (const action of next.actions) ACTIONS[action](me, given as never);
    return true;
  }

  #seen(): void {
    const { spare, tell } = this.#me;
    void spare.look();
    tell(isHidden() ? "hidden" : "seen");
  }

  #watch(connection: PortClient): void {
    const before = this.#connection;
    this.#connection = connection;
    if (before && !before.ended) {
      // Otherwise the end of the old connection would count as the end of the new one.
      before.onEnd = undefined;
      const reason = "another tab leads now";
      before.fail(new TidemarkError("CLOSED", reason));
      this.#tide.tell({ type: "leaderlost", reason });
    }
    this.#me.appends = watchCalls(
      connection,
      this.#tide.options.leaderTimeoutMs,
      (ms) => this.#me.broker.sleep(ms),
      () => this.#me.tell("silence"),
    );
  }

  #changed(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  /** Resolves when this tab has a connection, to a leader or to its own worker. */
  async follow(): Promise<void> {
    this.#me.tell("follow");
    await this.after();
  }

  /** Resolves when there is another connection than `connection`, whose call threw `thrown`. */
  async after(connection?: PortClient, thrown?: TidemarkError): Promise<void> {
    // The site's data was cleared, so the next leader would show an empty store.
    if (thrown?.details["reason"] === "cleared") throw thrown;
    for (;;) {
      const { ended, connection: now } = this.#tide;
      if (ended) throw ended;
      if (now && now !== connection && !now.ended) return;
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  /** Calls go to this connection from now on. */
  connected(): void {
    const { role, opened, connection } = this.#tide;
    const me = this.#me;
    const isLeader = role === "leader";
    me.blocked = me.openings = me.ends = 0;
    this.#watch(connection!);
    know(me);
    this.#changed();
    this.#tide.tell({ type: "leaderchange", role, epoch: opened!.epoch, via: isLeader ? "worker" : me.joiner.via });
    if (isLeader) me.tell("opened");
    this.#seen();
    if (!isLeader) me.tell("joined");
  }

  /** Called when a connection has ended, or the tide. */
  end(error: TidemarkError): void {
    const { ended, role, connection } = this.#tide;
    if (ended) return this.#close();
    // The connection itself reports the end of the leader's worker. The end of any other worker shows only in its lock.
    if (role !== "leader" && error.details["reason"] === "worker") endOfLast(this.#me, connection!.lifeLock);
    this.#tide.role = "follower";
    this.#me.spare.wait();
    this.#me.tell("lost");
    this.#tide.tell({ type: "leaderlost", reason: error.message });
  }

  #close(): void {
    this.#me.tell("close");
    this.#unlisten.abort();
    this.#me.broker.close();
    this.#changed();
  }
}
