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
 * Its parts, each of which imports only those to its right:
 *
 *   membership ─▶ lobby ─▶ visibility ─▶ deposing ─▶ election ─▶ standing
 *
 * Locks, all of them released by the browser when their holder is gone, however it went:
 *
 *   tidemark:<name>                 exclusive, the leader's page, for its term; every follower waits for it
 *   tidemark-worker:<name>:<uuid>   exclusive, a worker, for its life; who watches it waits for it in shared mode
 *   tidemark-port:<uuid>            exclusive, a follower, as long as it keeps its port; the worker waits for it
 *
 * A connection belongs to one term: what comes over an older one is no longer heard, and a leader of an older term is
 * no longer listened to.
 */
import { TidemarkError } from "../../errors.ts";
import { watchPage } from "../platform/page-life.ts";
import { laterTurn } from "../platform/timing.ts";
import type { PortClient } from "../port/port-client.ts";
import { Broker } from "./broker-client.ts";
import { expect, missed } from "./deposing.ts";
import { endOfLast, queue, unqueue } from "./election.ts";
import { Joiner } from "./joiner.ts";
import { watchCalls } from "./liveness.ts";
import { announce, hear, letIn } from "./lobby.ts";
import type { Member } from "./member.ts";
import { know, say, type Standing } from "./standing.ts";
import { Spare } from "./standby-workers.ts";
import { depart, freeze, seen, stopHiding, wake } from "./visibility.ts";

export class Tabs {
  readonly #tide: Member;
  readonly #me: Standing;
  /** The one that calls went to last. */
  #connection: PortClient | undefined;
  /** Calls that wait for a connection, or the end. */
  readonly #waiting: (() => void)[] = [];
  /** Takes the listeners off the page. */
  readonly #unlisten = new AbortController();

  constructor(tide: Member) {
    this.#tide = tide;
    const broker = new Broker((join) => letIn(me, join));
    const spare = new Spare(tide, (ms) => broker.sleep(ms));
    const me: Standing = (this.#me = {
      tide,
      broker,
      spare,
      joiner: new Joiner(tide, broker, (word) => say(me, word)),
      hear: ({ data }) => hear(me, data),
      expect: (asks) => void expect(me, asks),
      leading: tide.role === "leader",
      term: { lost: false },
      failures: 0,
      early: [],
      epoch: 0,
      heardAt: 0,
      openings: 0,
      deposers: 0,
    });
    tide.lobby.onmessage = me.hear;
    watchPage(
      { seen: () => seen(me), depart: () => depart(me), sleep: () => freeze(me), wake: () => wake(me) },
      this.#unlisten.signal,
    );
    void announce(me);
    seen(me);
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
      const reason = "another tab leads now";
      before.fail(new TidemarkError("CLOSED", reason));
      this.#tide.tell({ type: "leaderlost", reason });
    }
    this.#me.appends = watchCalls(
      connection,
      this.#tide.options.leaderTimeoutMs,
      (ms) => this.#me.broker.sleep(ms),
      () => missed(this.#me, connection),
    );
  }

  #changed(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  /** Resolves when this tab has a connection, to a leader or to its own worker. */
  async follow(): Promise<void> {
    this.#seek();
    await this.after();
  }

  /** Waits for the lead, and for a tab that has it. */
  #seek(asks?: boolean): void {
    this.#me.followed = true;
    queue(this.#me);
    this.#me.expect(asks);
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

  /** Calls go to this connection from now on. */
  connected(): void {
    const { role, opened, connection } = this.#tide;
    const me = this.#me;
    me.deposers = me.openings = me.failures = 0;
    me.expecting = undefined;
    this.#watch(connection!);
    if (role === "leader") {
      me.broker.lead(connection!.lifeLock);
      this.#tide.takeover = undefined;
      me.spare.stop();
    }
    this.#changed();
    const via = role === "leader" ? "worker" : me.joiner.via;
    this.#tide.tell({ type: "leaderchange", role, epoch: opened!.epoch, via });
    void this.#begin(connection!);
    seen(me);
  }

  /** What this tab has waiting, and sends again in this turn, goes ahead of the others' coming. */
  async #begin(connection: PortClient): Promise<void> {
    const me = this.#me;
    know(me);
    if (this.#tide.role !== "leader") return;
    await laterTurn();
    if (me.appends?.()) await connection.call({ op: "ready" }).catch(() => undefined);
    for (const join of me.early.splice(0)) letIn(me, join);
    await connection.call({ op: "ready" }).catch(() => undefined);
    await announce(me);
  }

  /** A connection has ended, or the tide. */
  end(error: TidemarkError): void {
    if (this.#tide.ended) return this.#close();
    const { role, connection } = this.#tide;
    if (role === "leader") this.#me.leading = false;
    // Of any other worker's end this tab hears by its lock only.
    else if (error.details["reason"] === "worker") endOfLast(this.#me, connection!.lifeLock);
    this.#tide.role = "follower";
    this.#me.spare.wait();
    this.#seek(false);
    this.#tide.tell({ type: "leaderlost", reason: error.message });
  }

  #close(): void {
    const me = this.#me;
    unqueue(me);
    this.#unlisten.abort();
    me.broker.close();
    me.spare.stop();
    me.joiner.leave();
    stopHiding(me);
    this.#changed();
  }
}
