/**
 * The end-to-end run of sync: three devices with three tabs each write to one topic while faults strike them, the
 * networks between them and the edge, and the edge. In rounds:
 *
 *   all write ── faults, some at a time ── the last one ends ── all rest ── level? ── all write …
 *                                           └──── time to converge ───────┘
 *
 * In the end the ledger judges: nothing that a device acknowledged is lost, doubled or out of its order, every tab and
 * a new device hold what the edge holds, and each record was told its place.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Engine } from "../crash/events.ts";
import { stateOf } from "../tabs/processes.ts";
import type { Device, SyncTab } from "./device.ts";
import { Fleet, stopOften, within } from "./fleet.ts";
import type { SyncVerdict } from "./ledger.ts";
import { PLANTS } from "./plants.ts";
import { faultsOf, firstRoundsOf, NETWORK, type PlannedFault, SYNC_FAULTS, type SyncFault, TOKENS } from "./plan.ts";
import type { TokenFault } from "./tokens.ts";
import { copyProfile, newFolder, removeFolder } from "./device.ts";

const NAMES = ["ann", "ben", "cas", "dia", "eve"];
const SLOW_BYTES = 50_000;
const RTT_MS = 100;
const STEP_MS = 60_000;
/** A fault of the network waits at most this long for a connection. */
const OPEN_MS = 3_000;
/** So long a fault may last beyond its time until it has had an effect. */
const EFFECT_MS = 3_000;
const AGAIN_MAX = 3;
/** After this long it is told what a round waited for. */
const LONG_MS = 5_000;

export interface SyncRunOptions {
  readonly seconds: number;
  /**
   * The run goes on until each fault had an effect. The first rounds have each once; what nobody noticed there strikes
   * again in the rounds behind them, of which there are `AGAIN_MAX` at most.
   */
  readonly each?: boolean;
  readonly seed: number;
  /** Where devices store; default: what a tide takes by itself. */
  readonly engine?: Engine | undefined;
  readonly profiles?: number | undefined;
  readonly tabs?: number | undefined;
  readonly only?: SyncFault | undefined;
  readonly plant?: string | undefined;
  /** Pause of a tab between two appends; default 100. */
  readonly pauseMs?: number;
  readonly onStep?: (line: string) => void;
}

export interface Round {
  readonly faults: readonly SyncFault[];
  readonly convergeMs: number;
  /** Where it was long: what each device said of itself, second by second. */
  readonly waits?: readonly string[];
}

export interface SyncRunResult extends SyncVerdict {
  readonly seconds: number;
  readonly rounds: readonly Round[];
  readonly faults: Readonly<Record<string, number>>;
  readonly counts: Readonly<Record<string, number>>;
  readonly records: number;
  readonly problems: readonly string[];
}

export async function runSync(options: SyncRunOptions): Promise<SyncRunResult> {
  const { plant, engine } = options;
  const fleet = await Fleet.start({ plant: plant === undefined ? undefined : PLANTS[plant], engine });
  try {
    return await new SyncRun(options, fleet).run();
  } finally {
    await fleet.end();
  }
}

class SyncRun {
  readonly #faults: Record<string, number> = {};
  readonly #rounds: Round[] = [];

  constructor(
    readonly options: SyncRunOptions,
    readonly fleet: Fleet,
  ) {}

