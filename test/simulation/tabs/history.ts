/**
 * Runs one plan in a simulated browser and judges what came of it.
 *
 *   plan ──▶ tabs that append, follow and fail ──▶ all is healed ──▶ every call settles
 *        ──▶ the tabs' reads are compared ──▶ all tabs close; a new tab reads again
 */
import { Random } from "../prng.ts";
import { type Ack, judge, type Sent, type Seen } from "./judge.ts";
import type { Op, TabsPlan } from "./plan.ts";
import { Page, Platform, type Product } from "./platform.ts";
import { SyncedEdge } from "./synced-edge.ts";
import { type Context, World } from "./world.ts";

export interface Failure {
  readonly check: string;
  readonly message: string;
}
export interface Result {
  readonly failure: Failure | undefined;
  readonly hash: string;
  readonly counts: Readonly<Record<string, number>>;
  readonly lines: readonly string[] | undefined;
}

interface Topic {
  append(record: { value: string }): Promise<Ack>;
  read(options?: { follow?: boolean }): AsyncIterable<Seen>;
  roll(): Promise<void>;
}
interface Tide {
  readonly role: "leader" | "follower";
  /** Set once other tabs are known. */
  readonly tabs: unknown;
  readonly recovery: readonly { readonly quarantined: readonly unknown[] }[];
  topic(name: string, options: { serializer: string; batchBytes: number }): Topic;
  on(listener: (event: { readonly type: string; readonly via?: string; readonly reason?: string }) => void): void;
  close(): Promise<void>;
}

/** When faults have ended, each open call must be answered within this time, even while some tabs still hang. */
const SETTLE_MS = 45_000;
/** A link may wait for half a minute before it tries again. */
const LEVEL_MS = 120_000;
const QUIET_MS = 1_000;
const NAME = "t";

class Failed extends Error {
  constructor(
    readonly check: string,
    message: string,
  ) {
    super(message);
  }
}

class Tab {
  tide: Tide | undefined;
  /** True when its tide was closed on purpose or its open() was refused. */
  over = false;
  /** Wakes the tab; set while it sleeps. */
  wake: (() => void) | undefined;
  readonly sent: Sent[] = [];
  readonly seen: Seen[] = [];
  /** Operations that it does once its page runs. */
  readonly meant = new Set<object>();
  /** Calls under way. */
  readonly calls = new Set<string>();

  constructor(
    readonly number: number,
    readonly page: Page,
  ) {}
  get lives(): boolean {
    return !this.page.context.ending && !this.over;
  }
  get topic(): Topic {
    return this.tide!.topic("log", { serializer: "text", batchBytes: 16 * 1024 });
  }
}

export class History {
  readonly #plan: TabsPlan;
  readonly #kernel: WebAssembly.Module;
  readonly #world: World;
  readonly #platform: Platform;
  readonly #tabs: Tab[] = [];
  /** The worker that began each term. */
  readonly #terms = new Map<number, Context>();
  /** Where the topic is synced. */
  readonly #edge: SyncedEdge | undefined;
  #failure: Failure | undefined;

