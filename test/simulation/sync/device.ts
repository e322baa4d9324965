/**
 * A device of a simulation of sync: a disk that outlives everything, and its openings. Each opening has a link, and for
 * each topic a session and the storage of src/sync (topic-life.ts), under a term of its own.
 *
 *   disk ── opening 1 (crashed) ── opening 2 (hangs, wakes later, finds that its lock is gone) ── opening 3 (leads)
 *
 * An opening sees time, messages and its disk through its gate (gate.ts).
 */
import { TidemarkError } from "../../../src/errors.ts";
import type { Wire } from "../../../src/sync/edge-socket.ts";
import { decodeFrame } from "../../../src/sync/frames.ts";
import { HttpWire } from "../../../src/sync/http-wire.ts";
import { SyncLink } from "../../../src/sync/link.ts";
import type { Session } from "../../../src/sync/session.ts";
import type { SyncHost } from "../../../src/sync/sync-host.ts";
import type { Range } from "../../../src/sync/topic-store.ts";
import { WindowBudget, type WindowSizes } from "../../../src/sync/window-budget.ts";
import type { Random } from "../prng.ts";
import type { SimEdge } from "./edge.ts";
import type { SimFront } from "./front.ts";
import { Gate } from "./gate.ts";
import { HttpWay, type HttpWayHost, pathOf } from "./http-way.ts";
import type { MadeBatches } from "./made-batches.ts";
import type { SimSocket } from "./network.ts";
import { EDGE_URL, type OpenedTopic, OpenedVolume } from "./opened-topic.ts";
import type { NamedRecord } from "./records.ts";
import type { SimDisk } from "./storage.ts";
import type { SimTime } from "./time.ts";
import type { TokenDesk } from "./tokens.ts";
import { DeviceTopic, TopicLife, type TopicOptions, type TopicPast } from "./topic-life.ts";
import { type Speaking, WireJudge } from "./wire-judge.ts";

/** An operation of a volume takes less than so long. */
const PAUSE_MS = 4;
/** Proof that the life lock is held takes less than so long. */
const PROOF_MS = 3;
/** What a browser's timers can wait for. */
const TIMER_MS_MAX = 2 ** 31 - 1;
/** Tokens that are asked for in a second. */
const ASKS_MAX = 20;

export interface DeviceWorld {
  readonly random: Random;
  readonly time: SimTime;
  readonly front: SimFront;
  readonly desk: TokenDesk | undefined;
  readonly made: MadeBatches;
  readonly isLateForMessages: boolean;
  /** The largest window of a follow. */
  readonly windows: WindowSizes;
  newId(): string;
  /** The fault that a request over HTTP meets. */
  readonly httpFault: HttpWayHost["fault"];
  fail(why: string): void;
  /** A session blocked or stopped, or its volume must be opened again. */
  /** `where`: of a quota. */
  hear(life: TopicLife, news: string, where?: string): void;
}