  async run(): Promise<SyncRunResult> {
    const started = performance.now();
    const { ledger } = this.fleet;
    const { problems } = ledger;
    const { seconds, profiles = 3 } = this.options;
    let verdict: SyncVerdict = { lost: 0, doubled: 0, reordered: 0, findings: [] };
    let records = 0;
    try {
      const devices = await Promise.all(
        NAMES.slice(0, profiles).map((name) => this.fleet.add(name, { config: { pauseMs: this.options.pauseMs } })),
      );
      await Promise.all(devices.map((device) => this.#fill(device)));
      const isOver = (): boolean => performance.now() - started >= seconds * 1000 && this.#isEnough(profiles);
      while (!isOver() && problems.length === 0) await this.#round(devices);
      if (problems.length > 0) await this.fleet.level();
      const { edge, differ } = await this.fleet.compare();
      problems.push(...differ);
      records = edge.length;
      verdict = ledger.judge(edge);
    } catch (thrown) {
      problems.push(String((thrown as Error).stack ?? thrown), ...(await this.fleet.standing()));
    }
    for (const { errors } of this.fleet.devices) problems.push(...errors);
    return {
      seconds: (performance.now() - started) / 1000,
      rounds: this.#rounds,
      faults: this.#faults,
      counts: { ...ledger.counts, ...this.fleet.tokens.counts },
      records,
      problems,
      ...verdict,
    };
  }

  #count(fault: string): void {
    this.#faults[fault] = (this.#faults[fault] ?? 0) + 1;
  }

  /** Faults that had no effect so far. */
  get #unfelt(): SyncFault[] {
    return SYNC_FAULTS.filter((fault) => !(this.#faults[fault]! > 0));
  }

  #isEnough(devices: number): boolean {
    const { each = false, seed } = this.options;
    const rounds = this.#rounds.length;
    if (!each) return rounds > 0;
    const first = firstRoundsOf(seed, devices);
    return rounds >= first && (rounds >= first + AGAIN_MAX || this.#unfelt.length === 0);
  }

  /** Opens tabs until the device has enough; they write. */
  async #fill(device: Device, count = this.options.tabs ?? 3): Promise<void> {
    while (device.tabs.length < count) {
      const tab = await within(device.open(), `opening a tab of ${device.name}`, STEP_MS);
      await tab.call("work");
    }
  }

  async #round(devices: readonly Device[]): Promise<void> {
    const { seed, only, each = false } = this.options;
    const isAgain = each && this.#rounds.length >= firstRoundsOf(seed, devices.length);
    const again = isAgain ? this.#unfelt : [];
    const planned = faultsOf({ seed, round: this.#rounds.length, devices: devices.length, only, again });
    const faults = planned.map(({ fault }) => fault);
    const whom = planned.map(({ fault, device }) => `${fault} of ${devices[device]!.name}`);
    this.options.onStep?.(`round ${this.#rounds.length + 1}: ${whom.join(", ")}`);
    for (const { tab } of this.fleet.tabs) await tab.call("work");
    await Promise.all(
      planned.map(async (each) => {
        await sleep(each.atMs);
        await within(this.#strike(each, devices[each.device]!), each.fault, STEP_MS);
      }),
    );
    const healed = performance.now();
    const waits = await this.fleet.level();
    const convergeMs = performance.now() - healed;
    this.#rounds.push({ faults, convergeMs, ...(convergeMs > LONG_MS && { waits }) });
    this.options.onStep?.(`  level after ${Math.round(convergeMs)} ms, ${this.fleet.ledger.acked} records acked`);
    if (convergeMs > LONG_MS) for (const wait of waits) this.options.onStep?.(`    ${wait}`);
    for (const device of [...this.fleet.devices]) if (!devices.includes(device)) await this.fleet.remove(device);
  }

  /** Strikes, and ends the fault. */
  async #strike(planned: PlannedFault, device: Device): Promise<void> {
    const { fault } = planned;
    if (NETWORK.has(fault)) return this.#network(planned, device);
    if (TOKENS.has(fault)) return this.#token(fault as TokenFault, planned, device);
    if (fault === "edge") return this.#edge(planned);
    if (fault === "browser") return this.#browser(planned, device);
    if (fault === "copy") return this.#copy(planned, device);
    if (fault === "put back") return this.#putBack(planned, device);
    const victim = await this.#victim(planned, device);
    if (fault === "tab") await device.killTab(victim);
    else if (fault === "reload") {
      const tab = await device.reload(victim);
      device.tabs.push(tab);
      await device.openTide(tab);
      await tab.call("work");
    } else if (!(await this.#hang(planned, device, victim))) return this.#unnoticed(fault);
    this.#count(fault);
    await this.#fill(device);
  }

  /** Mostly the leader. */
  async #victim({ chance }: PlannedFault, device: Device): Promise<SyncTab> {
    const leader = await device.leader();
    const others = device.tabs.filter((tab) => tab !== leader);
    return leader && chance < 0.75 ? leader : (others[Math.floor(chance * others.length)] ?? leader!);
  }

  async #network({ fault, lastsMs, chance }: PlannedFault, device: Device): Promise<void> {
    const network = this.fleet.networkOf(device);
    network.heal();
    // There is nothing to cut before a connection is open.
    await network.connected(OPEN_MS);
    if (fault === "cut") network.cut();
    else if (fault === "refuse") network.refuse();
    else if (fault === "delay") network.weather.latencyMs = 200 + chance * 1_300;
    else if (fault === "rtt") network.weather.latencyMs = RTT_MS / 2;
    else if (fault === "slow") network.weather.rate = SLOW_BYTES;
    else if (fault === "lost up") network.swallow("up");
    else if (fault === "lost down") network.swallow("down");
    else if (fault === "lost both") network.swallow("up", "down");
    else await stopOften(network, chance, lastsMs);
    if (fault !== "stop") await sleep(lastsMs);
    for (const until = performance.now() + EFFECT_MS; network.effect === 0 && performance.now() < until;)
      await sleep(20);
    if (network.heal() > 0) this.#count(fault);
    else this.#unnoticed(fault);
  }

  #unnoticed(fault: SyncFault): void {
    this.#count(`${fault}, and nobody noticed`);
  }

  async #token(fault: TokenFault, { lastsMs }: PlannedFault, device: Device): Promise<void> {
    const { tokens, networks } = this.fleet;
    const given = (): number => tokens.counts[`tokens: ${fault}`] ?? 0;
    const before = given();
    await networks.get(device)!.connected(OPEN_MS);
    tokens.spoil(device.name, fault);
    networks.get(device)!.cut();
    for (const until = performance.now() + OPEN_MS; given() === before && performance.now() < until;) await sleep(20);
    await sleep(lastsMs / 2);
    tokens.heal();
    if (given() > before) this.#count(fault);
    else this.#unnoticed(fault);
    if (fault === "nobody") await this.fleet.signIn(device);
  }

