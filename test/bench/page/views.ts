/**
 * Views over a topic that is made up here: its answers are ready, so that folding alone is measured.
 *
 *   catchUp     many committed records come while own ones wait: how often apply() is called, and how long all takes
 *   rebase      one record of somebody else comes below own ones: how long until the view shows it
 */
import { kernelUrl } from "../../../src/browser/page/files.ts";
import { runView } from "../../../src/browser/page/topic-view.ts";
import type { ViewOptions } from "../../../src/browser/api.ts";
import type { ChangingTopic } from "../../../src/browser/page/topic-changes.ts";
import { type Kernel, loadKernel } from "../../../src/index.ts";
import { BatchBuilder } from "../../../src/record/batch-builder.ts";
import { copyOf } from "../../../src/record/bytes.ts";
import { PROVISIONAL_FROM } from "../../../src/log/provisional-layout.ts";
import { stampBaseOffset } from "../../../src/record/format.ts";
import { serializerOf } from "../../../src/topic/serializer.ts";
import { shownView } from "../../../src/topic/shown-view.ts";

const RECORDS = 1000;
const [OWN, FOREIGN] = [7, 9];

function batchOf(kernel: Kernel, producerId: number, sequence: number, offset: number, records = RECORDS): Uint8Array {
  const builder = new BatchBuilder(kernel);
  const value = new Uint8Array([49]);
  for (let i = 0; i < records; i++) builder.tryAppend({ key: null, value, timestamp: i });
  const bytes = builder.build({ producerId, producerEpoch: 0, baseSequence: sequence }).slice();
  stampBaseOffset(bytes, offset);
  return bytes;
}

/** A topic whose log is a list: committed batches below a watermark that the bench moves, own ones behind it. */
class MadeTopic implements ChangingTopic<number> {
  readonly serializer = serializerOf<number>("json");
  readonly name = "made";
  readonly tide = {
    name: "made",
    opened: undefined,
    topic(): never {
      throw new Error("views are measured without snapshots");
    },
  };
  readonly born = (): number => 1;
  /** Whether the device is level with the edge whenever a view has what is here. */
  live = false;
  committed: Uint8Array[] = [];
  own: Uint8Array[] = [];
  settled = 0;
  #watermark = 0;
  #wake: (() => void) | undefined;

  constructor(readonly kernel: Kernel) {}

  get watermark(): number {
    return this.#watermark;
  }
  rise(watermark: number, settled: number): void {
    this.#watermark = watermark;
    this.settled = settled;
    this.#wake?.();
  }

  readonly fetch: ChangingTopic<number>["fetch"] = async (from, { changes, wait }) => {
    const { provisional } = changes!;
    while (wait && from >= this.#watermark && provisional >= this.own.length * RECORDS)
      await new Promise<void>((resolve) => (this.#wake = resolve));
    const parts: Uint8Array[] = [];
    let nextOffset = from;
    for (let at = this.#placeOf(from); nextOffset < this.#watermark && parts.length < 5; at++) {
      parts.push(this.committed[at]!);
      nextOffset = Math.min(this.#watermark, nextOffset + this.#sizeOf(at));
    }
    const committedBytes = parts.reduce((sum, { length }) => sum + length, 0);
    const isAtEnd = nextOffset >= this.#watermark;
    let nextProvisional = Math.max(provisional, this.settled * RECORDS);
    for (; isAtEnd && nextProvisional < this.own.length * RECORDS && parts.length < 10; nextProvisional += RECORDS)
      parts.push(this.own[nextProvisional / RECORDS]!);
    const level = isAtEnd && nextProvisional >= this.own.length * RECORDS;
    const highWatermark = this.#watermark;
    return {
      bytes: copyOf(parts),
      nextOffset,
      logStartOffset: 0,
      highWatermark,
      logEndOffset: highWatermark,
      ...{ committedBytes, nextProvisional, firstUnsettled: this.settled * RECORDS, retracted: [], level },
      ...{ live: this.live, told: `${highWatermark}/${this.settled}`, stream: "made" },
    };
  };
  readonly resolve = async (): Promise<number> => 0;

  // The last batches may have one record each: those that come one by one.
  #placeOf(offset: number): number {
    const whole = this.committed.length - this.singles;
    return offset <= whole * RECORDS ? offset / RECORDS : whole + offset - whole * RECORDS;
  }
  #sizeOf(place: number): number {
    return place < this.committed.length - this.singles ? RECORDS : 1;
  }
  singles = 0;
}

async function viewOf(topic: MadeTopic) {
  let applies = 0;
  const options: ViewOptions<number, number> = {
    name: "sum",
    initial: () => 0,
    apply: (sum, { value }) => (applies++, sum + value!),
  };
  const view = shownView(options, (shown) => Promise.resolve(runView(shown, topic, options)));
  await view.ready();
  const shows = (sum: number): Promise<void> =>
    new Promise((resolve) => {
      const end = view.subscribe(() => view.current === sum && (end(), resolve()));
      if (view.current === sum) resolve();
    });
  return { view, shows, applies: () => applies };
}

export const views = {
  /** `pending` of the `committed` records are own ones, spread among the others. */
  async viewCatchUp(committed: number, pending: number): Promise<{ applyFactor: number; recordsPerSecond: number }> {
    const kernel = await loadKernel(kernelUrl());
    const topic = new MadeTopic(kernel);
    const every = Math.floor(committed / pending);
    for (let at = 0, own = 0; at < committed / RECORDS; at++) {
      const isOwn = at % every === every - 1 && own < pending / RECORDS;
      const sequence = isOwn ? own * RECORDS : at * RECORDS;
      topic.committed.push(batchOf(kernel, isOwn ? OWN : FOREIGN, sequence, at * RECORDS));
      if (isOwn) topic.own.push(batchOf(kernel, OWN, sequence, PROVISIONAL_FROM + own++ * RECORDS));
    }
    const { view, shows, applies } = await viewOf(topic);
    if (view.current !== pending) throw new Error(`${view.current} of ${pending} own records are shown`);
    const began = performance.now();
    topic.rise(committed, topic.own.length);
    await shows(committed);
    const seconds = (performance.now() - began) / 1000;
    view.close();
    return { applyFactor: applies() / (committed + pending), recordsPerSecond: committed / seconds };
  },

  /** Milliseconds from a foreign record's coming to its being shown, with so many own ones behind it. */
  async viewRebase(pending: number, rounds: number): Promise<number[]> {
    const kernel = await loadKernel(kernelUrl());
    const topic = new MadeTopic(kernel);
    topic.singles = rounds;
    topic.live = true;
    for (let own = 0; own < pending / RECORDS; own++)
      topic.own.push(batchOf(kernel, OWN, own * RECORDS, PROVISIONAL_FROM + own * RECORDS));
    for (let round = 0; round < rounds; round++) topic.committed.push(batchOf(kernel, FOREIGN, round, round, 1));
    const { view, shows } = await viewOf(topic);
    const times: number[] = [];
    for (let round = 1; round <= rounds; round++) {
      const shown = shows(pending + round);
      const began = performance.now();
      topic.rise(round, 0);
      await shown;
      times.push(performance.now() - began);
    }
    view.close();
    return times;
  },
};
