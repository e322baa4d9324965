/**
 * A history of sync: devices with links, sessions and storage of their own, one edge of the Worker's own code, and what
 * goes wrong between them (faults.ts). Then all is healed, and within so much time everybody must be level, or wait for
 * a reason that the faults explain.
 *
 *   seed ─▶ kind of world ─▶ steps: appends, faults, looks (judge.ts) ─▶ healed ─▶ level? ─▶ judged
 */
import { TidemarkError } from "../../../src/errors.ts";
import { Random } from "../prng.ts";
import { Device, type DeviceWorld, type Opening, type OpeningOptions } from "./device.ts";
import { type EdgeBackup, SimEdge } from "./edge.ts";
import { FAULTS } from "./faults.ts";
import { kindOf, type SyncPlan, Wide, type WorldKind } from "./kinds.ts";
import { MadeBatches } from "./made-batches.ts";
import { Judge } from "./judge.ts";
import type { NamedRecord } from "./records.ts";
import { SimDisk } from "./storage.ts";
import { Person } from "./person.ts";
import { SimTime } from "./time.ts";
import { OWNER, TokenDesk } from "./tokens.ts";

export interface HistoryResult {
  readonly failed: string | undefined;
  readonly faults: Readonly<Record<string, number>>;
  readonly records: number;
}

/** Healed, everybody must be level within so much. */
const HEAL_MS = 120_000;
const STEP_MS = 400;
/** Often the next fault comes while the step before is still under way. */
const HASTE_MS = 16;
/** At times nothing happens for long. */
const QUIET_MS = 90_000;
/** How many of the steps are followed by a look at a device. */
const LOOK_SHARE = 0.25;
/** What an append may be answered; behind a refused one others are out of order. */
const REFUSALS: ReadonlySet<string> = new Set(["OUTBOX_FULL", "QUOTA_EXCEEDED", "OUT_OF_ORDER_SEQUENCE"]);
/** A volume that failed is opened again within so long. */
const REOPEN_MS = 1_000;
/** After these, what is done at the edge may fail. */
const TROUBLES_EDGE: ReadonlySet<string> = new Set(["edge power", "edge full", "power in seal"]);
const KEYS = 4;
/** Of requests over HTTP. */
const HTTP_FAULT_SHARE = 0.15;
/** Every so-manieth record is large where any is. */
const LARGE_EACH = 5;
const LARGE_BYTES = 700;
const AGE_MS = 60_000;

export class World {
  readonly random: Random;
  readonly time: SimTime;
  readonly edge: SimEdge;
  readonly kind: WorldKind;
  readonly desk: TokenDesk | undefined;
  readonly devices: Device[] = [];
  readonly backups = new Map<Device, Pick<Device, "disk" | "outbox" | "offer">>();
  edgeBackup: EdgeBackup | undefined;
  readonly discarded = new Set<string>();
  /** Records that a person has set aside, or has begun to. */
  readonly aside = new Set<string>();
  readonly made = new MadeBatches();
  readonly isLateForMessages: boolean;
  readonly counts: Record<string, number> = {};
  failed: string | undefined;
  isHealing = false;
  readonly person: Person;
  readonly #judge: Judge;
  #records = 0;
  #ids = 0;
  #isEdgeTroubled = false;
  readonly #wide: Wide | undefined;

  constructor(seed: number, plan: SyncPlan) {
    this.random = new Random(seed, 0x5c);
    const { random } = this;
    this.#wide = plan === "wide" ? new Wide(seed) : undefined;
    const kind = kindOf(random);
    this.kind = this.#wide?.kind(kind) ?? kind;
    this.isLateForMessages = this.kind.late;
    this.time = new SimTime(random);
    const outboxes = { hotMax: random.pick([1, 2, 16_384]), ...(this.kind.forgets && { maxAgeMs: AGE_MS }) };
    this.edge = new SimEdge(this.time, { outboxes }, (why) => this.fail(why));
    this.edge.onStruck = (name) => this.count(name);
    this.edge.onPush = (socket, owner) => this.#checkOwner(socket, owner);
    this.#judge = new Judge(this);
    this.person = new Person(this);
    const { time, edge } = this;
    if (this.kind.tokens)
      this.desk = new TokenDesk({
        random,
        now: () => edge.now(),
        mayFail: () => !this.isHealing,
        count: (fault) => this.count(fault),
        sleep: (ms) => time.sleep(ms),
      });
  }

