/**
 * Eight tabs of one real browser write and follow one tide while faults strike them, one after the other; some faults
 * last while the next ones come. The ledger of acks is in this process. At the end an old tab and a new tab read the
 * whole log, and the checker judges.
 */
import { check, type Finding } from "../checker/checker.ts";
import type { Engine } from "../crash/events.ts";
import { Ledger } from "../crash/ledger.ts";
import { PLANTS } from "../crash/plants.ts";
import { setStage, type Stage } from "../crash/stage.ts";
import { type Tab, TabsBrowser } from "./browser.ts";
import type { Left, TabBrief, Term } from "./events.ts";
import { type FailOver, failOversOf, type Struck } from "./fail-overs.ts";
import { goneAt, stateOf } from "./processes.ts";
import { type Fault, type Strike, strikeOf } from "./nemesis.ts";

/** Pause between two appends of a writer: two cores must carry eight writers. */
const PAUSE_MS = 100;
/** A new tab follows from the newest records only, or the whole log would be read a few hundred times. */
const FOLLOW_FROM = { last: 200 };
/** After this time, tabs that shared a crashed tab's process are gone as well. */
const BESIDE_MS = 2_000;
const PROBLEMS_MAX = 5;
/** This many strikes in a row without a victim are a finding. Each search without a leader takes some 2.5 s. */
const IDLE_MAX = 100;
const STEP_MS = 20_000;
/** This long after the last strike, standby workers and new tabs are ready. */
const SOON_MS = 500;
/** A tab that has not answered after this time hangs; a throttled tab needs most of it. */
const ANSWER_MS = 1_000;
/** When no tab leads for this long, that is a finding. */
const LEADERLESS_MS = 15_000;

export interface LongOptions {
  readonly seconds: number;
  /** The run goes on until it has made this many strikes. */
  readonly stepsMin?: number;
  readonly seed: number;
  /** Number of tabs; default 8. */
  readonly tabs?: number | undefined;
  readonly engine?: Engine;
  readonly leaderTimeoutMs?: number;
  readonly only?: Fault | undefined;
  readonly plant?: string | undefined;
  readonly onStep?: (line: string) => void;
}

export interface LongResult {
  readonly seconds: number;
  readonly steps: number;
  readonly faults: Readonly<Record<string, number>>;
  readonly failOvers: readonly FailOver[];
  readonly counts: Readonly<Record<string, number>>;
  readonly ackMsMax: number;
  /** For each term, in order, the notes of tabs' first acks in it. */
  readonly terms: readonly Term[];
  readonly skewMs: number;
  readonly findings: readonly Finding[];
  readonly problems: readonly string[];
  readonly browser: string;
}

const now = (): number => performance.timeOrigin + performance.now() - Date.UTC(2026, 0);
const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

async function within<T>(promise: Promise<T>, what: string, ms = STEP_MS): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>(
    (_, reject) => (timer = setTimeout(() => reject(new Error(`${what} did not end within ${ms / 1000} s`)), ms)),
  );
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** A fault that lasts and ends later. */
interface Lasting {
  readonly fault: Fault;
  readonly tab: Tab;
  readonly until: number;
  end(): Promise<void>;
}

export async function runLong(options: LongOptions): Promise<LongResult> {
  const ledger = new Ledger();
  const stage = await setStage(
    ledger,
    options.plant === undefined ? undefined : PLANTS[options.plant],
    "test/tabs/page",
  );
  let run: LongRun | undefined;
  try {
    run = new LongRun(options, ledger, stage, await TabsBrowser.start(stage.url, (body) => ledger.post(body)));
    return await run.run();
  } finally {
    await run?.browser.end();
    await stage.close();
  }
}

