/**
 * A world of the simulation of sync whose history is written down step by step (histories.ts), where world.ts draws it.
 * Device, edge and judges are the same.
 *
 *   stage.device() ─▶ write, run, until ─▶ faults by hand: edge.…, device.crash() ─▶ look, level ─▶ failed?
 */
import type { ReplicaStart } from "../../../src/sync/replica-start.ts";
import { Random } from "../prng.ts";
import { Device } from "./device.ts";
import { PATH, SimEdge } from "./edge.ts";
import { SimFront } from "./front.ts";
import { Judge } from "./judge.ts";
import { MadeBatches } from "./made-batches.ts";
import type { NamedRecord } from "./records.ts";
import { SimDisk } from "./storage.ts";
import { SimTime } from "./time.ts";
import type { TokenDesk } from "./tokens.ts";
import type { DeviceTopic, TopicLife } from "./topic-life.ts";
import { WINDOWS } from "./wire-judge.ts";

/** What is waited for comes within so long. */
const WAIT_MS = 120_000;
const STEP_MS = 5;
/** The edge's registry forgets what nobody has used for so long. */
const AGE_MS = 86_400_000;

export interface StagedDevice {
  /** Batches in an outbox's index. Default: all. */
  readonly indexMax?: number;
  readonly disk?: SimDisk;
  /** Where its copies begin. Default: with all. */
  readonly from?: ReplicaStart;
}

export class Stage {
  readonly random: Random;
  readonly time: SimTime;
  readonly front: SimFront;
  /** A log for each topic. */
  readonly edges: readonly SimEdge[];
  /** The first of them. */
  readonly edge: SimEdge;
  /** What pages answer who are asked for a token. Default: none is needed. */
  desk: TokenDesk | undefined;
  readonly httpFault = (): undefined => undefined;
  readonly made = new MadeBatches();
  readonly isLateForMessages = true;
  /** The windows of devices that are opened from now on. */
  windows = WINDOWS;
  readonly discarded = new Set<string>();
  readonly aside = new Set<string>();
  readonly devices: Device[] = [];
  readonly counts: Record<string, number> = {};
  readonly judge: Judge;
  failed: string | undefined;
  #records = 0;
  #ids = 0;

  readonly seed: number;

  /** All histories have devices that are late for messages: it makes a difference only for those that sleep. */
  constructor(seed = 1, topics = 1) {
    this.seed = seed;
    this.random = new Random(seed, 0x5c);
    this.time = new SimTime(this.random);
    const front = (this.front = new SimFront(this.time));
    this.edges = Array.from({ length: topics }, (_, i) => {
      const at = { front, path: i === 0 ? PATH : `${PATH}${i}` };
      return new SimEdge(this.time, { outboxes: { maxAgeMs: AGE_MS } }, (why) => this.fail(why), at);
    });
    this.edge = this.edges[0]!;
    this.judge = new Judge(this);
    for (const edge of this.edges) edge.wake();
  }

  get topics(): readonly DeviceTopic[] {
    return this.devices.flatMap(({ topics }) => topics);
  }
  newId(): string {
    return (++this.#ids).toString(16).padStart(16, "0");
  }
  readonly fail = (why: string): void => {
    this.failed ??= why;
  };
  hear(_: TopicLife, news: string, where?: string): void {
    const name = where === undefined ? news : `${news} ${where}`;
    this.counts[name] = (this.counts[name] ?? 0) + 1;
  }

  device({ indexMax = 65_536, disk = SimDisk.made(this.random), from = "earliest" }: StagedDevice = {}): Device {
    const settings = { indexMax, outboxBytesMax: 1 << 28 };
    const topics = this.edges.map((edge) => ({ edge, settings, from }));
    const device = new Device(this, `device ${this.devices.length}`, disk, topics);
    this.devices.push(device);
    device.open();
    return device;
  }

  record(more: Partial<NamedRecord> = {}): NamedRecord {
    return { name: `r${this.#records++}`, key: undefined, isPoison: false, ...more };
  }

  /** One batch of so many records. Resolves when it is flushed here; others are their own batches. */
  async write(device: Device, records: readonly NamedRecord[] = [this.record()]): Promise<void> {
    await this.until(`${device.name} is not open`, () => device.isOpen);
    await this.time.until(device.opening!.append(records));
  }

  run(ms: number): Promise<void> {
    return this.time.run(ms);
  }

  /** Lets time go on until it is so. */
  async until(what: string, isSo: () => boolean): Promise<void> {
    for (let waited = 0; waited < WAIT_MS; waited += STEP_MS) {
      if (this.failed || isSo()) return;
      await this.time.run(STEP_MS);
    }
    this.fail(`liveness: ${what}`);
  }

  /** A topic of a device is; all of a device's are. */
  isLevel(of: Device | DeviceTopic): boolean {
    if (of instanceof Device) return of.topics.every((topic) => this.isLevel(topic));
    const { opening, isOpen, edge } = of;
    const { session, storage } = opening ?? {};
    if (!isOpen || session?.state.at !== "live") return false;
    const { firstUnsettled, end, watermark, replicaNote } = storage!.store;
    if (replicaNote?.stale !== undefined) return false;
    if (session.atEdge.start !== edge.start || session.atEdge.end !== edge.committed) return false;
    return firstUnsettled === end && watermark === edge.committed;
  }

  level(of: Device | DeviceTopic): Promise<void> {
    return this.until(`${of.name} is not level`, () => this.isLevel(of));
  }

  /** All are level, or those of a device's topics that are named; and they hold what they must. */
  async end(those = ({ topics }: Device): readonly DeviceTopic[] => topics): Promise<void> {
    const topics = this.devices.flatMap(those);
    await this.until("not all are level", () => topics.every((topic) => this.isLevel(topic)));
    for (const topic of topics) if (!this.failed) await this.judge.level(topic);
    for (const device of this.devices) device.crash("process");
    for (const edge of this.edges) edge.end();
  }
}
