/**
 * A topic of a device, and its life in one opening of it: session and storage of src/sync, what was acknowledged, and
 * what was told of where it stands at the edge.
 *
 *   DeviceTopic ── TopicLife of opening 1 ── TopicLife of opening 2 ── …    a topic may be left and come back
 */
import type { EdgeLog } from "../../../src/sync/edge-socket.ts";
import type { ReplicaStart } from "../../../src/sync/replica-start.ts";
import { Session } from "../../../src/sync/session.ts";
import { streamOf } from "../../../src/sync/joining.ts";
import type { Range, SettledPositions, TakenTo } from "../../../src/sync/topic-store.ts";
import type { TopicStorage } from "../../../src/sync/topic-storage.ts";
import type { Device, DeviceWorld, Opening } from "./device.ts";
import type { SimEdge } from "./edge.ts";
import { type DeviceSettings, OpenedTopic, type OpenedVolume } from "./opened-topic.ts";
import { batchOf, type NamedRecord } from "./records.ts";

/** Looks of a claim in one millisecond. */
const LOOKS_MAX = 100;

export interface TopicOptions {
  readonly settings: DeviceSettings;
  readonly from: ReplicaStart;
}

/** What a person let a device offer again, by names of the records of its kept copy. */
interface Offer {
  /** Where the edge said that it agreed. */
  readonly below: ReadonlySet<string>;
  readonly kept: ReadonlySet<string>;
  /** The records in `kept` that the device knows as its own. */
  readonly offered: ReadonlySet<string>;
  /** Number of records that stay in the kept copy only. */
  left: number;
  /** A position: the device had settled all before it. */
  readonly settledTo: number;
  /** Where its copy began: what stood below was settled by what was there, and never was in the copy. */
  readonly base: number;
  /** How often the edge had gone back when it said so. */
  readonly past: number;
}

/** What is acknowledged of a topic, and what was said of it: as much as a copy of the disk takes along. */
export interface TopicPast {
  readonly outbox: readonly Acked[];
  readonly offer: Offer | undefined;
}
interface Acked {
  readonly at: number;
  readonly name: string;
}

export class DeviceTopic {
  readonly device: Device;
  readonly edge: SimEdge;
  readonly name: string;
  readonly options: TopicOptions;
  /** Acknowledged, in the order of the outbox, by position. */
  outbox: Acked[] = [];
  /** Behind an edge that went back. */
  offer: Offer | undefined;
  /** What the edge has said in this connection of positions that the replica had not passed. */
  armed: Pick<TakenTo, "next" | "lastOffset"> | undefined;
  /** Positions below are never provisional again. */
  passedTo = 0;
  /** Places at the edge that the device was told of, not looked at so far. */
  placed: { readonly name: string; readonly offset: number }[] = [];

  constructor(device: Device, edge: SimEdge, name: string, options: TopicOptions) {
    this.device = device;
    this.edge = edge;
    this.name = name;
    this.options = options;
  }

  /** Its life in the device's opening. */
  get opening(): TopicLife | undefined {
    return this.device.opening?.lives.find(({ topic }) => topic === this);
  }
  get isOpen(): boolean {
    return this.opening?.isOpen === true && !this.opening.gate.isAsleep;
  }
  get past(): TopicPast {
    return { outbox: [...this.outbox], offer: this.offer && { ...this.offer } };
  }

  /** The disk is another one. */
  begin({ outbox, offer }: TopicPast): void {
    this.armed = undefined;
    this.passedTo = 0;
    this.offer = offer;
    this.outbox = [...outbox];
  }

  lookPassed(watermark: number): void {
    if (this.armed && watermark > this.armed.lastOffset) this.passedTo = Math.max(this.passedTo, this.armed.next);
  }

  acked(records: readonly NamedRecord[], position: number): void {
    records.forEach(({ name }, i) => this.outbox.push({ at: position + i, name }));
  }

  nameAt(position: number): string | undefined {
    return this.outbox.findLast(({ at }) => at === position)?.name;
  }
}

