/**
 * The rounds of the crash test. In each a page works, is struck and recovers; then everything is read again and the
 * checker checks the whole history of the profile.
 *
 *   work ──strike──▶ open again, read all ──▶ check ──▶ work ──strike──▶ …      8 rounds per profile, engines in turns
 *          aimed at recovery: kill, open ──strike──▶ open again …
 */
import { check, type Finding } from "../checker/checker.ts";
import { CrashBrowser } from "./browser.ts";
import { type Audit, type Engine, type Moment, RULES } from "./events.ts";
import { Ledger } from "./ledger.ts";
import { engineOf, ROUNDS_PER_PROFILE, type Strike, strikeOf, type StrikeKind } from "./plan.ts";
import { PLANTS } from "./plants.ts";
import { setStage, type Stage } from "./stage.ts";

/** A strike whose moment does not come within this time falls without it. */
const AIM_MS = 4_000;
/** A step that takes longer is a failure. The page's own limit is shorter; this one is for a page that hangs. */
const STEP_MS = 60_000;

export interface CrashOptions {
  readonly rounds: number;
  /** A new profile and a new tide begin after this many rounds; the engines alternate. Default 8. */
  readonly roundsPerProfile?: number;
  readonly seed: number;
  readonly plant?: string | undefined;
  readonly onRound?: (line: string) => void;
}

export interface Failure {
  readonly round: number;
  readonly strike: Strike;
  readonly engine: Engine;
  readonly findings: readonly Finding[];
  readonly problems: readonly string[];
}

export interface Opening {
  readonly engine: Engine;
  readonly clean: boolean;
  readonly openMs: number;
  /** From the strike to the end of reading everything: browser and page start included. */
  readonly totalMs: number;
  readonly scannedBytes: number;
}

export interface CrashResult {
  readonly rounds: number;
  readonly seconds: number;
  /** The version of the browser. */
  readonly chromium: string;
  /** Strikes by kind and aim. `inside` counts those that fell while what they were aimed at was under way. */
  readonly strikes: Readonly<Record<string, { readonly times: number; readonly inside: number }>>;
  readonly counts: Readonly<Record<string, number>>;
  readonly openings: readonly Opening[];
  readonly failure: Failure | undefined;
}

const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

export async function runRounds(options: CrashOptions): Promise<CrashResult> {
  const ledger = new Ledger();
  const plant = options.plant === undefined ? undefined : PLANTS[options.plant];
  const stage = await setStage(ledger, plant);
  const run = new CrashRun(options, ledger, stage);
  try {
    return await run.all();
  } finally {
    await run.end();
    await stage.close();
  }
}

class CrashRun {
  readonly #strikes: Record<string, { times: number; inside: number }> = {};
  readonly #openings: Opening[] = [];
  #browser: CrashBrowser | undefined;
  #life = 0;
  /** Whether kills of this round tear a name. */
  #tears = false;
  #profile = -1;

  constructor(
    readonly options: CrashOptions,
    readonly ledger: Ledger,
    readonly stage: Stage,
  ) {}

  async all(): Promise<CrashResult> {
    const started = performance.now();
    let round = 0;
    let failure: Failure | undefined;
    while (round < this.options.rounds && !failure) {
      if (round % (this.options.roundsPerProfile ?? ROUNDS_PER_PROFILE) === 0) await this.#newProfile();
      failure = await this.#round(round++);
    }
    this.ledger.count("records never answered", this.ledger.unanswered);
    const chromium = this.#browser?.version ?? "";
    return {
      rounds: round,
      chromium,
      seconds: (performance.now() - started) / 1000,
      strikes: this.#strikes,
      counts: this.ledger.counts,
      openings: this.#openings,
      failure,
    };
  }

  async end(): Promise<void> {
    await this.#browser?.end();
    this.#browser = undefined;
  }

  get #engine(): Engine {
    return engineOf(this.#profile);
  }

  async #newProfile(): Promise<void> {
    await this.end();
    this.ledger.count("records never answered", this.ledger.unanswered);
    this.ledger.clear();
    this.#profile++;
    this.#browser = await CrashBrowser.make(this.stage.url, (message) => this.ledger.problems.push(message));
    await bounded(this.#audit(), "the first opening");
  }

