/**
 * A history of sync: devices with links, sessions and outboxes of their own, one edge of the Worker's own code, and
 * what goes wrong between them. Then all is healed, and within so much time everybody must be level.
 *
 *   faults   cut     a socket ends after some message, either way; half of the time what it had sent comes late
 *            away    the edge can't be reached for a while
 *            crash   a device's memory goes; its disk is opened anew, with a higher term
 *            reset   the edge's object starts anew: its memory goes, its rows stay
 *            copy    a device's disk is copied while it runs, and opened as another device
 *            others  somebody appends at the edge by another way
 */
import { BatchBuilder } from "../../../src/record/batch-builder.ts";
import { SyncLink } from "../../../src/sync/link.ts";
import { Session } from "../../../src/sync/session.ts";
import type { SyncHost } from "../../../src/sync/sync-host.ts";
import { kernel } from "../../unit/outbox-edge.ts";
import { Random } from "../prng.ts";
import { SimEdge, textsOf } from "./edge.ts";
import { type DeviceSettings, OpenedTopic, SimDisk } from "./storage.ts";
import { SimTime } from "./time.ts";

export const FAULTS = ["cut", "away", "crash", "power", "reset", "copy", "others"] as const;
export type Fault = (typeof FAULTS)[number];

export interface HistoryResult {
  readonly failed: string | undefined;
  readonly faults: Readonly<Record<string, number>>;
  readonly records: number;
  readonly claims: number;
}

/** Healed, everybody must be level within so much. */
const HEAL_MS = 10 * 60_000;
const STEP_MS = 400;
const HASTE_MS = 16;
const LOOK_MS = 5;
/** An operation of a volume takes less than so long. */
const PAUSE_MS = 4;
const encoder = new TextEncoder();

class Device {
  storage!: OpenedTopic;
  session!: Session;
  link!: SyncLink;
  isUp = false;
  #life = 0;
  #opened = 0;
  /** Said to be flushed, in the order of the outbox. */
  readonly acked: string[] = [];
  #sequence = 0;
  #producer = 0;
  readonly #settings: DeviceSettings;

  constructor(
    readonly world: World,
    readonly name: string,
    readonly disk: SimDisk,
  ) {
    this.#settings = { indexMax: 65_536, outboxBytesMax: 1 << 28 };
  }