class LongRun {
  readonly #faults: Record<string, number> = {};
  readonly #terms: Term[] = [];
  readonly #struck: Struck[] = [];
  readonly #left: Left[] = [];
  #tabs: Tab[] = [];
  #lasting: Lasting[] = [];
  readonly #spareless = new Set<Tab>();
  #wakers: (() => void)[] = [];
  #ackMsMax = 0;
  #skewMs = 0;
  #crashAt = -Infinity;
  /** Time of the last strike. */
  #struckAt = -Infinity;
  /** True when the last leader hung: there are copies of its files, which the next leader copies back. */
  #isBehindHang = false;
  #started = 0;
  #steps = 0;
  #idle = 0;
  #epoch = 0;

  constructor(
    readonly options: LongOptions,
    readonly ledger: Ledger,
    readonly stage: Stage,
    readonly browser: TabsBrowser,
  ) {
    ledger.onNote = (note) => {
      if (note === undefined) return;
      if ("left" in (note as Left | Term)) return void this.#left.push(note as Left);
      this.#terms.push(note as Term);
      this.#epoch = Math.max(this.#epoch, (note as Term).epoch);
      for (const wake of this.#wakers.splice(0)) wake();
    };
  }

  async run(): Promise<LongResult> {
    const started = (this.#started = performance.now());
    const { problems } = this.ledger;
    try {
      while (this.#tabs.length < (this.options.tabs ?? 8)) await this.#open();
      const { seconds, stepsMin = 0 } = this.options;
      while (
        (performance.now() - started < seconds * 1000 || this.#steps < stepsMin) &&
        problems.length + this.browser.problems.length < PROBLEMS_MAX
      ) {
        const strike = strikeOf(this.options.seed, this.#steps++, this.options.only);
        await within(this.#step(strike), `${strike.fault} in step ${this.#steps}`, 3 * STEP_MS);
      }
      await this.#settle();
    } catch (thrown) {
      problems.push(String((thrown as Error).stack ?? thrown), ...(await this.#standing()));
    }
    const { findings } = check(this.ledger.history);
    const { ledger, browser } = this;
    ledger.counts["records of unknown outcome, their tab gone"] = ledger.unanswered;
    return {
      seconds: (performance.now() - started) / 1000,
      steps: this.#steps,
      faults: this.#faults,
      failOvers: failOversOf(this.#struck, this.#left, this.#terms),
      counts: ledger.counts,
      ackMsMax: this.#ackMsMax,
      terms: [...new Map(this.#terms.toReversed().map((term) => [term.epoch, term])).values()].sort(
        (a, b) => a.epoch - b.epoch,
      ),
      skewMs: this.#skewMs,
      findings,
      problems: [...problems, ...browser.problems],
      browser: browser.version,
    };
  }

  #count(fault: string): void {
    this.#faults[fault] = (this.#faults[fault] ?? 0) + 1;
  }

  // --- tabs ----------------------------------------------------------------------------------------------------------

  get #config() {
    const { engine = "opfs", leaderTimeoutMs } = this.options;
    return {
      name: "long",
      engine,
      noSharedWorker: false,
      pauseMs: PAUSE_MS,
      followFrom: FOLLOW_FROM,
      ...(leaderTimeoutMs !== undefined && { leaderTimeoutMs }),
    };
  }

  async #open(page?: Tab["page"]): Promise<Tab> {
    const opening = page ? this.browser.openIn(page, this.#config) : this.browser.open(this.#config);
    const tab = await within(opening, "open()");
    tab.page.once("crash", () => this.#crashed(tab));
    const before = now();
    const theirs = await tab.call("now");
    const after = now();
    this.#skewMs = Math.max(this.#skewMs, before - theirs, theirs - after);
    await tab.call("work");
    this.#tabs.push(tab);
    this.#count("open");
    return tab;
  }

  /**
   * Opens tabs until there are enough. Called after a strike, so that the next strike hits tabs at work, not only at
   * their start.
   */
  async #fill(): Promise<void> {
    for (let opened = 0; this.#tabs.length < (this.options.tabs ?? 8) && opened < 2; opened++) await this.#open();
    await wait(50);
  }

  #gone(tab: Tab): void {
    this.#tabs = this.#tabs.filter((each) => each !== tab);
    this.#lasting = this.#lasting.filter((each) => each.tab !== tab);
  }

  /**
   * Notes a crash. Chromium lets pages of one site share a process now and then, so a crash may take more tabs than
   * the victim.
   */
  #crashed(tab: Tab): void {
    if (tab.struck) return;
    tab.struck = true;
    if (now() - this.#crashAt > BESIDE_MS) this.ledger.problems.push(`tab ${tab.number} crashed by itself`);
    this.#count("crash beside the tab that was meant");
    this.#gone(tab);
    void tab.page.close();
  }

  /** Tabs that are not stopped, frozen or left. */
  get #awake(): Tab[] {
    return this.#tabs.filter((tab) => !this.#lasting.some((each) => each.tab === tab));
  }

  async #brief(tab: Tab): Promise<TabBrief> {
    const brief = await within(tab.call("brief"), `tab ${tab.number}`);
    this.#ackMsMax = Math.max(this.#ackMsMax, brief.ackMsMax);
    for (const failure of brief.failures)
      this.ledger.problems.push(`an append failed in tab ${tab.number}: ${failure}`);
    if (brief.closed !== undefined) this.ledger.problems.push(`the tide of tab ${tab.number} ended: ${brief.closed}`);
    return brief;
  }

  async #leader(): Promise<{ tab: Tab; brief: TabBrief } | undefined> {
    const ask = async (tab: Tab): Promise<{ tab: Tab; brief: TabBrief }[]> => {
      try {
        return [{ tab, brief: await this.#brief(tab) }];
      } catch (thrown) {
        if (!String(thrown).includes("Target crashed")) throw thrown;
        this.#crashed(tab);
        return [];
      }
    };
    const briefs = (await Promise.all(this.#awake.map(ask))).flat();
    return briefs
      .filter(({ brief }) => brief.role === "leader")
      .sort((a, b) => (b.brief.epoch ?? 0) - (a.brief.epoch ?? 0))[0];
  }

  /** Waits until a leader of a later term has acked an append of some tab. */
  async #nextTerm(epoch: number): Promise<boolean> {
    const until = performance.now() + LEADERLESS_MS;
    while (this.#epoch <= epoch) {
      const left = until - performance.now();
      if (left <= 0) return false;
      await Promise.race([new Promise<void>((resolve) => this.#wakers.push(resolve)), wait(left)]);
    }
    return true;
  }

  // --- strikes -------------------------------------------------------------------------------------------------------

  async #step(strike: Strike): Promise<void> {
    for (const lasting of this.#lasting.filter(({ until }) => until < now())) await this.#endLasting(lasting);
    let leader = await this.#leader();
    for (let tries = 0; strike.atLeader && !leader && tries < 50; tries++) {
      await wait(50);
      leader = await this.#leader();
    }
    const others = this.#awake.filter((tab) => tab !== leader?.tab);
    const victim = strike.atLeader ? leader?.tab : others[Math.floor(strike.whom * others.length)];
    if (!victim || others.length < 2) {
      // There is no victim: try the same strike again later.
      this.#steps--;
      if (++this.#idle > IDLE_MAX)
        this.ledger.problems.push(`no tab could be struck by ${strike.fault}, ${IDLE_MAX} times in a row`);
      return this.#fill();
    }
    this.#idle = 0;
    // The leader may meanwhile have handed over to a visible tab.
    const isLeader = victim === leader?.tab && (leader.brief.epoch ?? this.#epoch) >= this.#epoch;
    const epoch = Math.max(this.#epoch, leader?.brief.epoch ?? 0);
    const after = ((performance.now() - this.#started) / 1000).toFixed(1);
    const whom = isLeader ? "the leader" : "a follower";
    this.options.onStep?.(
      `strike ${this.#steps} after ${after} s: ${strike.fault} of ${whom}, tab ${victim.number}; term ${epoch}, ` +
        `${this.#tabs.length} tabs`,
    );
    const [strikeAt, at] = await this.#strike(strike, victim, others);
    if (strike.fault === "worker" && !isLeader) this.#spareless.add(victim);
    this.#count(`${strike.fault}${strike.fault === "kill" ? "" : isLeader ? " of the leader" : " of a follower"}`);
    if (strike.fault === "kill") return;
    if (isLeader && strike.fault !== "slow" && strike.fault !== "seen") {
      this.#struck.push({
        fault: strike.fault + this.#circumstance(victim, strikeAt),
        tab: victim.number,
        epoch,
        strikeAt,
        at,
      });
      this.#isBehindHang = strike.fault === "hang";
      if (!(await this.#nextTerm(epoch)))
        this.ledger.problems.push(
          `step ${this.#steps}: ${strike.fault} of the leader, and no other leader acked an append within ` +
            `${LEADERLESS_MS / 1000} s`,
        );
    }
    await this.#fill();
    this.#struckAt = now();
    await wait(strike.pauseMs);
  }

  /** Circumstances that change the time of a fail-over, in words. */
  #circumstance(victim: Tab, strikeAt: number): string {
    // The next in line may hang, or its standby worker may have been ended.
    const lasting = this.#lasting.find(
      ({ fault, tab }) => tab !== victim && (fault === "hang" || fault === "slow"),
    )?.fault;
    if (lasting) return ` beside ${lasting}`;
    if (this.#tabs.some((tab) => this.#spareless.has(tab))) return " beside a dead spare worker";
    if (this.#isBehindHang) return " behind a hang";
    return strikeAt - this.#struckAt < SOON_MS ? " soon behind another strike" : "";
  }

  /** Strikes. Returns when, and when the strike took effect as far as it is seen from here. */
  async #strike(
    { fault, lastsMs }: Strike,
    tab: Tab,
    others: readonly Tab[],
  ): Promise<readonly [strikeAt: number, at: number]> {
    const last = (end: () => Promise<void>): void =>
      void this.#lasting.push({ fault, tab, until: now() + lastsMs, end });
    const pid = fault === "crash" || fault === "hang" ? await tab.process(this.browser.pid) : 0;
    let at = now();
    let died: Promise<number | undefined> | undefined;
    if (fault === "crash") {
      this.#crashAt = at;
      died = goneAt(pid, STEP_MS / 10);
    }
    if (fault === "close" || fault === "crash" || fault === "reload") {
      await tab[fault]();
      this.#gone(tab);
      if (fault === "reload") await this.#open(tab.page);
      if (fault === "crash") await tab.page.close();
    } else if (fault === "worker") await tab.killWorkers();
    else if (fault === "seen") await others[0]!.show();
    else if (fault === "kill") await this.#kill();
    else if (fault === "slow") {
      await tab.slowDown(8);
      last(() => tab.slowDown(1));
    } else if (fault === "hang") {
      process.kill(pid, "SIGSTOP");
      for (let looks = 0; looks < 50 && stateOf(pid) !== "T"; looks++) await wait(2);
      if (stateOf(pid) === "T") this.#count("hang that held");
      last(async () => void process.kill(pid, "SIGCONT"));
      await this.#hangBeside(tab, now() + lastsMs);
    } else if (fault === "frozen") {
      // The browser freezes hidden pages only.
      await others[0]!.show();
      at = now();
      await tab.freeze();
      last(async () => {
        await tab.thaw();
        if ((await this.#brief(tab)).froze > 0) this.#count("frozen that held");
      });
    } else if (fault === "left") {
      await tab.page.goto("about:blank");
      last(() => this.#back(tab));
    }
    return [at, (await died) ?? at];
  }

  /** Notes tabs that hang with the victim, because pages of one site may share a process. */
  async #hangBeside(victim: Tab, until: number): Promise<void> {
    const answers = (tab: Tab): Promise<boolean> =>
      Promise.race([tab.call("now").then(() => true), wait(ANSWER_MS).then(() => false)]);
    const beside = this.#awake.filter((tab) => tab !== victim);
    const answered = await Promise.all(beside.map(answers));
    for (const tab of beside.filter((_, at) => !answered[at])) {
      this.#count("hang beside the tab that was meant");
      this.#lasting.push({ fault: "hang", tab, until, end: async () => undefined });
    }
  }

  async #endLasting(lasting: Lasting): Promise<void> {
    await within(lasting.end(), `tab ${lasting.tab.number} coming back`);
    this.#lasting = this.#lasting.filter((each) => each !== lasting);
  }

  /** Goes back to a page that was left. If the cache has dropped it, it is loaded again. */
  async #back(tab: Tab): Promise<void> {
    const returned = async (): Promise<void> => {
      // A page that comes from the cache fires no load event.
      await tab.page.goBack({ waitUntil: "commit" });
      await tab.page.waitForFunction(() => document.title === "ready");
    };
    try {
      await within(returned(), "the way back", STEP_MS / 2);
    } catch {
      // The driver may lose a page that comes out of the cache. The page had no calls to the tide meanwhile.
      this.#count("way back that the driver lost");
      this.#gone(tab);
      await tab.page.close();
      await this.#open();
      return;
    }
    if (
      await tab.page
        .evaluate(() => (window as typeof window & { tab: { brief(): TabBrief } }).tab.brief().restored > 0)
        .catch(() => false)
    )
      return this.#count("back from the cache");
    this.#count("back by loading anew");
    this.#gone(tab);
    await this.#open(tab.page);
  }

  async #kill(): Promise<void> {
    await this.browser.killAndStart();
    this.#tabs = [];
    this.#lasting = [];
    await this.#open();
    await this.#open();
  }

  /** The state of each tab and each lock, one line each, for people. */
  async #standing(): Promise<string[]> {
    const lasting = this.#lasting.map(({ fault, tab }) => `tab ${tab.number}: ${fault}`);
    const briefs = this.#awake.map((tab) =>
      within(tab.call("brief"), "", 2000).then(
        ({ role, epoch, acked }) => `tab ${tab.number}: ${role} in term ${epoch}, ${acked} acked`,
        () => `tab ${tab.number}: no answer`,
      ),
    );
    const locks = async (): Promise<string[]> => {
      const { held = [], pending = [] } = await this.#awake[0]!.page.evaluate(() => navigator.locks.query());
      const line =
        (how: string) =>
        ({ name, mode, clientId }: LockInfo): string =>
          `${how} ${mode} ${name} by ${clientId}`;
      return [...held.map(line("held")), ...pending.map(line("wanted"))].filter(
        (text) => !text.includes("tidemark-port"),
      );
    };
    return [
      ...lasting,
      ...(await Promise.all(briefs)),
      ...(await within(locks(), "", 2000).catch(() => ["locks: no answer"])),
    ];
  }

  // --- the end -------------------------------------------------------------------------------------------------------

  /** Waits until one tab leads: a leader may still be handing over to the visible tab. */
  async #oneLeads(): Promise<void> {
    for (;;) {
      const briefs = await Promise.all(this.#tabs.map((tab) => this.#brief(tab)));
      if (briefs.filter(({ role }) => role === "leader").length === 1) return;
      await wait(50);
    }
  }

  async #settle(): Promise<void> {
    for (const lasting of [...this.#lasting]) await this.#endLasting(lasting);
    await this.#tabs[0]!.show();
    await within(Promise.all(this.#tabs.map((tab) => tab.call("rest"))), "an append");
    await within(Promise.all(this.#tabs.map((tab) => tab.call("caughtUp"))), "a follower");
    await within(this.#oneLeads(), "the choice of one leader");
    await within(this.#tabs.at(-1)!.call("readAll"), "reading all", 3 * STEP_MS);
    for (const tab of this.#tabs) await tab.close();
    const fresh = await within(this.browser.open(this.#config), "open()");
    await within(fresh.call("readAll"), "reading all again", 3 * STEP_MS);
    await fresh.close();
  }
}
