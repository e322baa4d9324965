/**
 * Views and changes over a synced topic's real storage, in random histories: own appends, others' records, pushes,
 * pulls in parts, compaction at the edge, retractions, and openings anew. What is shown must be what docs/sync.md
 * promises of views (V1 to V6), at each moment: an AssertionError says which of these is broken.
 */
import assert from "node:assert/strict";
import type { Change, TopicRecord } from "../../src/browser/index.ts";
import { changesOf, type ChangingTopic } from "../../src/browser/page/topic-changes.ts";
import { runView } from "../../src/browser/page/topic-view.ts";
import type { RunningView, ShownView } from "../../src/topic/shown-view.ts";
import { laterTurn } from "../../src/browser/platform/timing.ts";
import { TidemarkError } from "../../src/errors.ts";
import type { Kernel } from "../../src/kernel/types.ts";
import { PROVISIONAL_FROM } from "../../src/log/provisional-layout.ts";
import { nextOffsetOf, readHeader } from "../../src/record/format.ts";
import { MemoryVolume } from "../../src/store/memory-volume.ts";
import type { Volume } from "../../src/store/volume.ts";
import { ChangeReader } from "../../src/sync/change-reader.ts";
import { ViewFold } from "../../src/sync/view-fold.ts";
import { serializerOf } from "../../src/topic/serializer.ts";
import { batchOf, ListedEdge, namesIn, Synced } from "../contract/synced-fixture.ts";
import { Random } from "../simulation/prng.ts";

const newVolume = async (slotBytes: number) => new MemoryVolume({ slotBytes });
const reopen = async (volume: Volume) => volume;
/** A view is level after far fewer turns. */
const TURNS_MAX = 1000;
/** No view writes a snapshot by itself. */
const NEVER_MS = 1e9;

/** Compared as texts: an AssertionError's own comparison of long lists is slow. */
const same = (found: readonly unknown[], wanted: readonly unknown[], what: string): void =>
  assert.ok(found.join() === wanted.join(), `${what}: ${found.join()} in place of ${wanted.join()}`);

interface Own {
  readonly names: readonly string[];
  readonly batch: Uint8Array;
  readonly at: number;
  /** Where it is at the edge. */
  offset?: number;
  isRetracted?: boolean;
}

/** The topic in which snapshots of views are kept, compacted. */
class Snapshots {
  readonly #parts = new Map<string, { readonly bytes: Uint8Array; readonly headers: Record<string, string> }>();
  readonly topic = {
    readBatches: () => [
      [...this.#parts].map(([key, { bytes: valueBytes, headers }]) => ({ key, valueBytes, headers })),
    ],
    append: async ({ key, value, headers = [] }: { key: string; value: Uint8Array; headers?: [string, string][] }) =>
      void this.#parts.set(key, { bytes: value, headers: Object.fromEntries(headers) }),
  };

  /** The newest state, and how far it goes; undefined: none is kept. */
  get newest(): { readonly state: Shown; readonly offset: number } | undefined {
    const all = [...this.#parts.values()].map(({ bytes, headers }) => ({
      state: JSON.parse(new TextDecoder().decode(bytes)) as Shown,
      offset: Number(headers["offset"]),
    }));
    return all.toSorted((a, b) => a.offset - b.offset).at(-1);
  }
}

class Device {
  readonly #kernel: Kernel;
  readonly edge: ListedEdge;
  synced!: Synced;
  readonly own: Own[] = [];
  #names = 0;
  #foreign = 0;
  #pushed = 0;
  readonly source: ChangingTopic<string>;
  readonly snapshots = new Snapshots();

  private constructor(kernel: Kernel) {
    this.#kernel = kernel;
    this.edge = new ListedEdge(kernel);
    this.source = this.#source();
  }