  async #edge({ lastsMs }: PlannedFault): Promise<void> {
    await this.fleet.edge.kill();
    this.#count("edge");
    await sleep(lastsMs / 2);
    await this.fleet.edge.start();
  }

  async #browser({ lastsMs }: PlannedFault, device: Device): Promise<void> {
    await device.kill();
    this.#count("browser");
    await sleep(lastsMs / 2);
    await device.start();
    await this.#fill(device);
  }

  /** True if the process stood. */
  async #hang({ lastsMs }: PlannedFault, device: Device, victim: SyncTab): Promise<boolean> {
    const pid = await victim.process(device.pid);
    process.kill(pid, "SIGSTOP");
    for (let looks = 0; looks < 50 && stateOf(pid) !== "T"; looks++) await sleep(2);
    const isHeld = stateOf(pid) === "T";
    // Long enough that another tab deposes it, now and then.
    await sleep(lastsMs * 1.5);
    process.kill(pid, "SIGCONT");
    return isHeld;
  }

  /** A copy of the profile runs beside it, until the round is over. Something waits in the outbox of both. */
  async #copy({ lastsMs, chance }: PlannedFault, device: Device): Promise<void> {
    const network = this.fleet.networkOf(device);
    if (chance < 0.7) network.refuse();
    await sleep(lastsMs / 2);
    await device.kill();
    network.heal();
    const copy = await this.fleet.copyOf(device);
    await device.start();
    await Promise.all([this.#fill(copy, 1), this.#fill(device)]);
    this.#count("copy");
    await sleep(lastsMs / 2);
  }

  async #putBack({ lastsMs, chance }: PlannedFault, device: Device): Promise<void> {
    const { ledger } = this.fleet;
    const network = this.fleet.networkOf(device);
    const backup = newFolder("backup");
    try {
      await device.kill();
      copyProfile(device.profile, backup);
      const moment = ledger.now();
      const { line } = device;
      await device.start();
      await this.#fill(device, 1);
      await sleep(lastsMs / 2);
      if (chance < 0.5) network.refuse();
      await sleep(lastsMs / 2);
      await device.kill();
      network.heal();
      ledger.forget(line, moment);
      device.putBack(backup);
      await device.start();
      await this.#fill(device);
      this.#count("put back");
    } finally {
      removeFolder(backup);
    }
  }
}
