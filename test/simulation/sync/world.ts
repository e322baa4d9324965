/**
 * A history of sync: devices with links, sessions and storage of their own, one edge of the Worker's own code with a
 * log for each topic, and what goes wrong between them (faults.ts). Then all is healed, and within so much time
 * everybody must be level, or wait for a reason that the faults explain.
 *
 *   seed ─▶ kind of world ─▶ steps: appends, faults, looks (judge.ts) ─▶ healed ─▶ level? ─▶ judged
 */
import { TidemarkError } from "../../../src/errors.ts";
import { Random } from "../prng.ts";
import { Device, type DeviceTopicOptions, type DeviceWorld } from "./device.ts";
import { type EdgeBackup, PATH, SimEdge } from "./edge.ts";
import { FAULTS } from "./faults.ts";
import { SimFront } from "./front.ts";
import { kindOf, type SyncPlan, Wide, type WorldKind } from "./kinds.ts";
import { MadeBatches } from "./made-batches.ts";
import { Judge } from "./judge.ts";
import type { NamedRecord } from "./records.ts";
import { SimDisk } from "./storage.ts";
import { Person } from "./person.ts";
import { SimTime } from "./time.ts";
import { OWNER, TokenDesk } from "./tokens.ts";
import type { DeviceTopic, TopicLife, TopicPast } from "./topic-life.ts";
import type { WindowSizes } from "../../../src/sync/window-budget.ts";
import { WINDOWS } from "./wire-judge.ts";

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
/** The share of requests over HTTP that meet a fault. */
const HTTP_FAULT_SHARE = 0.15;
/** In histories with large records, every fifth one is large. */
const LARGE_EACH = 5;
const LARGE_BYTES = 700;
const AGE_MS = 60_000;

export class World {
  readonly random: Random;
  readonly time: SimTime;
  readonly front: SimFront;
  /** A log for each topic. */
  readonly edges: readonly SimEdge[];
  readonly kind: WorldKind;
  readonly desk: TokenDesk | undefined;
  readonly devices: Device[] = [];
  readonly backups = new Map<Device, { readonly disk: SimDisk; readonly past: readonly TopicPast[] }>();
  readonly edgeBackups = new Map<SimEdge, EdgeBackup>();
  readonly discarded = new Set<string>();
  /** Records that a person has set aside, or has begun to. */
  readonly aside = new Set<string>();
  readonly made = new MadeBatches();
  readonly isLateForMessages: boolean;
  readonly windows: WindowSizes;
  readonly counts: Record<string, number> = {};
  failed: string | undefined;
  isHealing = false;
  readonly person: Person;
  readonly #judge: Judge;
  #records = 0;
  #ids = 0;
  #isEdgeTroubled = false;
  #farUntil = 0;
  readonly #wide: Wide | undefined;