export class Opening {
  readonly device: Device;
  readonly gate: Gate;
  /** Judges what goes over the newest socket. */
  judge: WireJudge;
  readonly lives: TopicLife[];
  readonly sessions = new Set<Session>();
  readonly host: SyncHost;
  /** The end of what was flushed of each topic when the newest proof of the term began, and when that proof ended. */
  #proved: { readonly ends: ReadonlyMap<string, number>; readonly at: number } = { ends: new Map(), at: -Infinity };
  link: SyncLink | undefined;
  socket: SimSocket | undefined;
  /** In place of a socket, where WebSockets don't get through. */
  http: object | undefined;
  #volume: OpenedVolume | undefined;
  /** When tokens were asked for, within a second. */
  #asks: readonly number[] = [];
  /** How often it has joined. */
  joins = 0;
  /** Tokens of which this opening was told that they are refused. */
  readonly #refused = new Set<string>();
  readonly #token = {
    given: (text: string | undefined): void => {
      if (!this.#refused.has(text ?? "")) return;
      this.#world.fail(`storm: ${this.device.name} sends a refused token again`);
    },
    refused: (text: string | undefined): void => void (text !== undefined && this.#refused.add(text)),
  };
  readonly #world: DeviceWorld;
  readonly #disk: SimDisk;

  constructor(device: Device) {
    this.device = device;
    this.#world = device.world;
    this.#disk = device.disk;
    this.gate = new Gate(this.#world.isLateForMessages);
    this.judge = new WireJudge(this.#speaking());
    this.host = this.#newHost();
    this.lives = device.topics.map((topic) => new TopicLife(this, topic));
    this.#open().catch((thrown: unknown) => this.#failed(thrown));
  }

  #failed(thrown: unknown): void {
    if (this.gate.isOver) return;
    const { code, details } = TidemarkError.from(thrown);
    if (code === "QUOTA_EXCEEDED" || details["poisoned"]) this.#world.hear(this.lives[0]!, "failed");
    else this.#world.fail(`${this.device.name} does not open: ${String(thrown)}`);
  }

  #speaking(): Speaking {
    const opening = this;
    const world = this.#world;
    const disk = this.#disk;
    return {
      name: this.device.name,
      proved: (path) => ({ end: opening.#proved.ends.get(path) ?? 0, at: opening.#proved.at }),
      now: () => world.time.ms,
      isDurable: (batch) => disk.isDurable(batch),
      made: world.made,
      windows: world.windows,
      fail: (why) => world.fail(why),
      joins: () => void opening.joins++,
      token: this.#token,
    };
  }

  // The first topic's: histories that are written down have no other.
  get storage(): OpenedTopic | undefined {
    return this.lives[0]!.storage;
  }
  get session(): Session | undefined {
    return this.lives[0]!.session;
  }
  get unanswered(): readonly string[] {
    return this.lives[0]!.unanswered;
  }
  append(records: readonly NamedRecord[]): Promise<boolean> {
    return this.lives[0]!.append(records);
  }
  unblock(again: readonly Range[] = []): void {
    this.lives[0]!.unblock(again);
  }
  offerAgain(agreedTo: number): Promise<void> {
    return this.lives[0]!.offerAgain(agreedTo);
  }

  /** True once all topics are open; one may be left meanwhile. */
  get isOpen(): boolean {
    return this.#volume !== undefined && !this.gate.isOver;
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
    const { device, host, sessions, lives } = this;
    const world = this.#world;
    const volume = await OpenedVolume.open(this.#disk, {
      newId: () => world.newId(),
      pause: () => this.#pause(),
      now: () => world.time.ms + device.clockMs,
    });
    for (const life of lives) {
      await life.open(volume);
      if (this.gate.isOver) return volume.stop();
      this.link ??= new SyncLink({
        host,
        url: EDGE_URL,
        sessions,
        windows: new WindowBudget(world.windows),
        changed: () => this.#looked(this.link!),
        token: () => {},
      });
      const session = life.begin(volume.term);
      if (this.link.socket) session.attach(this.link.socket);
      else if (life === lives[0]) this.link.step({ on: "wanted" });
    }
    this.#volume = volume;
  }

  /** The topic is left, and opened again `ms` later, while the others go on. */
  async leave(life: TopicLife, ms: number): Promise<void> {
    await life.leave();
    await this.#world.time.sleep(ms);
    if (!this.gate.isOver && this.#volume) await this.renew(life);
  }

  /** A topic that was closed is opened again. */
  async renew(closed: TopicLife): Promise<void> {
    const volume = this.#volume!;
    this.sessions.delete(closed.session!);
    const life = new TopicLife(this, closed.topic);
    this.lives[this.lives.indexOf(closed)] = life;
    await life.open(volume).catch((thrown: unknown) => this.#failed(thrown));
    if (this.gate.isOver || !life.storage) return;
    const session = life.begin(volume.term);
    const { socket } = this.link!;
    if (socket) session.attach(socket);
  }

  /** The link has given up a socket for its silence only if it has heard all that came. */
  #looked({ failure }: SyncLink): void {
    if (failure?.message !== "the connection has ended (0)" || this.judge.unheardAt !== this.#world.time.ms) return;
    this.#world.fail(`storm: ${this.device.name} gives up a socket that has answered`);
  }

  #newHost(): SyncHost {
    const { time, front, random, desk } = this.#world;
    const { gate, device } = this;
    const after = (ms: number, work: () => void): (() => void) => {
      if (ms > TIMER_MS_MAX) this.#world.fail(`storm: a timer of ${ms} ms, which hosts run at once`);
      return time.after(ms, () => gate.pass(work));
    };
    return {
      now: () => front.now() + device.clockMs,
      monotonic: () => time.ms,
      after,
      random: () => random.int(1 << 30) / (1 << 30),
      connect: async (_, protocols): Promise<Wire> => {
        await new Promise<void>((resolve) => after(random.int(20), resolve));
        const token = protocols.find((each) => each.startsWith("bearer."))?.slice("bearer.".length);
        this.#token.given(token);
        if (device.isBarred) throw new Error("no WebSocket gets through");
        this.judge = new WireJudge(this.#speaking());
        return (this.socket = front.connect({ pass: gate.pass, watcher: this.judge }, token));
      },
      overHttp: async (url, token) => this.#overHttp(url, token, after),
      http: async ({ method, url, token }) => {
        const answer = await front.http(method, pathOf(url), token);
        if (answer.status === 401) this.#token.refused(token);
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
    const { front, httpFault: fault } = this.#world;
    const wire = {};
    const { request } = new HttpWay({ door: front, wire, pass: this.gate.pass, fault });
    const http = new HttpWire({ url, token, request, after });
    const judge = new WireJudge(this.#speaking());
    this.judge = judge;
    this.http = wire;
    this.device.isOverHttp = true;
    http.addEventListener("message", ({ data }: { data?: unknown }) => {
      const frame = data instanceof Uint8Array && decodeFrame(data);
      if (frame) judge.heard(frame);
    });
    return {
      send: (data) => {
        const frame = typeof data === "string" ? undefined : decodeFrame(data);
        if (frame) judge.sent(frame);
        http.send(data);
      },
      close: (code) => http.close(code),
      addEventListener: http.addEventListener.bind(http) as Wire["addEventListener"],
    };
  }

  async #proveTerm(): Promise<void> {
    const ends = new Map(this.lives.map(({ topic, storage }) => [topic.edge.path, storage?.store.end ?? 0]));
    await new Promise<void>((resolve) =>
      this.#world.time.after(this.#world.random.int(PROOF_MS), () => this.gate.pass(resolve)),
    );
    this.#proved = { ends, at: this.#world.time.ms };
    if (this.isCurrent) return;
    this.end();
    await new Promise<never>(() => undefined);
  }

  /** Nothing reaches it any more, and it says nothing. */
  end(): void {
    if (this.gate.isOver) return;
    this.gate.isOver = true;
    this.#volume?.stop();
    this.link?.close();
    for (const session of this.sessions) session.close();
  }

  kill(how: "process" | "power"): void {
    this.end();
    this.#volume?.kill(this.#world.random, how);
  }
}

/** A topic that a device has. */
export interface DeviceTopicOptions extends TopicOptions {
  readonly edge: SimEdge;
}

export class Device {
  readonly world: DeviceWorld;
  readonly name: string;
  readonly topics: readonly DeviceTopic[];
  disk: SimDisk;
  opening: Opening | undefined;
  /** How far this device's clock is from the edge's. */
  clockMs = 0;
  /** No WebSocket gets through, and requests do. */
  isBarred = false;
  isOverHttp = false;

  constructor(world: DeviceWorld, name: string, disk: SimDisk, topics: readonly DeviceTopicOptions[]) {
    this.world = world;
    this.name = name;
    this.disk = disk;
    this.topics = topics.map(
      ({ edge, ...options }, i) => new DeviceTopic(this, edge, i === 0 ? name : `${name}, topic ${i}`, options),
    );
  }

  // The first topic's: histories that are written down have no other.
  get edge(): SimEdge {
    return this.topics[0]!.edge;
  }
  get outbox(): DeviceTopic["outbox"] {
    return this.topics[0]!.outbox;
  }
  set outbox(outbox: DeviceTopic["outbox"]) {
    this.topics[0]!.outbox = outbox;
  }
  acked(records: readonly NamedRecord[], position: number): void {
    this.topics[0]!.acked(records, position);
  }
  get placed(): DeviceTopic["placed"] {
    return this.topics[0]!.placed;
  }
  get offer(): DeviceTopic["offer"] {
    return this.topics[0]!.offer;
  }
  get passedTo(): number {
    return this.topics[0]!.passedTo;
  }

  get isOpen(): boolean {
    return this.opening?.isOpen === true && !this.opening.gate.isAsleep;
  }
  get isUp(): boolean {
    return this.opening !== undefined;
  }
  get past(): readonly TopicPast[] {
    return this.topics.map(({ past }) => past);
  }

  open(): void {
    if (!this.opening) this.opening = new Opening(this);
  }

  crash(how: "process" | "power"): void {
    const { opening } = this;
    this.opening = undefined;
    opening?.kill(how);
  }

  reopen(): void {
    this.crash("process");
    this.open();
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
