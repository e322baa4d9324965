/**
 * H41 of docs/sync.md at a twentieth of its size: a view over a synced topic's real storage catches up with 50,000
 * records while 5,000 own ones wait, which come back among the others. It folds each frame before the next one comes.
 * Each state that is shown is exactly the fold of what is committed here, with what has no place yet on top (V1), and
 * few records are applied twice. The clock is set by the test, so that only the number of applies counts.
 */
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { runView } from "../../src/browser/page/topic-view.ts";
import type { RunningView, ShownView } from "../../src/topic/shown-view.ts";
import type { ChangingTopic } from "../../src/browser/page/topic-changes.ts";
import { laterTurn } from "../../src/browser/platform/timing.ts";
import { readHeader } from "../../src/record/format.ts";
import { saveNotes } from "../../src/store/noted-logs.ts";
import { MemoryVolume } from "../../src/store/memory-volume.ts";
import { stored } from "../../src/sync/outbox.ts";
import { serializerOf } from "../../src/topic/serializer.ts";
import { batchOf, ListedEdge, Synced } from "../contract/synced-fixture.ts";
import { releaseKernel } from "../support/kernels.ts";

const kernel = await releaseKernel();
const RECORDS = 50_000;
const OWN_PART = 1 / 10;
const IN_A_BATCH = 100;
const APPLIES_MAX = 1.3;
const SLOT_BYTES = 1024 * 1024;
/** Between two frames. */
const FRAME_MS = 3;
/** With nothing more from the edge, what is here is shown within so long. */
const REST_MS = 300;

beforeEach(() => void vi.useFakeTimers({ toFake: ["performance", "setTimeout", "clearTimeout"] }));
afterEach(() => void vi.useRealTimers());

/** A fold that depends on each record and on their order; products stay exact. */
const PRIME = 67_108_859;
const FACTOR = 31;
const fold = (state: number, value: number): number => (state * FACTOR + value) % PRIME;

/** What the last `n` of these records make of a state: state * factor + sum. */
function tailsOf(values: readonly number[]): readonly { readonly factor: number; readonly sum: number }[] {
  const tails = [{ factor: 1, sum: 0 }];
  for (const value of values.toReversed()) {
    const { factor, sum } = tails.at(-1)!;
    tails.push({ factor: (factor * FACTOR) % PRIME, sum: (factor * value + sum) % PRIME });
  }
  return tails;
}

/** A device with own records that wait, and an edge that has them among those of others. */
class CatchUp {
  readonly edge = new ListedEdge(kernel);
  readonly own: number[] = [];
  /** What the committed records below each offset fold to. */
  readonly committed = [0];
  readonly #answers: { readonly next: number; readonly lastOffset: number; readonly lastCrc: number }[] = [];
  synced!: Synced;

  static async make(records = RECORDS / 10): Promise<CatchUp> {
    const made = new CatchUp();
    const host = {
      kernel,
      newVolume: async (slotBytes: number) => new MemoryVolume({ slotBytes }),
      reopen: async (volume: MemoryVolume) => volume,
    };
    made.synced = await Synced.make(host, {}, SLOT_BYTES);
    await made.synced.join();
    for (let batch = 0; batch < records / IN_A_BATCH; batch++) await made.#add(batch % (1 / OWN_PART) === 3);
    return made;
  }

  async #add(isOwn: boolean): Promise<void> {
    const { edge, own, committed } = this;
    const first = isOwn ? RECORDS + own.length : edge.end - own.length;
    const names = Array.from({ length: IN_A_BATCH }, (_, i) => String(first + i));
    for (const name of names) committed.push(fold(committed.at(-1)!, Number(name)));
    if (!isOwn) return void edge.append(batchOf(kernel, names, 9, first));
    const { batch } = await this.synced.append(...names);
    edge.append(batch);
    own.push(...names.map(Number));
    this.#answers.push({ next: own.length, lastOffset: edge.end - 1, lastCrc: readHeader(batch).crc });
  }

  /** The next batch comes from the edge, and what is said of an own one with it. False: there is none. */
  async receive(): Promise<boolean> {
    const { storage } = this.synced;
    const at = this.edge.batches[storage.watermark / IN_A_BATCH];
    if (!at) return false;
    await storage.receive(this.edge.frame(storage.watermark, at.to));
    if (this.#answers[0] && this.#answers[0].lastOffset < at.to) storage.told(this.#answers.shift()!);
    await this.pass(FRAME_MS);
    return true;
  }

  /** Time goes on, and the view has turns enough to fold what is here. */
  async pass(ms: number): Promise<void> {
    vi.advanceTimersByTime(ms);
    for (let turns = 0; turns < 5; turns++) await laterTurn();
  }

  source(): ChangingTopic<string> {
    const { log } = this.synced;
    return {
      name: "orders",
      tide: { name: "test", opened: undefined, topic: () => expect.fail("no snapshots here") },
      born: () => 1,
      kernel,
      serializer: serializerOf<string>("text"),
      fetch: (from, options) => log.fetch(from, options),
      resolve: (position, isolation) => log.resolve(position, isolation),
    };
  }
}

