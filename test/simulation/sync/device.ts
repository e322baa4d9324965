/**
 * A device of a simulation of sync: a disk that outlives everything, and its openings. Each opening has a link, a
 * session and the storage of src/sync, under a term of its own.
 *
 *   disk ── opening 1 (crashed) ── opening 2 (hangs, wakes later, finds that its lock is gone) ── opening 3 (leads)
 *
 * An opening sees time, messages and its disk through its gate: while it sleeps all of that waits, and once it has
 * ended nothing comes any more.
 */
import { TidemarkError } from "../../../src/errors.ts";
import type { Wire } from "../../../src/sync/edge-socket.ts";
import type { ReplicaStart } from "../../../src/sync/replica-start.ts";
import { SyncLink } from "../../../src/sync/link.ts";
import { Session } from "../../../src/sync/session.ts";
import type { SyncHost } from "../../../src/sync/sync-host.ts";
import type { Random } from "../prng.ts";
import type { SimEdge } from "./edge.ts";
import type { SimSocket } from "./network.ts";
import { batchOf, type NamedRecord } from "./records.ts";
import { type DeviceSettings, EDGE_URL, OpenedTopic, type SimDisk } from "./storage.ts";
import { PATH } from "./edge.ts";
import type { SimTime } from "./time.ts";
import type { TokenDesk } from "./tokens.ts";

/** An operation of a volume takes less than so long. */
const PAUSE_MS = 4;
/** Proof that the life lock is held takes less than so long. */
const PROOF_MS = 3;

export interface DeviceWorld {
  readonly random: Random;
  readonly time: SimTime;
  readonly edge: SimEdge;
  readonly desk: TokenDesk | undefined;
  newId(): string;
  fail(why: string): void;
  /** A session blocked or stopped, or its volume must be opened again. */
  hear(opening: Opening, news: string): void;
}

/** What an opening sees of the world. */
class Gate {
  isOver = false;
  #asleep: (() => void)[] | undefined;

  readonly pass = (work: () => void): void => {
    if (this.isOver) return;
    if (this.#asleep) this.#asleep.push(work);
    else work();
  };
  sleep(): void {
    this.#asleep ??= [];
  }
  wake(): void {
    const waiting = this.#asleep ?? [];
    this.#asleep = undefined;
    for (const work of waiting) this.pass(work);
  }
  get isAsleep(): boolean {
    return this.#asleep !== undefined;
  }
}

export interface OpeningOptions {
  readonly settings: DeviceSettings;
  readonly from: ReplicaStart;
}

export class Opening {
  readonly device: Device;
  readonly gate = new Gate();
  storage: OpenedTopic | undefined;
  session: Session | undefined;
  link: SyncLink | undefined;
  socket: SimSocket | undefined;
  #producer = { id: 0, sequence: 0 };
  /** Tokens of which this opening was told that they are refused. */
  readonly #refused = new Set<string>();
  readonly #world: DeviceWorld;
  readonly #disk: SimDisk;