  async #round(round: number): Promise<Failure | undefined> {
    const strike = strikeOf(this.options.seed, round);
    this.#tears = strike.tears;
    let audit: Audit | undefined;
    let inside = false;
    try {
      inside = await bounded(this.#workUntil(strike), "the strike");
      const struck = performance.now();
      audit = await bounded(this.#audit(), "recovery");
      this.#openings.push({
        engine: this.#engine,
        clean: audit.clean,
        openMs: audit.openMs,
        totalMs: performance.now() - struck,
        scannedBytes: audit.scannedBytes,
      });
    } catch (thrown) {
      this.ledger.problems.push(thrown instanceof Error ? thrown.message : String(thrown));
    }
    const { findings } = check(this.ledger.history, RULES);
    const { problems } = this.ledger;
    const { kind, aim } = strike;
    const what = `${kind}${aim ? `@${aim}${inside ? ", in the middle of it" : ""}` : ""}`;
    this.options.onRound?.(
      `round ${round + 1} of ${this.options.rounds}, ${this.#engine}: ${what}; ` +
        `${audit ? `open ${audit.openMs.toFixed(0)} ms, ${audit.records} records` : "no recovery"}`,
    );
    return findings.length + problems.length > 0
      ? { round, strike, engine: this.#engine, findings, problems }
      : undefined;
  }

  /** Opens the tide and reads everything. Starts the browser and the page first if they are gone. */
  async #audit(): Promise<Audit> {
    const browser = this.#browser!;
    await browser.ready();
    const life = ++this.#life;
    const audit = await browser.call("audit", {
      life,
      seed: this.options.seed,
      name: "crash",
      engine: this.#engine,
      earlyAck: this.options.plant === "early-ack",
    });
    this.ledger.count("openings that met a lock", audit.waits);
    this.ledger.count("torn tails cut", audit.cuts);
    return audit;
  }

  /** True when the strike fell while what it was aimed at was under way. */
  async #workUntil(strike: Strike): Promise<boolean> {
    const { kind, aim, workMs, delayMs } = strike;
    const browser = this.#browser!;
    await browser.call("work");
    await wait(workMs);
    if (aim === "recovery") {
      await this.#strike("kill", undefined);
      let inside = false;
      for (let struck = 0; struck < strike.recoveries; struck++) inside = await this.#strikeRecovery(strike);
      return inside;
    }
    if (aim) await this.#moment(aim);
    if (aim || kind === "kill") await wait(delayMs);
    if (kind !== "freeze" && kind !== "kill-frozen") return this.#strike(kind, aim);
    await browser.freeze();
    const before = this.ledger.posts;
    await wait(delayMs);
    // Messages that were on their way when the page froze may still arrive.
    if (this.ledger.posts - before <= 2) this.ledger.count("freezes that held");
    return this.#strike(kind, aim);
  }

  async #strikeRecovery({ kind, delayMs }: Strike): Promise<boolean> {
    await this.#browser!.ready();
    const begun = this.#moment("recovery");
    // As a rule this rejects, because the strike ends the page. It resolves when recovery is quicker than the strike.
    const audit = this.#audit().catch(() => undefined);
    await begun;
    await wait(delayMs);
    const inside = await this.#strike(kind, "recovery");
    await audit;
    return inside;
  }

  /** Resolves when a page reports that it is about to do this, or after AIM_MS. */
  #moment(moment: Moment): Promise<void> {
    return new Promise((resolve) => {
      const settle = (): void => {
        clearTimeout(timer);
        this.ledger.onBegin = undefined;
        resolve();
      };
      const timer = setTimeout(() => {
        this.ledger.count(`never came up: ${moment}`);
        settle();
      }, AIM_MS);
      this.ledger.onBegin = (begun) => begun === moment && settle();
    });
  }

  async #strike(kind: StrikeKind, aim: Moment | undefined): Promise<boolean> {
    const browser = this.#browser!;
    const kill = async (): Promise<void> => {
      await browser.kill();
      if (!this.#tears || this.#engine !== "opfs") return;
      await browser.tearNames();
      this.ledger.count("names torn");
    };
    const strikes: Record<StrikeKind, () => Promise<unknown>> = {
      kill,
      "kill-frozen": kill,
      crash: () => browser.crash(),
      close: () => browser.closePage(),
      reload: () => browser.reload(),
      terminate: () => browser.call("terminate"),
      freeze: async () => {
        await browser.thaw();
        await browser.call("finish");
      },
    };
    await strikes[kind]();
    const inside = aim !== undefined && this.ledger.isUnderWay(aim);
    this.ledger.endLife();
    const counted = (this.#strikes[`${kind}${aim ? `@${aim}` : ""}`] ??= { times: 0, inside: 0 });
    counted.times++;
    if (inside) counted.inside++;
    return inside;
  }
}

async function bounded<T>(promise: Promise<T>, what: string): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>(
    (_, reject) =>
      (timer = setTimeout(() => reject(new Error(`${what} did not end within ${STEP_MS / 1000} s`)), STEP_MS)),
  );
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
