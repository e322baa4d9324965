/**
 * All that an end-to-end run of sync has: an edge in workerd, a place for tokens, and devices, each with a network of
 * its own. It knows how to strike each fault (plan.ts), and how to wait until all are level.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Engine } from "../crash/events.ts";
import type { Plant } from "../crash/plants.ts";
import { setStage, type Stage } from "../crash/stage.ts";
import type { RawWorkerd } from "../edge/raw-workerd.ts";
import { Random } from "../simulation/prng.ts";
import type { PlantedBug } from "../support/planted-bug.ts";
import { copyProfile, Device, newFolder, removeFolder, type SyncTab } from "./device.ts";
import { digestOf } from "./digest.ts";
import { endOf, readEdge, startEdge } from "./edge.ts";
import { type Brief, type DeviceConfig, TOPIC } from "./events.ts";
import { SyncLedger } from "./ledger.ts";
import { FaultProxy, type Way } from "./proxy.ts";
import { TokenServer } from "./tokens.ts";

export const LOG = "shared/orders";
export const TOKEN_SECONDS = 20;
/** A wait for something that must come by itself. */
const PATIENCE_MS = 60_000;
const LOOK_MS = 1_000;

export async function within<T>(promise: Promise<T>, what: string, ms = PATIENCE_MS): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>(
    (_, reject) => (timer = setTimeout(() => reject(new Error(`${what} did not end within ${ms / 1000} s`)), ms)),
  );
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

export class Fleet {
  readonly ledger: SyncLedger;
  readonly stage: Stage;
  readonly edge: RawWorkerd;
  readonly tokens: TokenServer;
  readonly directory: string;
  readonly devices: Device[] = [];
  readonly networks = new Map<Device, FaultProxy>();
  /** Where all devices store; undefined: what a tide takes by itself. */
  readonly engine: Engine | undefined;
  #copies = 0;

  private constructor(parts: {
    readonly ledger: SyncLedger;
    readonly stage: Stage;
    readonly edge: RawWorkerd;
    readonly tokens: TokenServer;
    readonly directory: string;
    readonly engine: Engine | undefined;
  }) {
    ({ ledger: this.ledger, stage: this.stage, edge: this.edge } = parts);
    ({ tokens: this.tokens, directory: this.directory, engine: this.engine } = parts);
  }

  static async start({ plant, edgePlants, engine }: FleetOptions = {}): Promise<Fleet> {
    const ledger = new SyncLedger();
    const directory = newFolder("edge");
    const [stage, edge, tokens] = await Promise.all([
      setStage(ledger, plant, "test/sync/page"),
      startEdge(directory, edgePlants),
      TokenServer.start(TOKEN_SECONDS),
    ]);
    return new Fleet({ ledger, stage, edge, tokens, directory, engine });
  }

  networkOf(device: Device): FaultProxy {
    return this.networks.get(device)!;
  }

  /** A new device; with `beside` it has that one's network, owner and profile. */
  async add(name: string, { config = {}, beside, profile }: AddOptions = {}): Promise<Device> {
    const network = beside ? this.networkOf(beside) : await new FaultProxy(this.edge.port).start();
    const device = new Device({
      name,
      stage: this.stage.url,
      ledger: this.ledger,
      config: {
        edge: network.url,
        path: LOG,
        tokens: this.tokens.urlOf(beside?.name ?? name),
        engine: this.engine,
        ...config,
      },
      ...(profile !== undefined && { profile }),
    });
    this.networks.set(device, network);
    this.devices.push(device);
    return device.start();
  }

  async remove(device: Device): Promise<void> {
    this.devices.splice(this.devices.indexOf(device), 1);
    const network = this.networkOf(device);
    this.networks.delete(device);
    await device.end();
    if (![...this.networks.values()].includes(network)) await network.stop();
  }

  /** The device's profile is copied while its browser is down; then both run. */
  async copyOf(device: Device): Promise<Device> {
    const profile = newFolder("copy");
    copyProfile(device.profile, profile);
    return this.add(`${device.name} copy ${++this.#copies}`, { beside: device, profile });
  }

  get tabs(): { readonly device: Device; readonly tab: SyncTab }[] {
    return this.devices.flatMap((device) => device.tabs.map((tab) => ({ device, tab })));
  }

  /**
   * The person signs in, on every device that has the same account: a copy of the profile may have been the one that
   * was told that nobody is. A tab that is killed meanwhile has nobody in front of it.
   */
  async signIn(device: Device): Promise<void> {
    const network = this.networkOf(device);
    const theirs = this.tabs.filter((each) => this.networkOf(each.device) === network);
    await Promise.all(theirs.map(({ tab }) => tab.call("authenticate").catch(() => undefined)));
  }

  // --- level -------------------------------------------------------------------------------------------------------