  readonly httpFault: DeviceWorld["httpFault"] = (faults) => {
    if (this.isHealing || !this.random.chance(HTTP_FAULT_SHARE)) return undefined;
    const fault = this.random.pick(faults);
    this.count(fault);
    return fault;
  };

  newRecord(isPoison = false): NamedRecord {
    const name = `${isPoison ? "p" : "r"}${this.#records++}`;
    const key = this.kind.compacts ? `k${this.random.int(KEYS)}` : undefined;
    return { name, key, isPoison, padding: this.kind.large && this.#records % LARGE_EACH === 0 ? LARGE_BYTES : 0 };
  }
  newId(): string {
    return (++this.#ids).toString(16).padStart(16, "0");
  }
  fail(why: string): void {
    this.failed ??= why;
  }
  count(name: string): void {
    this.counts[name] = (this.counts[name] ?? 0) + 1;
  }
  has(...names: readonly string[]): boolean {
    return names.some((name) => this.counts[name]);
  }

  /** I9. */
  #checkOwner(socket: object, owner: string): void {
    const device = this.devices.find(({ opening }) => opening?.socket === socket || opening?.http === socket);
    const noted = device?.opening?.storage?.store.outboxNote.owner;
    if (noted !== undefined && noted !== owner) this.fail(`leak: ${device!.name} pushes as ${owner}, not ${noted}`);
  }

  hear(opening: Opening, news: string): void {
    if (!opening.isCurrent) return;
    this.count(news);
    if (news === "blocked") this.person.asked(opening);
    if (news === "stopped") this.person.stopped(opening);
    if (news === "failed") {
      // The volume must be opened again.
      const { device } = opening;
      this.time.after(this.random.int(REOPEN_MS), () => {
        if (device.opening !== opening) return;
        device.crash("process");
        device.open();
      });
    }
  }

  async run(steps: number): Promise<HistoryResult> {
    this.edge.wake();
    if (this.random.chance(0.8)) await this.time.until(this.edge.make());
    for (let i = this.random.between(1, 3); i > 0; i--) this.add(SimDisk.made(this.random), []);
    for (let i = 0; i < steps && !this.failed; i++) {
      await this.#step();
      await this.time.run(this.#pace());
      if (this.random.chance(LOOK_SHARE)) await this.#judge.look(this.random.pick(this.devices));
    }
    if (!this.failed) await this.#heal();
    if (!this.failed) for (const device of this.devices) if (this.#isLevel(device)) await this.#judge.level(device);
    for (const device of this.devices) device.crash("process");
    this.edge.end();
    return { failed: this.failed, faults: this.counts, records: this.#records };
  }

  #pace(): number {
    const { random } = this;
    const roll = random.int(1000);
    return random.int(roll < 8 ? QUIET_MS : roll < 500 ? HASTE_MS : STEP_MS);
  }

  add(disk: SimDisk, outbox: Device["outbox"]): Device {
    const { random } = this;
    const options: OpeningOptions = {
      settings: { indexMax: random.pick([2, 20, 65_536]), outboxBytesMax: random.pick([2_000, 1 << 28]) },
      from: random.pick(["earliest", "earliest", "latest", { last: 3 }] as const),
    };
    const device = new Device(this, `device ${this.devices.length}`, disk, options);
    device.outbox = outbox;
    this.devices.push(device);
    device.open();
    return device;
  }

  async #step(): Promise<void> {
    const { random } = this;
    const open = this.devices.filter(({ isOpen }) => isOpen);
    if (random.chance(0.5) && open.length > 0) {
      const device = random.pick(open);
      for (let i = random.between(1, 4); i > 0; i--) this.#append(device);
      return;
    }
    const faults = FAULTS.filter(({ when }) => !when || this.kind[when]);
    const shares = faults.map(({ name, share }) => share * (this.#wide?.times(name) ?? 1));
    let roll = random.int(shares.reduce((sum, share) => sum + share, 0));
    const fault = faults.find((_, i) => (roll -= shares[i]!) < 0)!;
    if (TROUBLES_EDGE.has(fault.name)) this.#isEdgeTroubled = true;
    try {
      if (await this.time.until(Promise.resolve(fault.strike(this)))) this.count(fault.name);
    } catch (thrown) {
      // What is done at an edge whose power was cut or that is full may fail.
      if (!this.#isEdgeTroubled) this.fail(`${fault.name} fails: ${(thrown as Error).stack ?? String(thrown)}`);
    }
  }

  #append(device: Device): void {
    const { random } = this;
    const isPoison = this.kind.poison && random.chance(0.06);
    if (isPoison) this.count("poison");
    const records = Array.from({ length: random.between(1, 3) }, () => this.newRecord(isPoison));
    device.opening!.append(records).catch((thrown: unknown) => this.#refused(device, thrown));
  }

  #refused(device: Device, thrown: unknown): void {
    const error = TidemarkError.from(thrown);
    if (REFUSALS.has(error.code)) return this.count(error.code);
    if (error.details["poisoned"] || error.code === "CLOSED") return this.count("append refused");
    this.fail(`${device.name} does not take an append: ${error.stack}`);
  }

  // --- the end -----------------------------------------------------------------------------------------------------

  #allGood(): void {
    const { edge } = this;
    this.isHealing = true;
    edge.isReachable = true;
    edge.cutAfter = Infinity;
    edge.refuses = undefined;
    edge.wholeAgain();
    for (const device of this.devices) {
      device.disk.isFull = false;
      device.disk.trap = undefined;
      const { opening } = device;
      opening?.gate.wake();
      opening?.socket?.release();
      device.open();
    }
  }

  async #heal(): Promise<void> {
    this.edge.wholeAgain();
    await this.time.run(REOPEN_MS);
    await this.time.until(this.edge.make());
    for (let waited = 0; waited < HEAL_MS; waited += 1_000) {
      if (waited === 0) this.#allGood();
      await this.time.run(1_000);
      if (this.failed) return;
      for (const device of this.devices) this.#again(device);
      if (this.devices.every((device) => this.#isLevel(device) || this.#isExplained(device))) return;
    }
    const states = this.devices.map((device) => this.#describe(device));
    this.fail(`liveness: not level after ${HEAL_MS} ms, edge ends at ${this.edge.committed}: ${states.join("; ")}`);
  }

  /** What a person does in the end. */
  #again(device: Device): void {
    const { opening } = device;
    const state = opening?.session?.state;
    // A token of another owner stops a topic until the tide is opened anew.
    if (state?.at === "stopped" && state.code === "OWNER_CHANGED" && !this.#isExplained(device))
      device.crash("process");
    device.open();
    const at = opening?.link?.state;
    if (at?.at === "paused") {
      opening!.link!.step({ on: "resume" });
      opening!.link!.step({ on: "authenticate" });
    }
    if (opening?.session?.state.at === "blocked") this.person.asked(opening);
  }

  #isLevel(device: Device): boolean {
    const { opening } = device;
    const { session, storage } = opening ?? {};
    if (!device.isOpen || !session || !storage) return false;
    const { store } = storage;
    return (
      session.state.at === "live" &&
      session.edgeStart === this.edge.start &&
      store.firstUnsettled === store.end &&
      store.outboxNote.offering === undefined &&
      store.watermark === session.edgeEnd &&
      store.watermark === this.edge.committed
    );
  }

  /** It waits for a person, for a reason that the faults explain. */
  #isExplained({ opening }: Device): boolean {
    const { storage } = opening ?? {};
    const state = opening?.session?.state;
    if (state?.at === "stopped") {
      // The first token that it had was another one's.
      if (state.code === "OWNER_CHANGED") return opening!.storage!.store.outboxNote.owner !== OWNER;
      if (state.code === "DIVERGED") return this.has("put back", "remove");
      return state.code === "REPLACED" && this.has("remove", "put back");
    }
    const block = opening?.session?.block;
    if (state?.at !== "blocked") return false;
    // Its id was registered under another one's token, and the answer was lost.
    if (block?.code === "FORBIDDEN") return this.has("token of another owner") && !storage!.store.outboxNote.registered;
    return block?.code === "STREAM_CLOSED" && this.edge.isClosed;
  }

  #describe(device: Device): string {
    const { opening, name } = device;
    if (!opening?.session || !opening.storage) return `${name} is not open`;
    const { session, link, storage } = opening;
    const { start, end, firstUnsettled, watermark, outboxNote: note } = storage.store;
    const { state, block } = session;
    const at = { link: link!.state, session: state, block, start, end, firstUnsettled, watermark, note };
    return `${name} ${JSON.stringify(at)}`;
  }
}