  readonly #source = (): ChangingTopic<string> => ({
    name: "orders",
    tide: { name: "test", opened: { batchBytesMax: 1 << 20 }, topic: () => this.snapshots.topic as never },
    born: () => 1,
    kernel: this.#kernel,
    serializer: serializerOf<string>("text"),
    // As a page does: what ends because the log is opened anew is asked again.
    fetch: async (from, options) => {
      for (;;) {
        try {
          return await this.synced.log.fetch(from, { ...options, maxBytes: 200 });
        } catch (thrown) {
          if (!(thrown instanceof TidemarkError && thrown.code === "CLOSED") || options.signal?.aborted) throw thrown;
          await laterTurn();
        }
      }
    },
    resolve: (position, isolation) => this.synced.log.resolve(position, isolation),
  });

  static async make(kernel: Kernel): Promise<Device> {
    const device = new Device(kernel);
    device.synced = await Synced.make({ kernel, newVolume, reopen });
    await device.synced.join();
    return device;
  }

  async append(count: number): Promise<void> {
    const names = Array.from({ length: count }, () => `own-${this.#names++}`);
    this.own.push({ names, ...(await this.synced.append(...names)) });
  }
  foreign(count: number): void {
    const first = this.#foreign;
    const names = Array.from({ length: count }, () => `foreign-${this.#foreign++}`);
    this.edge.append(batchOf(this.#kernel, names, 9, first));
  }
  /** The edge takes the next own batch, and says so. */
  push(isTold: boolean): void {
    while (this.own[this.#pushed]?.isRetracted) this.#pushed++;
    const own = this.own[this.#pushed];
    if (!own) return;
    this.#pushed++;
    own.offset = this.edge.append(own.batch);
    const next = own.at + own.names.length;
    const { crc } = readHeader(own.batch);
    if (isTold) this.synced.storage.told({ next, lastOffset: own.offset + own.names.length - 1, lastCrc: crc });
  }
  async receive(batches: number): Promise<void> {
    const { watermark } = this.synced.storage;
    const ends = this.edge.batches.map(({ to }) => to).filter((to) => to > watermark);
    const to = ends[Math.min(batches, ends.length) - 1];
    if (to !== undefined) await this.synced.storage.receive(this.edge.frame(watermark, to));
  }
  /** Compaction at the edge takes a batch, or leaves its first record, before it comes here. */
  compact(place: number, isWhole: boolean): void {
    const { watermark } = this.synced.storage;
    const ahead = this.edge.batches.filter(({ from, bytes }) => from >= watermark && bytes);
    const batch = ahead[place % Math.max(1, ahead.length)];
    if (batch) this.edge.compact(batch.from, isWhole || batch.to - batch.from === 1 ? [] : [0]);
  }
  async retract(place: number, why: "aside" | "discarded"): Promise<void> {
    const waiting = this.own.filter(({ offset, isRetracted }) => offset === undefined && !isRetracted);
    const own = waiting[place % Math.max(1, waiting.length)];
    if (!own || this.synced.storage.outboxNote.retracted.length > 12) return;
    own.isRetracted = true;
    await this.synced.storage.retract(own.at, own.at + own.names.length, why);
  }
  async reopen(): Promise<void> {
    const before = this.synced.log;
    await this.synced.reopen();
    before.end(new TidemarkError("CLOSED", "opened anew", { reason: "reopened" }));
  }

  /** Own records that will be seen nowhere: retracted here, or taken by compaction at the edge. */
  gone(): string[] {
    const left = new Set(this.committedBelow(Infinity));
    return this.own
      .filter(({ offset, isRetracted }) => isRetracted || offset !== undefined)
      .flatMap(({ names }) => names.filter((name) => !left.has(name)));
  }

  /** What the edge has below an offset, as names. */
  committedBelow(end: number): string[] {
    return this.edge.batches.flatMap(({ from, to, bytes }) => {
      if (!bytes) return [];
      assert.equal(nextOffsetOf(readHeader(bytes)), to);
      return from < end ? namesIn(this.#kernel, bytes) : [];
    });
  }
}

/** Values, and all that is told of their records. */
interface Shown {
  readonly values: readonly string[];
  readonly records: readonly string[];
}
const NOTHING: Shown = { values: [], records: [] };
const list = ({ values, records }: Shown, { value, id, offset, provisional }: TopicRecord<string>): Shown => ({
  values: [...values, value!],
  records: [...records, [offset, id, provisional].join("/")],
});

/** What a view shows, and a call after each change. */
class WatchedView implements ShownView<Shown> {
  #shown: { readonly current: Shown; readonly committed: Shown } = { current: NOTHING, committed: NOTHING };
  at = { offset: 0, provisional: 0 };
  readonly listeners = new Set<(current: Shown) => void>();
  readonly ended = new AbortController();

  constructor(readonly changed: () => void) {}

  get current(): Shown {
    return this.#shown.current;
  }
  set current(current: Shown) {
    this.#shown = { ...this.#shown, current };
    this.changed();
  }
  get committed(): Shown {
    return this.#shown.committed;
  }
  set committed(committed: Shown) {
    this.#shown = { ...this.#shown, committed };
    this.changed();
  }
  readonly ready = async (): Promise<void> => undefined;
  readonly save = async (): Promise<void> => undefined;
  readonly subscribe = (): (() => void) => () => undefined;
  readonly close = (): void => this.ended.abort();
}

/** A view that is judged each time it shows something. */
class JudgedView {
  readonly view: ShownView<Shown>;
  readonly #running: RunningView;
  /** How often each committed record was folded. */
  readonly folded = new Map<number, number>();
  #offset = 0;
  shownTimes = 0;
  failure: unknown;

  constructor(readonly device: Device) {
    const apply = (state: Shown, record: TopicRecord<string>): Shown => {
      const { offset } = record;
      if (offset < PROVISIONAL_FROM) this.folded.set(offset, (this.folded.get(offset) ?? 0) + 1);
      return list(state, record);
    };
    // Everything that is shown is judged, also what the next answer replaces before anybody is told.
    const judge = (): void => {
      try {
        this.judge();
      } catch (thrown) {
        this.failure ??= thrown;
      }
    };
    this.view = new WatchedView(() => queueMicrotask(judge));
    this.#running = runView<Shown, string>(this.view, device.source, {
      name: "list",
      initial: () => NOTHING,
      apply,
      snapshot: { everyMs: NEVER_MS },
    });
  }

  judge(): void {
    this.shownTimes++;
    const { at } = this.view;
    const [current, committed] = [this.view.current.values, this.view.committed.values];
    assert.ok(at.offset >= this.#offset, `V2: ${at.offset} behind ${this.#offset}`);
    this.#offset = at.offset;
    // First, because what is folded twice is wrong in other ways as well.
    for (const [offset, times] of this.folded) assert.equal(times, 1, `V3: ${offset} is folded ${times} times`);
    same(committed, this.device.committedBelow(at.offset), "V1: committed");
    same(current.slice(0, committed.length), committed, "V1: the beginning of what is shown");
    const own = current.slice(committed.length);
    assert.equal(own.length, at.provisional, "V1: own records that are shown, and as many as are said");
    // In the order of positions, none twice, none that has its place.
    const numbers = own.map((name) => Number(/^own-(\d+)$/.exec(name)![1]));
    same(
      numbers,
      [...new Set(numbers)].sort((a, b) => a - b),
      "V1: the order of own records",
    );
    for (const name of own) assert.ok(!committed.includes(name), `V1: ${name} is shown in two places`);
  }

  /** Waits until the view shows what the device has, and judges that it is exactly this. */
  async level(): Promise<void> {
    await this.#running.ready();
    const { device, view } = this;
    for (let turns = 0; ; turns++) {
      const { watermark } = device.synced.storage;
      const { committed, provisional } = await device.synced.shown();
      const wanted = [...committed, ...provisional];
      if (view.at.offset === watermark && view.current.values.join() === wanted.join()) break;
      if (this.failure !== undefined) throw this.failure;
      if (turns > TURNS_MAX) return same(view.current.values, wanted, "V4: never level");
      await laterTurn();
    }
    this.judge();
    if (this.failure !== undefined) throw this.failure;
    await this.#save();
  }

  /** What a later view begins with. */
  async #save(): Promise<void> {
    await this.#running.save();
    const { state, offset } = this.device.snapshots.newest!;
    same(state.values, this.device.committedBelow(offset), "V5: a snapshot");
  }
}

/** Follows changes as an application does, and keeps the list that they describe. */
class Follower {
  readonly ended = new AbortController();
  records: { id: string; offset: number; value: string }[] = [];
  readonly seen: Change<string>["type"][] = [];
  #level = -1;
  readonly run: Promise<void>;
  failure: unknown;

  constructor(readonly device: Device) {
    this.run = this.#follow().catch((thrown: unknown) => {
      if (!this.ended.signal.aborted) this.failure = thrown;
    });
  }
  async #follow(): Promise<void> {
    for await (const change of changesOf(this.device.source, {}, this.ended.signal)) this.#take(change);
  }
  #take(change: Change<string>): void {
    this.seen.push(change.type);
    if (change.type === "level") return void (this.#level = change.watermark);
    if (change.type === "gap" || change.type === "reset") return;
    if (change.type !== "append") {
      const at = this.records.findIndex(({ id, offset }) => id === change.id && offset === change.provisionalOffset);
      assert.ok(at >= 0, `changes: the ${change.type} of ${change.id} was not told before`);
      const [before] = this.records.splice(at, 1);
      if (change.type === "retract")
        assert.ok(
          this.device.gone().includes(before!.value),
          `changes: ${before!.value} is retracted, and is not gone`,
        );
    }
    if (change.type === "retract") return;
    const { id, offset, value, provisional } = change.record;
    assert.equal(provisional, offset >= PROVISIONAL_FROM);
    const behind = this.records.findIndex((each) => each.offset > offset);
    assert.ok(!this.records.some((each) => each.id === id), `changes: ${id} is told twice`);
    this.records.splice(behind < 0 ? this.records.length : behind, 0, { id, offset, value: value! });
  }
  async level(): Promise<void> {
    for (let turns = 0; ; turns++) {
      if (this.failure !== undefined) throw this.failure;
      const { watermark } = this.device.synced.storage;
      const { committed, provisional } = await this.device.synced.shown();
      const wanted = [...committed, ...provisional];
      const values = this.records.map(({ value }) => value);
      if (this.#level === watermark && values.join() === wanted.join()) return;
      if (turns > TURNS_MAX) return same(values, wanted, "changes: never level");
      await laterTurn();
    }
  }
}

/** One history; what is wrong in it ends it as an AssertionError. */
export async function viewHistory(kernel: Kernel, seed: number, steps: number): Promise<void> {
  const device = await Device.make(kernel);
  const views = [new JudgedView(device)];
  const followers = [new Follower(device)];
  try {
    await walk(device, views, followers, new Random(seed), steps);
    const [first] = views.map(({ view }) => view);
    for (const { view } of views) {
      same(view.committed.records, first!.committed.records, "V6: what is committed in two views");
      same(view.current.records, first!.current.records, "V6: what two views show");
    }
  } finally {
    for (const { view } of views) view.close();
    for (const { ended } of followers) ended.abort();
    for (const { run } of followers) await run;
  }
}

async function walk(
  device: Device,
  views: JudgedView[],
  followers: Follower[],
  random: Random,
  steps: number,
): Promise<void> {
  const pick = (below: number): number => random.int(below);
  for (let step = 0; step < steps; step++) {
    const kind = pick(20);
    if (kind < 5) await device.append(1 + pick(3));
    else if (kind < 8) device.foreign(1 + pick(3));
    else if (kind < 12) device.push(pick(2) === 0);
    else if (kind < 16) await device.receive(1 + pick(4));
    else if (kind === 16) device.compact(pick(8), pick(2) === 0);
    else if (kind === 17) await device.retract(pick(4), pick(2) === 0 ? "aside" : "discarded");
    else if (kind === 18) await device.reopen();
    else if (views.length < 4) {
      views.push(new JudgedView(device));
      followers.push(new Follower(device));
    }
    for (let turns = pick(4); turns > 0; turns--) await laterTurn();
    if (pick(4) === 0) for (const each of [...views, ...followers]) await each.level();
  }
  for (const each of [...views, ...followers]) await each.level();
}

/** An opening that has forgotten what was settled tells it anew, in the order of positions, before what stayed. */
export function toldAnew(): void {
  const own = (position: number) => ({ id: `r${position}`, offset: PROVISIONAL_FROM + position });
  const at = { committed: [], nextOffset: 0, highWatermark: 0, logStartOffset: 0, retracted: [] };
  const cut = (firstUnsettled: number, positions: readonly number[], told: string) => ({
    ...at,
    ...{ live: false, stream: "s", level: true },
    ...{ firstUnsettled, told, provisional: positions.map(own), nextProvisional: 4 },
  });
  const reader = new ChangeReader<ReturnType<typeof own>>(0);
  const fold = new ViewFold<string, ReturnType<typeof own>>(
    { initial: () => "", apply: (state, { id }) => state + id },
    "",
    0,
  );
  const shows = (each: ReturnType<typeof cut>, wanted: string): void => {
    for (const change of reader.take(each)) fold.take(change);
    if (wanted !== "") same([...[...fold.refold()].at(-1)!], [...wanted], "V1: the order of own records");
  };
  shows(cut(0, [0, 1, 2, 3], "a"), "r0r1r2r3");
  shows(cut(2, [], "b"), "r2r3");
  shows(cut(1, [], "c"), "");
  same([reader.provisional, reader.told], [1, undefined], "changes: all is asked for anew");
  shows(cut(1, [1, 2, 3], "c"), "r1r2r3");
  shows(cut(2, [], "d"), "r2r3");
}
