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
import type { EdgeLog, Wire } from "../../../src/sync/edge-socket.ts";
import { decodeFrame } from "../../../src/sync/frames.ts";
import { HttpWire } from "../../../src/sync/http-wire.ts";
import type { ReplicaStart } from "../../../src/sync/replica-start.ts";
import { SyncLink } from "../../../src/sync/link.ts";
import { Session } from "../../../src/sync/session.ts";
import type { SyncHost } from "../../../src/sync/sync-host.ts";
import type { Random } from "../prng.ts";
import type { SimEdge } from "./edge.ts";
import { HttpWay, type HttpWayHost } from "./http-way.ts";
import type { SimSocket } from "./network.ts";
import type { MadeBatches } from "./made-batches.ts";
import { batchOf, type NamedRecord } from "./records.ts";
import { type DeviceSettings, EDGE_URL, OpenedTopic, type SimDisk } from "./storage.ts";
import { PATH } from "./edge.ts";
import type { SimTime } from "./time.ts";
import type { TokenDesk } from "./tokens.ts";
import { streamOf } from "../../../src/sync/joining.ts";
import type { Range, TakenTo } from "../../../src/sync/topic-store.ts";
import type { TopicStorage } from "../../../src/sync/topic-storage.ts";
import { WindowBudget } from "../../../src/sync/window-budget.ts";
import { type Speaking, WINDOW_BYTES, WireJudge } from "./wire-judge.ts";

/** An operation of a volume takes less than so long. */
const PAUSE_MS = 4;
/** Proof that the life lock is held takes less than so long. */
const PROOF_MS = 3;
/** Tokens that are asked for in a second. */
const ASKS_MAX = 20;
/** Looks of a claim in one millisecond. */
const LOOKS_MAX = 100;

export interface DeviceWorld {
  readonly random: Random;
  readonly time: SimTime;
  readonly edge: SimEdge;
  readonly desk: TokenDesk | undefined;
  readonly made: MadeBatches;
  readonly isLateForMessages: boolean;
  newId(): string;
  /** The fault that a request over HTTP meets. */
  readonly httpFault: HttpWayHost["fault"];
  fail(why: string): void;
  /** A session blocked or stopped, or its volume must be opened again. */
  /** `where`: of a quota. */
  hear(opening: Opening, news: string, where?: string): void;
}

/** What an opening sees of the world. */
class Gate {
  isOver = false;
  #asleep: { readonly work: () => void; readonly isMessage: boolean }[] | undefined;
  readonly #isLateForMessages: boolean;

  /** `isLateForMessages`: once it wakes, its timers are due before it hears what came meanwhile. */
  constructor(isLateForMessages: boolean) {
    this.#isLateForMessages = isLateForMessages;
  }

  readonly pass = (work: () => void, isMessage = false): void => {
    if (this.isOver) return;
    if (this.#asleep) this.#asleep.push({ work, isMessage });
    else work();
  };
  sleep(): void {
    this.#asleep ??= [];
  }
  wake(): void {
    const waiting = this.#asleep ?? [];
    this.#asleep = undefined;
    const order = this.#isLateForMessages ? waiting.toSorted((a, b) => +a.isMessage - +b.isMessage) : waiting;
    for (const { work, isMessage } of order) this.pass(work, isMessage);
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
  readonly gate: Gate;
  readonly #judge: WireJudge;
  #proved = { end: 0, at: -Infinity };
  storage: OpenedTopic | undefined;
  session: Session | undefined;
  link: SyncLink | undefined;
  socket: SimSocket | undefined;
  /** In place of a socket, where WebSockets don't get through. */
  http: object | undefined;
  #renewing: EdgeLog | undefined;
  #producer = { id: 0, sequence: 0 };
  #underway = 0;
  /** When tokens were asked for, within a second. */
  #asks: readonly number[] = [];
  /** Tokens of which this opening was told that they are refused. */
  readonly #refused = new Set<string>();
  readonly #world: DeviceWorld;
  readonly #disk: SimDisk;

  constructor(device: Device) {
    this.device = device;
    this.#world = device.world;
    this.#disk = device.disk;
    this.gate = new Gate(this.#world.isLateForMessages);
    this.#judge = new WireJudge(this.#speaking());
    // What was not acknowledged before a crash nobody sends again here.
    this.#newProducer();
    this.#open().catch((thrown: unknown) => {
      if (this.gate.isOver) return;
      const { code } = TidemarkError.from(thrown);
      if (code === "QUOTA_EXCEEDED") this.#world.hear(this, "failed");
      else this.#world.fail(`${device.name} does not open: ${String(thrown)}`);
    });
  }

  get #bytesMax(): number {
    return this.device.options.settings.outboxBytesMax;
  }