  /**
   * Waits until every tab has stopped writing, all is at the edge, and every device holds what the edge holds. Returns
   * what was waited for, and what each device said of itself then, once a second.
   */
  async level(ms = PATIENCE_MS): Promise<string[]> {
    const started = performance.now();
    const waits: string[] = [];
    let now = "";
    const timer = setInterval(() => {
      const at = `${((performance.now() - started) / 1000).toFixed(0)} s, ${now}`;
      void this.standing().then((all) => waits.push(...all.map((each) => `${at}: ${each}`)));
    }, LOOK_MS);
    const wait = (what: string, work: (tab: SyncTab) => Promise<unknown>): Promise<void> => {
      now = what;
      return within(this.#all(work), what, ms);
    };
    try {
      await wait("an append", (tab) => tab.call("rest"));
      await wait("sending what was written", (tab) => tab.call("holds", 0));
      const end = await endOf(this.edge.url, LOG);
      await wait("receiving what the edge has", (tab) => tab.call("holds", end));
      await wait("telling each record its place", placed);
    } finally {
      clearInterval(timer);
    }
    return waits;
  }

  async #all(work: (tab: SyncTab) => Promise<unknown>): Promise<void> {
    await Promise.all(this.tabs.map(({ tab }) => work(tab)));
  }

  /** What each tab says of itself, one line each, for people. */
  async standing(): Promise<string[]> {
    return Promise.all(
      this.tabs.map(async ({ device, tab }) => {
        const brief = await within(tab.call("brief"), "", 2_000).catch(() => undefined);
        return `${device.name}.${tab.number}: ${brief ? briefly(brief) : "no answer"}`;
      }),
    );
  }

  /** Every tab and a new device hold what the edge holds. Returns what does not. */
  async compare(): Promise<{ readonly edge: [number, string][]; readonly differ: string[] }> {
    const edge = await readEdge(this.edge.url, LOG);
    const digest = await digestOf(edge);
    const differ: string[] = [];
    const look = async (name: string, tab: SyncTab): Promise<void> => {
      const held = await within(tab.call("held"), `reading all in ${name}`);
      if (held.digest !== digest || held.records !== edge.length)
        differ.push(`${name} holds ${held.records} records from ${held.firstOffset} on, the edge ${edge.length}`);
    };
    for (const { device, tab } of this.tabs) await look(`${device.name}.${tab.number}`, tab);
    const fresh = await this.add("fresh");
    const tab = await fresh.open();
    await within(tab.call("holds", edge.length), "a new device");
    await look("a new device", tab);
    return { edge, differ };
  }

  async end(): Promise<void> {
    for (const device of [...this.devices]) await this.remove(device);
    await this.tokens.stop();
    await this.edge.kill();
    await this.stage.close();
    removeFolder(this.directory);
  }
}

export interface FleetOptions {
  /** A bug in the devices' product. */
  readonly plant?: Plant | undefined;
  /** Replacements in the edge's worker; default: small segments. */
  readonly edgePlants?: readonly PlantedBug[] | undefined;
  readonly engine?: Engine | undefined;
}

interface AddOptions {
  readonly config?: Partial<DeviceConfig>;
  readonly beside?: Device;
  readonly profile?: string;
}

/** In one line. What goes without saying is left out. */
function briefly({ role, status, unanswered, unplaced, closed }: Brief): string {
  const { state = "no sync", reason, error, nextTryAt } = status ?? {};
  const topic = status?.topics[TOPIC];
  const parts = [
    `${role}, ${state}${reason ? ` (${reason})` : ""}`,
    topic && `topic ${topic.state}, ${topic.pending.records} pending, at ${topic.watermark}`,
    topic?.behind && `${topic.behind.records} behind`,
    unanswered > 0 && `${unanswered} unanswered`,
    unplaced > 0 && `${unplaced} unplaced`,
    nextTryAt !== undefined && `next try in ${((nextTryAt - Date.now()) / 1000).toFixed(1)} s`,
    error && `${error.code}: ${error.message}`,
    closed !== undefined && `closed: ${closed}`,
  ];
  return parts.filter(Boolean).join(", ");
}

async function placed(tab: SyncTab): Promise<void> {
  while ((await tab.call("brief")).unplaced > 0) await sleep(20);
}

/** Ends connections after a number of bytes, some times in a row. */
export async function stopOften(network: FaultProxy, chance: number, ms: number): Promise<void> {
  const random = new Random(Math.floor(chance * 1_000), 17);
  const until = performance.now() + ms;
  while (performance.now() < until) {
    const before = network.effect;
    network.stopAfter(random.pick<Way>(["up", "down"]), random.between(1, random.pick([60, 600, 4_000])));
    while (network.effect === before && performance.now() < until) await sleep(10);
  }
}