  constructor(plan: TabsPlan, product: Product, kernel: WebAssembly.Module, keepLines = false) {
    this.#plan = plan;
    this.#kernel = kernel;
    this.#world = new World(new Random(plan.seed, 3), keepLines);
    this.#world.onPost = (context, data) => this.#posted(context, data);
    this.#platform = new Platform(this.#world, product, new Random(plan.seed, 4), plan);
    if (!plan.isSynced) return;
    const edge = new SyncedEdge(this.#world, new Random(plan.seed, 14), (why) => this.#fail("edge", why));
    this.#platform.network = (context) => edge.globals(context);
    this.#edge = edge;
  }

  async run(): Promise<Result> {
    try {
      await this.#act();
      await this.#settle();
      await this.#compare();
    } catch (thrown) {
      if (!(thrown instanceof Failed)) throw thrown;
      this.#fail(thrown.check, thrown.message);
    }
    const { trace, counters } = this.#world;
    return { failure: this.#failure, hash: trace.hash, counts: counters.counts, lines: trace.lines };
  }

  #fail(check: string, message: string): void {
    this.#failure ??= { check, message: `${message} (at ${Math.round(this.#world.now)} ms)` };
    this.#world.trace.add(`FAILED ${check} ${message}`);
  }

  // --- what happens ------------------------------------------------------------------------------------------------

  async #act(): Promise<void> {
    for (const op of this.#plan.ops) {
      this.#world.at(op.at, op.kind, () => this.#do(op));
    }
    await this.#world.run(
      () => this.#failure !== undefined || this.#world.now >= this.#plan.activeMs,
      this.#plan.activeMs,
    );
  }

  #live(): Tab[] {
    return this.#tabs.filter((tab) => tab.lives);
  }

  /** The tab that an operation's number means, among the living ones. */
  #pick(number: number): Tab | undefined {
    const live = this.#live().filter(({ tide }) => tide);
    return number < 0
      ? (live.find(({ tide }) => tide!.role === "leader") ?? live[0])
      : live[number % Math.max(live.length, 1)];
  }

  #do(op: Op): void {
    if (op.kind === "open") return void this.#open();
    if (op.kind === "cut-sockets" || op.kind === "edge-reset" || op.kind === "edge-away") return this.#edge?.strike(op);
    if (op.kind === "lose-connections") return this.#platform.databases.loseConnections();
    if (op.kind === "kill-broker")
      return this.#count(
        op.kind,
        this.#platform.broker &&
          !this.#platform.broker.context.ending &&
          this.#platform.broker.context.end() === undefined,
      );
    const tab = this.#pick("tab" in op ? op.tab : -1);
    if (!tab) return;
    const { page } = tab;
    const workers = [...(this.#platform.workers.get(page.context) ?? [])];
    if (op.kind === "append")
      this.#in(tab, () => void Array.from({ length: op.count }, () => this.#append(tab, op.bytes)));
    else if (op.kind === "roll") this.#in(tab, () => this.#call(tab, "roll", tab.topic.roll()));
    else if (op.kind === "close-tide") this.#in(tab, () => this.#close(tab));
    else if (op.kind === "close-tab") page.context.end();
    else if (op.kind === "leave-tab") this.#leave(tab, op.id % 60);
    else if (op.kind === "crash-tab") for (const context of [page.context, ...workers]) context.end();
    else if (op.kind === "kill-worker") for (const worker of workers) worker.end();
    else if (op.kind === "hide" || op.kind === "show") page.show(op.kind === "show");
    else if (op.kind === "freeze" || op.kind === "way-back") this.#sleep(tab, op.kind, op.ms);
    else this.#stop(op, page.context, workers);
    this.#world.note(`${op.kind}${tab.tide?.role === "leader" ? ".leader" : ""}`);
  }

  /** Runs the application's code in the tab's page, once the page runs. */
  #in(tab: Tab, run: () => void): void {
    const call = {};
    tab.meant.add(call);
    this.#world.send(0, "app", { to: tab.page.context }, () => {
      tab.meant.delete(call);
      if (tab.lives) run();
    });
  }

  #count(kind: string, happened: unknown): void {
    if (happened) this.#world.note(kind);
  }

  #stop(op: Op, page: Context, workers: readonly Context[]): void {
    if (!("ms" in op)) return;
    const until = this.#world.now + op.ms;
    if (op.kind === "hang-page" || op.kind === "stop") page.ahead = Math.max(page.ahead, until);
    if (op.kind === "hang-worker" || op.kind === "stop")
      for (const worker of workers) worker.ahead = Math.max(worker.ahead, until);
    if (op.kind !== "stop-inside") return;
    for (const worker of workers) {
      const sprung = (awake: number): void => {
        if (op.whole) page.ahead = Math.max(page.ahead, awake);
      };
      worker.trap = { kind: op.call, calls: op.calls, ms: op.ms, sprung };
    }
  }

  /** Tells the page that it goes for good. Page and worker run on for a moment. */
  #leave({ page }: Tab, ms: number): void {
    page.tell("pagehide", { persisted: false });
    this.#world.at(this.#world.now + ms, "left", () => page.context.end());
  }

  /** Freezes the page, or keeps it for the way back. The page is told before and when it continues. */
  #sleep(tab: Tab, kind: "freeze" | "way-back", ms: number): void {
    const { page } = tab;
    const [before, after] = kind === "freeze" ? ["freeze", "resume"] : ["pagehide", "pageshow"];
    page.tell(before!, { persisted: true });
    const contexts = [page.context, ...(this.#platform.workers.get(page.context) ?? [])];
    for (const context of contexts) {
      context.frozen = true;
      context.away = kind === "way-back";
    }
    const wake = (tab.wake = () => {
      if (tab.wake !== wake) return;
      tab.wake = undefined;
      for (const context of contexts) context.thaw();
      if (!page.context.ending) page.tell(after!, { persisted: true });
    });
    this.#world.at(this.#world.now + ms, "thaw", wake);
  }

  async #open(): Promise<Tab> {
    const tab = new Tab(this.#tabs.length, this.#platform.page(`tab${this.#tabs.length}`));
    this.#tabs.push(tab);
    const { leaderTimeoutMs } = this.#plan;
    const options = {
      kernel: this.#kernel,
      segmentBytes: 64 * 1024,
      worker: tab.page.makeWorker,
      ...(leaderTimeoutMs && { leaderTimeoutMs }),
      ...(this.#edge && { sync: this.#edge.options }),
    };
    const opening = tab.page.product.openTide(NAME, options) as Promise<Tide>;
    this.#call(tab, "open", opening);
    const tide = await opening.catch(() => undefined);
    if (!tide) tab.over = true;
    else {
      tab.tide = tide;
      for (const { quarantined } of tide.recovery)
        if (quarantined.length > 0) this.#fail("quarantine", `recovery found damage: ${JSON.stringify(quarantined)}`);
      tide.on(({ type, via, reason }) => {
        this.#world.trace.add(`${tab.page.context.name} ${type} ${via ?? reason ?? ""}`, this.#world.now);
        if (type === "leaderchange") this.#world.note(`via.${via}`);
        if (type !== "closed" || tab.over || tab.page.context.ending) return;
        // A tab that was always alone closes its tide, and opens it again on request (test/browser/open.test.ts).
        tab.over = tide.tabs === undefined;
        if (tab.over) this.#world.note("ended alone");
        else this.#fail("ended", `the tide of tab ${tab.number} ended by itself: ${reason}`);
      });
      void this.#follow(tab);
    }
    return tab;
  }

  /** Notes a call that must succeed while its tab lives. */
  #call(tab: Tab, what: string, call: Promise<unknown>): void {
    const name = `${what} of tab ${tab.number}, called at ${Math.round(this.#world.now)}`;
    tab.calls.add(name);
    call.then(
      () => tab.calls.delete(name),
      (thrown: Error) => {
        tab.calls.delete(name);
        if (!tab.lives) return;
        if (what === "open") this.#world.note(`open refused: ${thrown.message}`);
        else this.#fail("refused", `${name}: ${thrown.message}`);
      },
    );
  }

  #append(tab: Tab, bytes: number): void {
    const order = tab.sent.length;
    const sent: Sent = {
      value: `${tab.number}.${order}.`.padEnd(bytes, "x"),
      tab: tab.number,
      order,
      offset: undefined,
    };
    tab.sent.push(sent);
    const appended = tab.topic.append({ value: sent.value });
    this.#call(tab, `append ${order}`, appended);
    appended.then(
      ({ offset, duplicate, committed }) => {
        // A tab that is gone gets no answer.
        if (tab.page.context.ending) return;
        if (this.#edge) this.#place(tab, sent, committed!);
        else sent.offset = offset;
        if (duplicate) this.#world.note("acked.duplicate");
      },
      () => undefined,
    );
  }

  /** The record has no place yet; each tab that lives is told it once it has one. */
  #place(tab: Tab, sent: Sent, committed: NonNullable<Ack["committed"]>): void {
    this.#edge!.acked.add(sent.value);
    const placed = committed.then(({ offset }) => {
      if (!tab.page.context.ending) sent.offset = offset;
    });
    this.#call(tab, `place of ${sent.order}`, placed);
  }

  async #follow(tab: Tab): Promise<void> {
    try {
      for await (const { offset, value } of tab.topic.read({ follow: true })) {
        if (tab.page.context.ending) return;
        tab.seen.push({ offset, value });
      }
    } catch (thrown) {
      if (tab.lives) this.#fail("follow", `tab ${tab.number}: ${(thrown as Error).message}`);
    }
  }

  #close(tab: Tab): void {
    const closing = tab.tide!.close();
    tab.over = true;
    tab.calls.add("close");
    const done = (): void => void tab.calls.delete("close");
    closing.then(done, done);
    void closing
      .catch(() => undefined)
      .then(() => this.#world.at(this.#world.now + 20, "page goes", () => tab.page.context.end()));
  }

  /** Checks the workers' messages: each term has one worker, and no worker acks in the term of another. */
  #posted(context: Context, data: unknown): void {
    const { hello, opened } = Object(data) as { hello?: number; opened?: { epoch: number; engine: string } };
    // A tide in memory is a warm-up (src/browser/worker/warm-up.ts).
    if (hello === undefined || !opened || opened.engine === "memory") return;
    const before = this.#terms.get(opened.epoch);
    if (before && before !== context)
      this.#fail("two-leaders", `epoch ${opened.epoch} was begun by ${before.name} and by ${context.name}`);
    if (!before) this.#world.note("terms");
    this.#terms.set(opened.epoch, context);
  }

  // --- what came of it ---------------------------------------------------------------------------------------------

  async #until(done: () => boolean, what: () => string, ms = this.#edge ? LEVEL_MS : SETTLE_MS): Promise<void> {
    const ended = await this.#world.run(() => this.#failure !== undefined || done(), this.#world.now + ms);
    if (!ended) throw new Failed("hang", `${what()}, ${ms} ms after the last fault`);
  }

  /** What was acknowledged is at the edge, and every tab has seen what is there. Returns the edge's log. */
  async #level(edge: SyncedEdge): Promise<Seen[]> {
    let names: readonly string[] = [];
    await this.#until(
      () => {
        edge.look((found) => (names = found));
        const at = new Set(names);
        return (
          [...edge.acked].every((value) => at.has(value)) &&
          this.#live().every(({ seen }) => seen.length >= names.length)
        );
      },
      () =>
        `the edge has ${names.length} records, of ${edge.acked.size} acknowledged ones; tabs have seen ${this.#live()
          .map(({ seen }) => seen.length)
          .join()}`,
    );
    return names.map((value, offset) => ({ offset, value }));
  }

  /** Ends all faults and wakes all sleeping tabs. */
  async #settle(): Promise<void> {
    this.#edge?.heal();
    for (const tab of this.#tabs) {
      for (const context of [tab.page.context, ...(this.#platform.workers.get(tab.page.context) ?? [])]) {
        context.trap = undefined;
      }
      tab.wake?.();
      if (tab.page.hidden) tab.page.show(true);
    }
    const open = (): string[] =>
      this.#tabs
        .filter((tab) => !tab.page.context.ending && this.#runs(tab))
        .flatMap(({ calls, meant }) => [...calls, ...[...meant].map(() => "its own")]);
    const settled = (): Promise<void> =>
      this.#until(
        () => open().length === 0,
        () => `no answer to ${open().join(", ")}`,
      );
    // Calls of running tabs settle first, while others hang. The hanging tabs' calls settle when these have woken.
    await settled();
    for (const { page } of this.#tabs)
      for (const { ahead } of [page.context, ...(this.#platform.workers.get(page.context) ?? [])])
        this.#world.at(ahead, "awake", () => undefined);
    await this.#world.run(() => this.#failure !== undefined || this.#tabs.every((tab) => this.#runs(tab)));
    await settled();
    // A leader that has just woken may now write batches of tabs that are gone.
    await this.#world.run(() => this.#failure !== undefined, this.#world.now + QUIET_MS);
  }

  /** Does its page run? With one tab only, nobody checks whether the worker runs. */
  #runs({ page, tide }: Tab): boolean {
    const workers = tide?.tabs ? [] : [...(this.#platform.workers.get(page.context) ?? [])];
    return [page.context, ...workers].every(({ ahead, dead }) => dead || ahead <= this.#world.now);
  }

  async #readAll(tab: Tab): Promise<Seen[] | undefined> {
    const found: Seen[] = [];
    let ended = false;
    let failed: unknown;
    const read = async (): Promise<void> => {
      for await (const { offset, value } of tab.topic.read()) found.push({ offset, value });
    };
    read().then(
      () => (ended = true),
      (thrown: unknown) => {
        failed = thrown;
        ended = true;
      },
    );
    await this.#until(
      () => ended,
      () => `a read of tab ${tab.number} does not end`,
    );
    // The tab was alone, and its worker had ended.
    if (failed && tab.over) return undefined;
    if (failed) throw new Failed("read", `tab ${tab.number}: ${(failed as Error).message}`);
    return found;
  }

  async #newTab(): Promise<Tab> {
    let tab: Tab | undefined;
    void this.#open().then((opened) => (tab = opened));
    await this.#until(
      () => tab !== undefined,
      () => "a new tab does not open",
    );
    if (!tab?.tide) throw new Failed("open", "a new tab can't open");
    return tab;
  }

  /** Do all tabs agree that one of them leads and the others follow? */
  #isAgreed(): boolean {
    const holder = this.#platform.locks.heldBy(`tidemark:${NAME}`);
    return this.#live().every(({ page, tide }) => (page.context === holder) === (tide!.role === "leader"));
  }

  async #compare(): Promise<void> {
    if (this.#failure) return;
    if (this.#live().length === 0) await this.#newTab();
    const logs: Seen[][] = this.#edge ? [await this.#level(this.#edge)] : [];
    for (const tab of this.#live()) {
      const log = this.#failure ? undefined : await this.#readAll(tab);
      if (log) logs.push(log);
    }
    const last = logs[0]?.length ?? 0;
    // Followers must read up to the end, too.
    await this.#until(
      () => this.#live().every(({ seen }) => seen.length >= last),
      () => "a follower does not get to the end",
    );
    await this.#until(
      () => this.#isAgreed(),
      () =>
        `${this.#platform.locks.heldBy(`tidemark:${NAME}`)?.name} has the lead, and the tabs say: ${this.#live()
          .map(({ number, tide }) => `${number} ${tide!.role}`)
          .join(", ")}`,
    );
    for (const tab of this.#live()) this.#close(tab);
    await this.#until(
      () => this.#tabs.every(({ page: { context }, calls }) => context.ending || !calls.has("close")),
      () => "a tide does not close",
    );
    for (const { page } of this.#tabs) page.context.end();
    this.#platform.broker?.context.end();
    await this.#world.run(() => false, this.#world.now + 12_000);
    const again = await this.#newTab();
    logs.push((await this.#readAll(again)) ?? []);
    const sent = this.#tabs.flatMap((tab) => tab.sent);
    const seen = this.#tabs.map((tab) => ({ tab: tab.number, seen: tab.seen }));
    const wrong = this.#failure ? undefined : judge({ sent, seen, logs });
    if (wrong) throw new Failed(wrong.check, wrong.message);
    this.#world.trace.add("log", ...logs.map((log) => log.length));
    this.#world.counters.add("acked", sent.filter(({ offset }) => offset !== undefined).length);
    if (this.#platform.files.has(["tidemark", NAME, "taken"]))
      throw new Failed("not-back", "copies are left though no file is locked");
    again.over = true;
  }
}