export class TopicLife {
  readonly opening: Opening;
  readonly topic: DeviceTopic;
  storage: OpenedTopic | undefined;
  session: Session | undefined;
  #producer = { id: 0, sequence: 0 };
  #underway = 0;
  /** Positions acknowledged in this life of which nothing was told. */
  readonly #open = new Set<number>();
  readonly #told = new Set<number>();
  readonly #world: DeviceWorld;
  #isLeft = false;
  #renewing: EdgeLog | undefined;

  constructor(opening: Opening, topic: DeviceTopic) {
    this.opening = opening;
    this.topic = topic;
    this.#world = opening.device.world;
    // What was not acknowledged before a crash nobody sends again here.
    this.#newProducer();
  }

  get device(): DeviceTopic {
    return this.topic;
  }
  get gate(): Opening["gate"] {
    return this.opening.gate;
  }
  get link(): Opening["link"] {
    return this.opening.link;
  }
  get isOpen(): boolean {
    return this.session !== undefined && !this.gate.isOver;
  }
  /** True while this one may speak for the disk: no later opening has begun, and the topic was not left. */
  get isCurrent(): boolean {
    return this.opening.isCurrent && !this.#isLeft;
  }
  get #bytesMax(): number {
    return this.topic.options.settings.outboxBytesMax;
  }

  // --- opening, leaving --------------------------------------------------------------------------------------------

  async open(volume: OpenedVolume): Promise<void> {
    const { topic } = this;
    const storage = await OpenedTopic.open(topic.edge.path, volume, topic.options.settings);
    if (this.gate.isOver) return;
    this.storage = storage;
    this.#watchTold(storage.store);
    this.#watchLooks(storage.store);
  }

  /** Its session begins on the device's link. */
  begin(term: number): Session {
    const { opening, topic, storage } = this;
    const world = this.#world;
    const link = opening.link!;
    const session = new Session({
      host: opening.host,
      store: storage!.store,
      path: topic.edge.path,
      term,
      from: topic.options.from,
      create: () => this.#make(),
      onTrimmed: "skip",
      fits: () => true,
      refused: () => Promise.resolve(undefined),
      changed: () => this.#lookStale(),
      tell: (news) => {
        if (news.type === "offered" && topic.offer) topic.offer.left += news.left;
        world.hear(this, news.type, news.type === "quota" ? news.where : undefined);
      },
      unauthorized: () => link.step({ on: "unauthorized" }),
      served: () => link.step({ on: "served" }),
      failed: () => world.hear(this, "failed"),
    });
    this.session = session;
    opening.sessions.add(session);
    storage!.store.listen({
      appended: () => link.hint(),
      drawn: () => opening.judge.excuse(topic.edge.path),
      settled: (runs) => this.#settled(runs),
    });
    return session;
  }

  /** The topic's session and logs are closed, as when it becomes another one; the other topics go on. */
  async leave(): Promise<void> {
    const { session, storage, opening } = this;
    this.#isLeft = true;
    this.session = undefined;
    session!.close();
    opening.sessions.delete(session!);
    await storage!.close();
  }

  async #make(): Promise<void> {
    const stream = streamOf(this.storage!.store);
    if (stream !== null) this.#world.fail(`wipe: ${this.topic.name} makes the log anew that it has joined (${stream})`);
    await this.topic.edge.http("PUT");
  }

  /**
   * Once the edge has said that positions are taken up to an offset, and the replica then passes that offset, no crash
   * brings them back on top (T2).
   */
  #watchTold(store: TopicStorage): void {
    const { topic } = this;
    topic.lookPassed(store.watermark);
    topic.armed = undefined;
    const told = store.told.bind(store);
    const granted = store.granted.bind(store);
    const forgetTold = store.forgetTold.bind(store);
    const arm = (taken: TakenTo): void => {
      if (this.isCurrent && taken.next >= (topic.armed?.next ?? 0))
        topic.armed = store.watermark <= taken.lastOffset ? taken : undefined;
    };
    store.told = (taken) => {
      arm(taken);
      told(taken);
    };
    // Only when it is committed does the storage know that these are taken.
    store.granted = (grant) => granted(grant).then(() => arm(grant));
    store.forgetTold = () => {
      if (this.isCurrent) {
        topic.lookPassed(store.watermark);
        topic.armed = undefined;
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
    storage.renew({ fetch, logStartOffset: session!.atEdge.start }).catch(() => undefined);
  }

  /** A claim that looks again and again in one turn would let nothing else run. */
  #watchLooks(store: TopicStorage): void {
    const claimStand = store.claimStand.bind(store);
    let looks = { at: -1, count: 0 };
    store.claimStand = (look) => {
      const at = this.#world.time.ms;
      looks = { at, count: looks.at === at ? looks.count + 1 : 1 };
      if (looks.count <= LOOKS_MAX) return claimStand(look);
      this.#world.fail(`storm: a claim of ${this.topic.name} looks again without a pause`);
      return new Promise(() => undefined);
    };
  }

  // --- records -----------------------------------------------------------------------------------------------------

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
    const isFull = this.#underway === 0 && !store.ids.isNeeded && store.pending.bytes >= this.#bytesMax;
    this.#underway++;
    const position = await this.storage!.append(batch)
      .catch((thrown: unknown) => {
        // What follows a refused append would be out of order.
        if (this.#producer === producer) this.#newProducer();
        throw thrown;
      })
      .finally(() => this.#underway--);
    if (isFull) this.#world.fail(`bounds: ${this.topic.name} takes an append although its outbox is full`);
    if (!this.opening.isCurrent || this.gate.isOver) return false;
    this.topic.acked(records, position);
    records.forEach((_, i) => !this.#told.delete(position + i) && this.#open.add(position + i));
    return true;
  }

  /** What an append with `committed` resolves with, or rejects with where a person has retracted it. */
  #settled(runs: readonly SettledPositions[]): void {
    if (!this.isCurrent || this.gate.isOver) return;
    for (const { from, to, offset, isRetracted } of runs)
      for (let at = from; at < to; at++) {
        if (!this.#open.delete(at)) this.#told.add(at);
        const name = this.topic.nameAt(at);
        if (name !== undefined && offset >= 0 && !isRetracted)
          this.topic.placed.push({ name, offset: offset + at - from });
      }
  }

  /** Records acknowledged in this life of which nobody was told where they stand. */
  get unanswered(): readonly string[] {
    return [...this.#open].map((at) => this.topic.nameAt(at) ?? String(at));
  }

  // --- people ------------------------------------------------------------------------------------------------------

  /** A person answers: the session joins at once. */
  unblock(again: readonly Range[] = []): void {
    this.opening.judge.excuse(this.topic.edge.path);
    this.session!.unblock(again);
  }

  /**
   * A person lets an outbox that an edge has lost records of offer them again. The topic is opened anew. `past`: how
   * often the edge had gone back when it said how far it agreed. Default: as often as now.
   */
  async offerAgain(agreedTo: number, past = this.topic.edge.ledger.past): Promise<void> {
    const { opening, topic, storage } = this;
    const isAlone = opening.lives.length === 1;
    if (isAlone) opening.link!.close();
    this.session!.close();
    // An append that came before may draw another id, and then nothing of the earlier one is offered.
    await storage!.close();
    // As of the call: a crash may come behind its commit.
    const { below, kept, offered } = await storage!.keptNames(agreedTo);
    const { firstUnsettled: settledTo, base = 0 } = storage!.store;
    const names = { below: new Set(below), kept: new Set(kept), offered: new Set(offered) };
    topic.offer = { ...names, left: 0, settledTo, base, past };
    await storage!.restart(agreedTo);
    if (!this.isCurrent) return;
    if (isAlone) opening.device.reopen();
    else await opening.renew(this);
  }
}