  constructor(seed: number, plan: SyncPlan) {
    this.random = new Random(seed, 0x5c);
    const { random } = this;
    this.#wide = plan === "wide" ? new Wide(seed) : undefined;
    const kind = kindOf(random);
    this.kind = this.#wide?.kind(kind) ?? kind;
    this.isLateForMessages = this.kind.late;
    this.windows = this.#wide?.windows() ?? WINDOWS;
    this.time = new SimTime(random);
    const outboxes = { hotMax: random.pick([1, 2, 16_384]), ...(this.kind.forgets && { maxAgeMs: AGE_MS }) };
    const front = (this.front = new SimFront(this.time));
    front.onStruck = (name) => this.count(name);
    this.edges = Array.from({ length: this.kind.topics }, (_, i) => {
      const at = { front, path: i === 0 ? PATH : `${PATH}${i}` };
      const edge = new SimEdge(this.time, { outboxes }, (why) => this.fail(why), at);
      edge.onStruck = (name) => this.count(name);
      edge.onPush = (socket, owner) => this.#checkOwner(edge, socket, owner);
      return edge;
    });
    this.#judge = new Judge(this);
    this.person = new Person(this);
    const { time } = this;
    if (this.kind.tokens)
      this.desk = new TokenDesk({
        random,
        now: () => front.now(),
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
  #checkOwner(edge: SimEdge, socket: object, owner: string): void {
    const device = this.devices.find(({ opening }) => opening?.socket === socket || opening?.http === socket);
    const topic = device?.topics.find((each) => each.edge === edge);
    const noted = topic?.opening?.storage?.store.outboxNote.owner;
    if (noted !== undefined && noted !== owner) this.fail(`leak: ${topic!.name} pushes as ${owner}, not ${noted}`);
  }

  hear(life: TopicLife, news: string): void {
    if (!life.isCurrent) return;
    this.count(news);
    if (news === "blocked") this.person.asked(life);
    if (news === "stopped") this.person.stopped(life);
    if (news === "failed") {
      // The volume must be opened again.
      const { opening } = life;
      this.time.after(this.random.int(REOPEN_MS), () => opening.isCurrent && opening.device.reopen());
    }
  }

  /** A topic that could not be closed, or be opened again: its volume may have failed meanwhile. */
  left(life: TopicLife, thrown: unknown): void {
    const error = TidemarkError.from(thrown);
    if (life.gate.isOver) return;
    if (!error.details["poisoned"] && error.code !== "QUOTA_EXCEEDED")
      return this.fail(`${life.topic.name} can't be left: ${error.stack ?? error.message}`);
    const { opening } = life;
    this.time.after(this.random.int(REOPEN_MS), () => opening.isCurrent && opening.device.reopen());
  }

  get topics(): readonly DeviceTopic[] {
    return this.devices.flatMap(({ topics }) => topics);
  }

  async run(steps: number): Promise<HistoryResult> {
    for (const edge of this.edges) {
      edge.wake();
      if (this.random.chance(0.8)) await this.time.until(edge.make());
    }
    for (let i = this.random.between(1, 3); i > 0; i--) this.add(SimDisk.made(this.random));
    for (let i = 0; i < steps && !this.failed; i++) {
      await this.#step();
      await this.time.run(this.#pace());
      if (this.random.chance(LOOK_SHARE)) await this.#judge.look(this.random.pick(this.topics));
    }
    if (!this.failed) await this.#heal();
    if (!this.failed) for (const topic of this.topics) if (this.#isLevel(topic)) await this.#judge.level(topic);
    for (const device of this.devices) device.crash("process");
    for (const edge of this.edges) edge.end();
    return { failed: this.failed, faults: this.counts, records: this.#records };
  }

  /** For so long nobody reaches the edge. What happens meanwhile takes a good part of that. */
  goFar(ms: number): void {
    this.front.isReachable = false;
    this.front.cutAll();
    this.#farUntil = this.time.ms + ms;
    this.time.after(ms, () => {
      if (this.isHealing) return;
      this.front.isReachable = true;
      this.count("far");
    });
  }

  /** What ends a shorter absence asks. */
  get isFar(): boolean {
    return !this.isHealing && this.#farUntil > this.time.ms;
  }

  #pace(): number {
    const { random } = this;
    const far = this.#farUntil - this.time.ms;
    if (far > 0) return random.between(1, Math.ceil(far / 2));
    const roll = random.int(1000);
    return random.int(roll < 8 ? QUIET_MS : roll < 500 ? HASTE_MS : STEP_MS);
  }

  add(disk: SimDisk, past: readonly TopicPast[] = []): Device {
    const topics = this.edges.map((edge) => ({ edge, ...this.#topicOptions() }));
    const device = new Device(this, `device ${this.devices.length}`, disk, topics);
    past.forEach((each, i) => device.topics[i]!.begin(each));
    this.devices.push(device);
    device.open();
    return device;
  }

  #topicOptions(): Omit<DeviceTopicOptions, "edge"> {
    const { random } = this;
    return {
      settings: { indexMax: random.pick([2, 20, 65_536]), outboxBytesMax: random.pick([2_000, 1 << 28]) },
      from: random.pick(["earliest", "earliest", "latest", { last: 3 }] as const),
    };
  }

  async #step(): Promise<void> {
    const { random } = this;
    const open = this.topics.filter(({ isOpen }) => isOpen);
    if (random.chance(0.5) && open.length > 0) {
      const topic = random.pick(open);
      for (let i = random.between(1, 4); i > 0; i--) this.#append(topic);
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

  #append(topic: DeviceTopic): void {
    const { random } = this;
    const isPoison = this.kind.poison && random.chance(0.06);
    if (isPoison) this.count("poison");
    const records = Array.from({ length: random.between(1, 3) }, () => this.newRecord(isPoison));
    topic.opening!.append(records).catch((thrown: unknown) => this.#refused(topic, thrown));
  }

  #refused(topic: DeviceTopic, thrown: unknown): void {
    const error = TidemarkError.from(thrown);
    if (REFUSALS.has(error.code)) return this.count(error.code);
    if (error.details["poisoned"] || error.code === "CLOSED") return this.count("append refused");
    this.fail(`${topic.name} does not take an append: ${error.stack}`);
  }

  // --- the end -----------------------------------------------------------------------------------------------------

  #allGood(): void {
    this.isHealing = true;
    this.front.isReachable = true;
    this.front.cutAfter = Infinity;
    for (const edge of this.edges) edge.wholeAgain();
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
    for (const edge of this.edges) edge.wholeAgain();
    await this.time.run(REOPEN_MS);
    for (const edge of this.edges) await this.time.until(edge.make());
    for (let waited = 0; waited < HEAL_MS; waited += 1_000) {
      if (waited === 0) this.#allGood();
      await this.time.run(1_000);
      if (this.failed) return;
      for (const device of this.devices) this.#again(device);
      if (this.topics.every((topic) => this.#isLevel(topic) || this.#isExplained(topic))) return;
    }
    const ends = this.edges.map(({ committed }) => committed).join();
    const states = this.topics.map((topic) => this.#describe(topic));
    this.fail(`liveness: not level after ${HEAL_MS} ms, edge ends at ${ends}: ${states.join("; ")}`);
  }

  /** What a person does in the end. */
  #again(device: Device): void {
    // A token of another owner stops a topic until the tide is opened anew.
    const isOthers = device.topics.some((topic) => {
      const state = topic.opening?.session?.state;
      return state?.at === "stopped" && state.code === "OWNER_CHANGED" && !this.#isExplained(topic);
    });
    if (isOthers) device.crash("process");
    device.open();
    const { link, lives } = device.opening!;
    if (link?.state.at === "paused") {
      link.step({ on: "resume" });
      link.step({ on: "authenticate" });
    }
    for (const life of lives) if (life.session?.state.at === "blocked") this.person.asked(life);
  }

  #isLevel(topic: DeviceTopic): boolean {
    const { session, storage } = topic.opening ?? {};
    if (!topic.isOpen || !session || !storage) return false;
    const { store } = storage;
    return (
      session.state.at === "live" &&
      // The follow of a closed log is over, so only the next join tells of a trim.
      (session.atEdge.start === topic.edge.start || topic.edge.isClosed) &&
      store.firstUnsettled === store.end &&
      store.outboxNote.offering === undefined &&
      store.replicaNote?.stale === undefined &&
      store.watermark === session.atEdge.end &&
      store.watermark === topic.edge.committed
    );
  }

  /** True if the topic waits for a person, for a reason that the faults explain. */
  #isExplained({ opening, edge }: DeviceTopic): boolean {
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
    return block?.code === "STREAM_CLOSED" && edge.isClosed;
  }

  #describe({ opening, name }: DeviceTopic): string {
    if (!opening?.session || !opening.storage) return `${name} is not open`;
    const { session, link, storage } = opening;
    const { start, end, firstUnsettled, watermark, outboxNote: note } = storage.store;
    const { state, block } = session;
    const at = { link: link!.state, session: state, block, start, end, firstUnsettled, watermark, note };
    return `${name} ${JSON.stringify(at)}`;
  }
}