  /** Its opening takes time, and may end in a crash. */
  open(): void {
    const { world, disk } = this;
    this.isUp = true;
    const life = ++this.#life;
    const pause = (): Promise<void> | undefined => {
      const ms = world.random.int(PAUSE_MS);
      return ms === 0
        ? undefined
        : new Promise((resolve) => world.time.after(ms, () => life === this.#life && resolve()));
    };
    OpenedTopic.open(disk, { newId: () => world.newId(), pause, now: () => world.time.ms, settings: this.#settings })
      .then((storage) => life === this.#life && this.#begin(storage))
      .catch((thrown: unknown) => world.fail(`${this.name} does not open: ${String(thrown)}`));
  }

  get isOpen(): boolean {
    return this.isUp && this.#opened === this.#life;
  }

  #begin(storage: OpenedTopic): void {
    const { world } = this;
    const { store } = storage;
    this.storage = storage;
    // What was not acknowledged before a crash nobody sends again here.
    this.#producer = world.random.int(2 ** 30);
    this.#sequence = 0;
    this.#opened = this.#life;
    const sessions = new Set<Session>();
    this.link = new SyncLink({ host: this.#host(), url: "http://edge", sessions, changed: () => {}, token: () => {} });
    this.session = new Session({
      host: this.#host(),
      store,
      path: "t",
      term: storage.term,
      from: "earliest",
      create: () => false,
      onTrimmed: "skip",
      fits: () => true,
      windowBytesMax: 1 << 20,
      changed: () => {},
      tell: (news) => world.hear(this, news.type),
      unauthorized: () => this.link.step({ on: "unauthorized" }),
      failed: (error) => world.fail(`${this.name}: its storage failed: ${error.message}`),
    });
    sessions.add(this.session);
    this.link.step({ on: "wanted" });
  }

  #host(): SyncHost {
    const { time, edge, random } = this.world;
    return {
      now: () => time.ms,
      monotonic: () => time.ms,
      after: (ms, work) => time.after(ms, () => this.isUp && work()),
      random: () => random.int(1 << 30) / (1 << 30),
      connect: async () => edge.connect(),
      http: async () => ({ status: 0 }),
      token: async () => undefined,
      proveTerm: async () => {
        if (!this.isUp) await new Promise<never>(() => undefined);
      },
    };
  }

  /** Acknowledged once it is flushed. */
  async append(records: number): Promise<void> {
    const names = Array.from({ length: records }, () => this.world.newRecord());
    const builder = new BatchBuilder(kernel);
    for (const name of names) builder.tryAppend({ key: null, value: encoder.encode(name), timestamp: 1_000 });
    const producer = { producerId: this.#producer, producerEpoch: 0, baseSequence: this.#sequence };
    this.#sequence += records;
    const { storage } = this;
    await storage.append(builder.build(producer));
    if (storage === this.storage && this.isOpen) this.acked.push(...names);
  }

  crash(how: "process" | "power"): void {
    const { isOpen } = this;
    this.isUp = false;
    this.#life++;
    if (!isOpen) return;
    this.storage.kill(this.world.random, how);
    this.link.close();
    this.session.close();
  }

  get isLevel(): boolean {
    if (!this.isOpen) return false;
    const { session, world } = this;
    const { store } = this.storage;
    return (
      session.state.at === "live" && store.firstUnsettled === store.end && store.watermark === world.edge.stream.tail
    );
  }
}

export class World {
  readonly random: Random;
  readonly time: SimTime;
  readonly edge: SimEdge;
  readonly devices: Device[] = [];
  readonly faults: Record<string, number> = {};
  failed: string | undefined;
  claims = 0;
  #records = 0;
  #ids = 0;

  constructor(seed: number) {
    this.random = new Random(seed, 0x5c);
    this.time = new SimTime(this.random);
    this.edge = new SimEdge(this.time);
  }

  newRecord(): string {
    return `r${this.#records++}`;
  }
  newId(): string {
    return (++this.#ids).toString(16).padStart(16, "0");
  }
  fail(why: string): void {
    this.failed ??= why;
  }
  hear(device: Device, type: string): void {
    if (type === "claimed") this.claims++;
    if (type === "stopped" || type === "blocked") {
      const { state, block } = device.session;
      this.fail(`${device.name} is ${type}: ${JSON.stringify(state)} ${JSON.stringify(block)}`);
    }
  }

  async run(steps: number): Promise<HistoryResult> {
    await this.edge.open();
    for (let i = this.random.between(1, 3); i > 0; i--) this.#add(SimDisk.made(this.random));
    for (let i = 0; i < steps && !this.failed; i++) {
      await this.#step();
      // Often the next fault comes while the step before is still under way.
      await this.time.run(this.random.int(this.random.chance(0.5) ? HASTE_MS : STEP_MS));
      for (const device of this.devices) await this.#look(device);
    }
    if (!this.failed) await this.#heal();
    if (!this.failed) await this.#check();
    for (const device of this.devices) device.crash("process");
    return { failed: this.failed, faults: this.faults, records: this.#records, claims: this.claims };
  }

  #add(disk: SimDisk): void {
    const device = new Device(this, `device ${this.devices.length}`, disk);
    this.devices.push(device);
    device.open();
  }

  #count(fault: Fault): void {
    this.faults[fault] = (this.faults[fault] ?? 0) + 1;
  }

  async #step(): Promise<void> {
    const { random } = this;
    const up = this.devices.filter(({ isOpen }) => isOpen);
    const roll = random.int(100);
    if (roll < 55 && up.length > 0) {
      const device = random.pick(up);
      for (let i = random.between(1, 4); i > 0; i--) this.#append(device, random.between(1, 3));
    } else await this.#fault(roll - 55, up);
  }

  #append(device: Device, records: number): void {
    device
      .append(records)
      .catch((thrown: unknown) => this.fail(`${device.name} does not take an append: ${String(thrown)}`));
  }

  async #fault(roll: number, up: readonly Device[]): Promise<void> {
    const { random, edge, time } = this;
    if (roll < 18) {
      this.#count("cut");
      edge.cutAfter = random.between(1, 12);
    } else if (roll < 24) {
      this.#count("away");
      edge.isReachable = false;
      edge.cutAll();
      time.after(random.int(4_000), () => (edge.isReachable = true));
    } else if (roll < 32 && up.length > 0) {
      const how = random.pick(["process", "power"] as const);
      this.#count(how === "process" ? "crash" : "power");
      const device = random.pick(up);
      device.crash(how);
      time.after(random.int(1_500), () => device.isUp || device.open());
    } else if (roll < 37) {
      this.#count("reset");
      await edge.reset();
    } else if (roll < 39 && up.length > 0 && this.devices.length < 5) {
      this.#count("copy");
      this.#add(random.pick(up).disk.copy());
    } else if (roll < 45) {
      this.#count("others");
      await edge.append(this.newRecord());
    }
  }

  /** I6: an own record is in one place, at every moment. */
  async #look(device: Device): Promise<void> {
    const shown = await this.#shown(device);
    if (!shown) return;
    const { committed, provisional, acked } = shown;
    const below = new Set(committed);
    const above = new Set(provisional);
    for (const record of acked) {
      if (!below.has(record) && !above.has(record)) return this.fail(`invisible: ${device.name}'s ${record}`);
      if (below.has(record) && above.has(record)) return this.fail(`visible twice: ${device.name}'s ${record}`);
    }
  }

  /** Undefined where it crashed meanwhile. `acked`: before anybody looked. */
  async #shown(device: Device) {
    if (!device.isOpen) return undefined;
    const acked = [...device.acked];
    const { storage } = device;
    let shown: Awaited<ReturnType<OpenedTopic["shown"]>> | undefined;
    storage.shown().then(
      (found) => (shown = found),
      (thrown: unknown) => this.fail(`${device.name} can't be read: ${String(thrown)}`),
    );
    while (!shown) {
      await this.time.run(LOOK_MS);
      if (device.storage !== storage || !device.isOpen || this.failed) return undefined;
    }
    return { acked, committed: textsOf(kernel, shown.committed), provisional: textsOf(kernel, shown.provisional) };
  }

  async #heal(): Promise<void> {
    const { edge, time } = this;
    edge.isReachable = true;
    edge.cutAfter = Infinity;
    await time.run(2_000);
    for (const device of this.devices) if (!device.isUp) device.open();
    for (let waited = 0; waited < HEAL_MS; waited += 1_000) {
      await time.run(1_000);
      if (this.failed || this.devices.every(({ isLevel }) => isLevel)) return;
    }
    const states = this.devices.map((device) => {
      if (!device.isOpen) return `${device.name} is not open`;
      const { name, session, link } = device;
      const { store } = device.storage;
      const { start, end, firstUnsettled, watermark } = store;
      const positions = { start, end, firstUnsettled, watermark, note: store.outboxNote };
      return `${name} ${JSON.stringify({ link: link.state, session: session.state, ...positions })}`;
    });
    this.fail(`liveness: not level after ${HEAL_MS} ms, edge ends at ${edge.stream.tail}: ${states.join("; ")}`);
  }

  async #check(): Promise<void> {
    const log = await this.edge.names(kernel);
    const seen = new Map<string, number>();
    log.forEach((name, offset) => {
      if (seen.has(name)) this.fail(`twice: ${name} at ${seen.get(name)} and ${offset}`);
      seen.set(name, offset);
    });
    for (const device of this.devices) {
      let last = -1;
      for (const name of device.acked) {
        const at = seen.get(name);
        if (at === undefined) return this.fail(`lost: ${device.name}'s ${name}`);
        if (at < last) return this.fail(`order: ${device.name}'s ${name} is at ${at}, behind ${last}`);
        last = at;
      }
      const shown = await this.#shown(device);
      if (shown?.committed.join() !== log.join()) return this.fail(`replica: ${device.name} differs from the edge`);
    }
  }
}