  #speaking(): Speaking {
    const opening = this;
    const world = this.#world;
    const disk = this.#disk;
    return {
      name: this.device.name,
      get proved() {
        return opening.#proved;
      },
      now: () => world.time.ms,
      isDurable: (batch) => disk.isDurable(batch),
      made: world.made,
      fail: (why) => world.fail(why),
    };
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
    this.#watchTold(storage.store);
    this.#watchLooks(storage.store);
    const sessions = new Set<Session>();
    const host = this.#host();
    const windows = new WindowBudget(WINDOW_BYTES);
    const changed = (): void => this.#looked(link);
    const link = new SyncLink({ host, url: EDGE_URL, sessions, windows, changed, token: () => {} });
    const session = new Session({
      host,
      store: storage.store,
      path: PATH,
      term: storage.term,
      from: device.options.from,
      create: () => this.#make(),
      onTrimmed: "skip",
      fits: () => true,
      refused: () => Promise.resolve(undefined),
      changed: () => this.#lookStale(),
      tell: (news) => {
        if (news.type === "offered" && device.offer) device.offer.left += news.left;
        world.hear(this, news.type, news.type === "quota" ? news.where : undefined);
      },
      unauthorized: () => link.step({ on: "unauthorized" }),
      served: () => link.step({ on: "served" }),
      failed: () => world.hear(this, "failed"),
    });
    this.link = link;
    this.session = session;
    sessions.add(session);
    storage.store.listen({ appended: () => link.hint(), drawn: () => this.#judge.excuse() });
    link.step({ on: "wanted" });
  }

  /**
   * Once the edge has said that positions are taken up to an offset, and the replica then passes that offset, no crash
   * brings them back on top (T2).
   */
  #watchTold(store: TopicStorage): void {
    const { device } = this;
    device.lookPassed(store.watermark);
    device.armed = undefined;
    const told = store.told.bind(store);
    const granted = store.granted.bind(store);
    const forgetTold = store.forgetTold.bind(store);
    const arm = (taken: TakenTo): void => {
      if (this.isCurrent && taken.next >= (device.armed?.next ?? 0))
        device.armed = store.watermark <= taken.lastOffset ? taken : undefined;
    };
    store.told = (taken) => {
      arm(taken);
      told(taken);
    };
    // Only when it is committed does the storage know that these are taken.
    store.granted = (grant) => granted(grant).then(() => arm(grant));
    store.forgetTold = () => {
      if (this.isCurrent) {
        device.lookPassed(store.watermark);
        device.armed = undefined;
      }
      forgetTold();
    };
  }

  /** A copy that may hold deleted records is made anew, once on a connection. */
  #lookStale(): void {
    const { session, storage } = this;
    const edge = session?.edge;
    if (!edge || storage?.store.replicaNote?.stale === undefined || this.#renewing === edge) return;
    this.#renewing = edge;
    const fetch = (from: number, maxBytes: number): Promise<Uint8Array> => edge.fetch(from, maxBytes);
    // The connection ended: the next one tries again.
    storage.renew({ fetch, logStartOffset: session!.edgeStart }).catch(() => undefined);
  }

