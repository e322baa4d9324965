/**
 * A world of the simulation of sync whose history is written down step by step (histories.ts), where world.ts draws it.
 * Device, edge and judges are the same.
 *
 *   stage.device() ─▶ write, run, until ─▶ faults by hand: edge.…, device.crash() ─▶ look, level ─▶ failed?
 */
import { Random } from "../prng.ts";
import { Device, type Opening } from "./device.ts";
import { SimEdge } from "./edge.ts";
import { Judge } from "./judge.ts";
import { MadeBatches } from "./made-batches.ts";
import type { NamedRecord } from "./records.ts";
import { SimDisk } from "./storage.ts";
import { SimTime } from "./time.ts";
import type { TokenDesk } from "./tokens.ts";

/** What is waited for comes within so long. */
const WAIT_MS = 120_000;
const STEP_MS = 5;
/** The edge's registry forgets what nobody has used for so long. */
const AGE_MS = 86_400_000;

export interface StagedDevice {
  /** Batches in the outbox's index. Default: all. */
  readonly indexMax?: number;
  readonly disk?: SimDisk;
}

export class Stage {
  readonly random: Random;
  readonly time: SimTime;
  readonly edge: SimEdge;
  /** What pages answer who are asked for a token. Default: none is needed. */
  desk: TokenDesk | undefined;
  readonly httpFault = (): undefined => undefined;
  readonly made = new MadeBatches();
  readonly isLateForMessages = true;
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
  constructor(seed = 1) {
    this.seed = seed;
    this.random = new Random(seed, 0x5c);
    this.time = new SimTime(this.random);
    this.edge = new SimEdge(this.time, { outboxes: { maxAgeMs: AGE_MS } }, (why) => this.fail(why));
    this.judge = new Judge(this);
    this.edge.wake();
  }

  newId(): string {
    return (++this.#ids).toString(16).padStart(16, "0");
  }
  readonly fail = (why: string): void => {
    this.failed ??= why;
  };
  hear(_: Opening, news: string, where?: string): void {
    const name = where === undefined ? news : `${news} ${where}`;
    this.counts[name] = (this.counts[name] ?? 0) + 1;
  }

  device({ indexMax = 65_536, disk = SimDisk.made(this.random) }: StagedDevice = {}): Device {
    const settings = { indexMax, outboxBytesMax: 1 << 28 };
    const device = new Device(this, `device ${this.devices.length}`, disk, { settings, from: "earliest" });
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

  isLevel({ opening, isOpen }: Device): boolean {
    const { session, storage } = opening ?? {};
    if (!isOpen || session?.state.at !== "live") return false;
    const { firstUnsettled, end, watermark, replicaNote } = storage!.store;
    if (replicaNote?.stale !== undefined) return false;
    const { committed, start: edgeStart } = this.edge;
    if (session.edgeStart !== edgeStart || session.edgeEnd !== committed) return false;
    return firstUnsettled === end && watermark === committed;
  }

  level(device: Device): Promise<void> {
    return this.until(`${device.name} is not level`, () => this.isLevel(device));
  }

  /** All are level, and hold what they must. */
  async end(): Promise<void> {
    await this.until("not all are level", () => this.devices.every((device) => this.isLevel(device)));
    for (const device of this.devices) if (!this.failed) await this.judge.level(device);
    for (const device of this.devices) device.crash("process");
    this.edge.end();
  }
}