  constructor(device: Device) {
    this.device = device;
    this.#world = device.world;
    this.#disk = device.disk;
    // What was not acknowledged before a crash nobody sends again here.
    this.#newProducer();
    this.#open().catch((thrown: unknown) => {
      if (this.gate.isOver) return;
      const { code } = TidemarkError.from(thrown);
      if (code === "QUOTA_EXCEEDED") this.#world.hear(this, "failed");
      else this.#world.fail(`${device.name} does not open: ${String(thrown)}`);
    });
  }

  get isOpen(): boolean {
    return this.session !== undefined && !this.gate.isOver;
  }
  /** True while this one may speak for the disk: no later opening has begun. */
  get isCurrent(): boolean {
    return this.device.opening === this;
  }

  #pause(): Promise<void> | undefined {
    const ms = this.#world.random.int(PAUSE_MS);
    if (ms === 0 && !this.gate.isAsleep) return undefined;
    return new Promise((resolve) => this.#world.time.after(ms, () => this.gate.pass(resolve)));
  }

  async #open(): Promise<void> {
    const { device } = this;
    const world = this.#world;
    const storage = await OpenedTopic.open(this.#disk, {
      newId: () => world.newId(),
      pause: () => this.#pause(),
      now: () => world.time.ms + device.clockMs,
      settings: device.options.settings,
    });
    if (this.gate.isOver) return storage.stop();
    this.storage = storage;
    const sessions = new Set<Session>();
    const host = this.#host();
    const link = new SyncLink({ host, url: EDGE_URL, sessions, changed: () => {}, token: () => {} });
    const session = new Session({
      host,
      store: storage.store,
      path: PATH,
      term: storage.term,
      from: device.options.from,
      create: () => this.#make(),
      onTrimmed: "skip",
      fits: () => true,
      windowBytesMax: 1 << 20,
      changed: () => {},
      tell: (news) => world.hear(this, news.type),
      unauthorized: () => link.step({ on: "unauthorized" }),
      served: () => link.step({ on: "served" }),
      failed: () => world.hear(this, "failed"),
    });
    this.link = link;
    this.session = session;
    sessions.add(session);
    storage.store.listen({ appended: () => link.hint() });
    link.step({ on: "wanted" });
  }

  async #make(): Promise<void> {
    await this.#world.edge.http("PUT", undefined);
  }

  #host(): SyncHost {
    const { time, edge, random, desk } = this.#world;
    const { gate, device } = this;
    const after = (ms: number, work: () => void): (() => void) => time.after(ms, () => gate.pass(work));
    return {
      now: () => edge.now() + device.clockMs,
      monotonic: () => time.ms,
      after,
      random: () => random.int(1 << 30) / (1 << 30),
      connect: async (_, protocols): Promise<Wire> => {
        await new Promise<void>((resolve) => after(random.int(20), resolve));
        const token = protocols.find((each) => each.startsWith("bearer."))?.slice("bearer.".length);
        if (token !== undefined && this.#refused.has(token))
          this.#world.fail(`storm: ${device.name} sends a refused token again`);
        return (this.socket = edge.connect(gate.pass, token));
      },
      http: async ({ method, token }) => {
        const answer = await edge.http(method, token);
        if (answer.status === 401 && token !== undefined) this.#refused.add(token);
        return answer;
      },
      token: async () => desk?.token(),
      proveTerm: () => this.#proveTerm(),
    };
  }

  async #proveTerm(): Promise<void> {
    await new Promise<void>((resolve) =>
      this.#world.time.after(this.#world.random.int(PROOF_MS), () => this.gate.pass(resolve)),
    );
    if (this.isCurrent) return;
    this.end();
    await new Promise<never>(() => undefined);
  }

  #newProducer(): void {
    this.#producer = { id: this.#world.random.int(2 ** 30), sequence: 0 };
  }

  /** Resolves when it is flushed; false: nobody was told. */
  async append(records: readonly NamedRecord[]): Promise<boolean> {
    const producer = this.#producer;
    const batch = batchOf(records, { producerId: producer.id, producerEpoch: 0, baseSequence: producer.sequence });
    producer.sequence += records.length;
    const position = await this.storage!.append(batch).catch((thrown: unknown) => {
      // What follows a refused append would be out of order.
      if (this.#producer === producer) this.#newProducer();
      throw thrown;
    });
    if (!this.isCurrent || this.gate.isOver) return false;
    this.device.acked(records, position);
    return true;
  }

  /** Nothing reaches it any more, and it says nothing. */
  end(): void {
    if (this.gate.isOver) return;
    this.gate.isOver = true;
    this.storage?.stop();
    this.link?.close();
    this.session?.close();
  }

  kill(how: "process" | "power"): void {
    const { storage } = this;
    this.end();
    storage?.kill(this.#world.random, how);
  }
}

export class Device {
  readonly world: DeviceWorld;
  readonly name: string;
  readonly options: OpeningOptions;
  disk: SimDisk;
  opening: Opening | undefined;
  /** How far this device's clock is from the edge's. */
  clockMs = 0;
  /** Acknowledged, in the order of the outbox, by position. */
  outbox: { readonly at: number; readonly name: string }[] = [];

  constructor(world: DeviceWorld, name: string, disk: SimDisk, options: OpeningOptions) {
    this.world = world;
    this.name = name;
    this.disk = disk;
    this.options = options;
  }

  get isOpen(): boolean {
    return this.opening?.isOpen === true && !this.opening.gate.isAsleep;
  }
  get isUp(): boolean {
    return this.opening !== undefined;
  }

  open(): void {
    if (!this.opening) this.opening = new Opening(this);
  }

  acked(records: readonly NamedRecord[], position: number): void {
    records.forEach(({ name }, i) => this.outbox.push({ at: position + i, name }));
  }

  crash(how: "process" | "power"): void {
    const { opening } = this;
    this.opening = undefined;
    opening?.kill(how);
  }

  /** The leader hangs, and another one takes over with a copy of its files. Returns the one that hangs. */
  takeOver(): Opening {
    const hung = this.opening!;
    hung.gate.sleep();
    hung.socket?.hold();
    this.disk = this.disk.copy();
    this.opening = undefined;
    this.open();
    return hung;
  }
}