  /** A claim that looks again and again in one turn would let nothing else run. */
  #watchLooks(store: TopicStorage): void {
    const claimStand = store.claimStand.bind(store);
    let looks = { at: -1, count: 0 };
    store.claimStand = (look) => {
      const at = this.#world.time.ms;
      looks = { at, count: looks.at === at ? looks.count + 1 : 1 };
      if (looks.count <= LOOKS_MAX) return claimStand(look);
      this.#world.fail(`storm: a claim of ${this.device.name} looks again without a pause`);
      return new Promise(() => undefined);
    };
  }

  /** The link has given up a socket for its silence only if it has heard all that came. */
  #looked({ failure }: SyncLink): void {
    if (failure?.message !== "the connection has ended (0)" || this.#judge.unheardAt !== this.#world.time.ms) return;
    this.#world.fail(`storm: ${this.device.name} gives up a socket that has answered`);
  }

  /** A person answers: the session joins at once. */
  unblock(again: readonly Range[] = []): void {
    this.#judge.excuse();
    this.session!.unblock(again);
  }

  async #make(): Promise<void> {
    const stream = streamOf(this.storage!.store);
    if (stream !== null)
      this.#world.fail(`wipe: ${this.device.name} makes the log anew that it has joined (${stream})`);
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
        if (device.isBarred) throw new Error("no WebSocket gets through");
        return (this.socket = edge.connect({ pass: gate.pass, watcher: this.#judge }, token));
      },
      overHttp: async (url, token) => this.#overHttp(url, token, after),
      http: async ({ method, token }) => {
        const answer = await edge.http(method, token);
        if (answer.status === 401 && token !== undefined) this.#refused.add(token);
        return answer;
      },
      token: async () => {
        this.#countAsks();
        return desk?.token();
      },
      proveTerm: () => this.#proveTerm(),
    };
  }

  /** A link waits before it tries again, so it never asks for tokens one after the other. */
  #countAsks(): void {
    const { ms } = this.#world.time;
    this.#asks = [...this.#asks.filter((at) => ms - at < 1_000), ms];
    if (this.#asks.length > ASKS_MAX) this.#world.fail(`storm: ${this.device.name} asks for tokens without a pause`);
  }

  /** What is said and heard over HTTP is judged as on a socket. */
  #overHttp(url: string, token: string | undefined, after: SyncHost["after"]): Wire {
    const { edge, httpFault: fault } = this.#world;
    const wire = {};
    const { request } = new HttpWay({ door: edge, wire, pass: this.gate.pass, fault });
    const http = new HttpWire({ url, token, request, after });
    this.http = wire;
    this.device.isOverHttp = true;
    http.addEventListener("message", ({ data }: { data?: unknown }) => {
      const frame = data instanceof Uint8Array && decodeFrame(data);
      if (frame) this.#judge.heard(frame);
    });
    return {
      send: (data) => {
        const frame = typeof data === "string" ? undefined : decodeFrame(data);
        if (frame) this.#judge.sent(frame);
        http.send(data);
      },
      close: (code) => http.close(code),
      addEventListener: http.addEventListener.bind(http) as Wire["addEventListener"],
    };
  }

  async #proveTerm(): Promise<void> {
    const { end } = this.storage!.store;
    await new Promise<void>((resolve) =>
      this.#world.time.after(this.#world.random.int(PROOF_MS), () => this.gate.pass(resolve)),
    );
    this.#proved = { end, at: this.#world.time.ms };
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
    this.#world.made.add(batch);
    const { store } = this.storage!;
    // What waits for an id, or behind such an append, is looked at later.
    const isFull = this.#underway === 0 && !store.needsName && store.pending.bytes >= this.#bytesMax;
    this.#underway++;
    const position = await this.storage!.append(batch)
      .catch((thrown: unknown) => {
        // What follows a refused append would be out of order.
        if (this.#producer === producer) this.#newProducer();
        throw thrown;
      })
      .finally(() => this.#underway--);
    if (isFull) this.#world.fail(`bounds: ${this.device.name} takes an append although its outbox is full`);
    if (!this.isCurrent || this.gate.isOver) return false;
    this.device.acked(records, position);
    return true;
  }

  /** A person lets an outbox that an edge has lost records of offer them again. The topic is opened anew. */
  async offerAgain(agreedTo: number): Promise<void> {
    const { device, storage } = this;
    const { past } = this.#world.edge.ledger;
    this.link!.close();
    this.session!.close();
    // As of the call: a crash may come behind its commit.
    const { below, kept, offered } = await storage!.keptNames(agreedTo);
    device.offer = { below: new Set(below), kept: new Set(kept), offered: new Set(offered), left: 0, past };
    await storage!.restart(agreedTo);
    if (!this.isCurrent) return;
    device.crash("process");
    device.open();
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

/** What a person let a device offer again, by names of the records of its kept copy. */
interface Offer {
  /** Where the edge said that it agreed. */
  readonly below: ReadonlySet<string>;
  readonly kept: ReadonlySet<string>;
  /** Of the kept ones those that the device knows as its own. */
  readonly offered: ReadonlySet<string>;
  /** So many stay in the kept copy only. */
  left: number;
  /** How often the edge had gone back. */
  readonly past: number;
}

export class Device {
  readonly world: DeviceWorld;
  readonly name: string;
  readonly options: OpeningOptions;
  disk: SimDisk;
  opening: Opening | undefined;
  /** How far this device's clock is from the edge's. */
  clockMs = 0;
  /** No WebSocket gets through, and requests do. */
  isBarred = false;
  isOverHttp = false;
  /** Acknowledged, in the order of the outbox, by position. */
  outbox: { readonly at: number; readonly name: string }[] = [];

  /** Behind an edge that went back. */
  offer: Offer | undefined;

  /** What the edge has said in this connection of positions that the replica had not passed. */
  armed: Pick<TakenTo, "next" | "lastOffset"> | undefined;
  /** Positions below are never provisional again. */
  passedTo = 0;

  constructor(world: DeviceWorld, name: string, disk: SimDisk, options: OpeningOptions) {
    this.world = world;
    this.name = name;
    this.disk = disk;
    this.options = options;
  }

  lookPassed(watermark: number): void {
    if (this.armed && watermark > this.armed.lastOffset) this.passedTo = Math.max(this.passedTo, this.armed.next);
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