/** A view that is judged at each state that it shows. */
class JudgedSum implements ShownView<number> {
  #current = 0;
  committed = 0;
  at = { offset: 0, provisional: 0 };
  readonly listeners: ShownView<number>["listeners"] = new Set();
  readonly ended = new AbortController();
  readonly #running: RunningView;
  readonly #tails: ReturnType<typeof tailsOf>;
  applies = 0;
  shows = 0;
  wrong: string | undefined;

  constructor(
    readonly by: CatchUp,
    source = by.source(),
  ) {
    this.#tails = tailsOf(by.own);
    this.#running = runView<number, string>(this, source, {
      name: "sum",
      initial: () => 0,
      apply: (state, { value }) => (this.applies++, fold(state, Number(value))),
    });
  }

  get current(): number {
    return this.#current;
  }
  /** It is set last. */
  set current(state: number) {
    this.#current = state;
    this.shows++;
    const { offset, provisional } = this.at;
    const { factor, sum } = this.#tails[provisional]!;
    const committed = this.by.committed[offset]!;
    const wanted = (committed * factor + sum) % PRIME;
    if (this.committed !== committed || state !== wanted)
      this.wrong ??= `at ${offset}, with ${provisional} on top, ${state} is shown, and ${wanted} is right`;
  }
  readonly ready = (): Promise<void> => this.#running.ready();
  readonly save = (): Promise<void> => this.#running.save();
  readonly subscribe = (): (() => void) => () => undefined;
  readonly close = (): void => this.ended.abort();
}

it("H41: frames come one by one while own records wait: V1 always, at most 1.3 applies a record", async () => {
  const device = await CatchUp.make(RECORDS);
  const view = new JudgedSum(device);
  await view.ready();
  expect(view.at).toEqual({ offset: 0, provisional: RECORDS * OWN_PART });
  const offsets = new Set<number>();
  while (await device.receive()) offsets.add(view.at.offset);
  await device.pass(REST_MS);
  expect(view.at).toEqual({ offset: RECORDS, provisional: 0 });
  expect(view.current).toBe(device.committed.at(-1));
  expect(view.wrong).toBeUndefined();
  // It was shown on the way as well, and not at each frame.
  expect(offsets.size).toBeGreaterThan(2);
  expect(view.applies / (RECORDS * (1 + OWN_PART))).toBeLessThanOrEqual(APPLIES_MAX);
  view.close();
});

it("what is here is shown soon when the edge brings no more, and own records on top of it at once", async () => {
  const device = await CatchUp.make();
  const view = new JudgedSum(device);
  await view.ready();
  for (let frames = 0; frames < 7; frames++) await device.receive();
  expect(view.at.offset).toBe(0);
  await device.pass(REST_MS);
  expect(view.at).toEqual({ offset: 7 * IN_A_BATCH, provisional: device.own.length - IN_A_BATCH });
  expect(view.wrong).toBeUndefined();
  const { applies } = view;
  await device.synced.append("1");
  await device.pass(0);
  expect(view.at.provisional).toBe(device.own.length - IN_A_BATCH + 1);
  expect(view.applies).toBe(applies + 1);
  view.close();
});

it("a device that is level with the edge shows each record of others at once, whatever waits", async () => {
  const device = await CatchUp.make();
  const view = new JudgedSum(device);
  await view.ready();
  device.synced.log.isLive = true;
  await device.receive();
  expect(view.at).toEqual({ offset: IN_A_BATCH, provisional: device.own.length });
  expect(view.wrong).toBeUndefined();
  view.close();
});

it("shows nothing of a copy that was made anew before that is folded, however long it takes", async () => {
  const device = await CatchUp.make();
  const source = device.source();
  let held: Promise<void> | undefined;
  const view = new JudgedSum(device, { ...source, fetch: async (...asked) => (await held, source.fetch(...asked)) });
  await view.ready();
  for (let frames = 0; frames < 7; frames++) await device.receive();
  const { at, current, shows } = view;
  expect(at.offset).toBe(0);
  const { storage, store, log } = device.synced;
  const { replica } = storage;
  let letGo = (): void => undefined;
  held = new Promise((resolve) => (letGo = resolve));
  await storage.alone(() => saveNotes(store, [[replica!.log, stored({ ...replica!.note, anew: 1 })]]));
  log.renewed();
  await device.pass(0);
  for (let rests = 0; rests < 3; rests++) await device.pass(REST_MS);
  expect([view.at, view.current, view.shows]).toEqual([at, current, shows]);
  held = undefined;
  letGo();
  for (let rests = 0; rests < 3; rests++) await device.pass(REST_MS);
  expect(view.at.offset).toBe(7 * IN_A_BATCH);
  expect(view.wrong).toBeUndefined();
  view.close();
});
