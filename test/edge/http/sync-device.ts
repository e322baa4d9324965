/**
 * A device in sync under Node: the worker's part and the page's part of sync as they are, over a real store in memory
 * and real sockets. Only what is between page and worker is shortened: calls, with their values cloned as a port does.
 */
import { Log } from "../../../src/log/log.ts";
import { BatchBuilder } from "../../../src/record/batch-builder.ts";
import type { RecordOwner } from "../../../src/record/record-id.ts";
import { decodeBatch, splitBatches } from "../../../src/record/record-batch.ts";
import { MemoryVolume } from "../../../src/store/memory-volume.ts";
import { replicaName } from "../../../src/sync/log-names.ts";
import { SegmentStore } from "../../../src/store/segment-store.ts";
import type { TideEvent } from "../../../src/browser/api.ts";
import { leadingSync } from "../../../src/browser/sync/leading-sync.ts";
import { type PageSync, pageSync } from "../../../src/browser/sync/page-sync.ts";
import type { TideSync } from "../../../src/browser/sync/tide-sync.ts";
import type { SyncNews } from "../../../src/browser/sync/words.ts";
import type { SyncEvent, SyncOptions, SyncStatus, TopicSyncStatus } from "../../../src/browser/sync-api.ts";
import { releaseKernel } from "../../support/kernels.ts";

const kernel = await releaseKernel();
const SLOT_BYTES = 64 * 1024;
let producers = 0;

export async function copyOf(volume: MemoryVolume): Promise<MemoryVolume> {
  const copy = new MemoryVolume({ slotBytes: SLOT_BYTES, slots: volume.slotCount });
  for (let slot = 0; slot < volume.slotCount; slot++) {
    const bytes = new Uint8Array(SLOT_BYTES);
    await volume.read(slot, 0, bytes);
    await copy.write(slot, 0, bytes);
  }
  return copy;
}

export class SyncDevice {
  readonly volume: MemoryVolume;
  store!: SegmentStore;
  sync!: TideSync;
  page!: PageSync;
  readonly events: SyncEvent[] = [];
  #logs = new Map<string, Promise<Log>>();
  readonly ended: string[] = [];
  readonly due = new Set<string>();
  #waiting: (() => void)[] = [];
  readonly #producers = new Map<string, { readonly id: number; sequence: number }>();
  /** By topic and offset of its ack: a batch's identity. */
  readonly #batches = new Map<string, RecordOwner>();
  topic = "orders";

  private constructor(volume: MemoryVolume) {
    this.volume = volume;
  }

  static async open(volume = new MemoryVolume({ slotBytes: SLOT_BYTES })): Promise<SyncDevice> {
    const device = new SyncDevice(volume);
    await device.#open();
    return device;
  }

  async #open(isSamePage = false): Promise<void> {
    this.#logs = new Map();
    this.store = await SegmentStore.open({ volume: this.volume, kernel, now: Date.now, newId: () => "a device" });
    const hear = (event: SyncNews): void => this.page.hear(structuredClone(event));
    this.sync = leadingSync({
      store: this.store,
      logs: this.#logs,
      kernel,
      topics: {
        settings: {},
        end: () => undefined,
        ended: (topic) => (this.ended.push(topic), this.#producers.delete(topic)),
        writable: async (topic) => ({ log: await this.local(topic) }),
      },
      pages: [{ tell: (event: TideEvent) => hear((event as { readonly event: SyncNews }).event) }],
      prove: () => Promise.resolve(),
      emit: (event) => hear((event as { readonly event: SyncNews }).event),
      failed: (error) => this.#hear({ type: "stopped", topic: "the volume", code: error.code, details: {} }),
      // What the edge has let go is told here alone.
      due: (topic) => void (this.due.add(topic), this.#wake()),
    });
    if (isSamePage) return;
    this.page = pageSync({
      ask: (ask, signal) =>
        Promise.race([
          this.sync.ask(structuredClone(ask)),
          new Promise((_, reject) => signal?.addEventListener("abort", () => reject(signal.reason as Error))),
        ]),
      tide: { ended: undefined, syncing: undefined, tell: ({ event }) => this.#hear(event) },
      topics: new Map(),
    });
  }

  /** A plain topic of the volume, as the worker's topics have it. */
  local(topic: string): Promise<Log> {
    const made = this.#logs.get(topic) ?? this.#openLog(topic);
    this.#logs.set(topic, made);
    return made;
  }
  async #openLog(topic: string): Promise<Log> {
    const store = await this.store.log(replicaName(topic));
    return Log.open({ store, kernel, clock: { now: Date.now } });
  }

  #hear(event: SyncEvent): void {
    this.events.push(event);
    this.#wake();
  }

  #wake(): void {
    for (const wake of this.#waiting.splice(0)) wake();
  }

  /** Opened again: as after a reload, without a call of sync(). `asked` comes before its topics are open again. */
  async reopen<T>(asked?: () => Promise<T>): Promise<{ readonly answer: Promise<T | undefined> }> {
    await this.close();
    await this.#open();
    const answer = Promise.resolve(asked?.());
    await this.sync.resume();
    return { answer };
  }

  /** The page goes on with another leader. */
  async succeed(): Promise<void> {
    await this.close();
    await this.#open(true);
    await this.sync.resume();
  }

  /** The page is told nothing of what happens meanwhile. It is only asked for tokens. */
  async away(meanwhile: () => Promise<unknown>): Promise<void> {
    const { page } = this;
    const hear = page.hear.bind(page);
    page.hear = (news) => news.type === "ask-token" && hear(news);
    await meanwhile();
    Reflect.deleteProperty(page, "hear");
    page.connected();
  }

  async close(): Promise<void> {
    this.sync.close();
    await this.store.close().catch(() => undefined);
  }

  /** The volume as a crash at each of its writes would leave it while `work` runs. */
  async imagesOf(work: () => Promise<unknown>): Promise<MemoryVolume[]> {
    const images: MemoryVolume[] = [];
    const { volume } = this;
    const write = MemoryVolume.prototype.write.bind(volume);
    Object.assign(volume, {
      async write(slot: number, position: number, bytes: Uint8Array): Promise<void> {
        images.push(await copyOf(volume));
        await write(slot, position, bytes);
      },
    });
    await work();
    Reflect.deleteProperty(volume, "write");
    return images;
  }

  start(options: SyncOptions): Promise<PageSync> {
    return this.page.start(options);
  }

  get status(): SyncStatus {
    return this.sync.status();
  }
  of(topic = this.topic): TopicSyncStatus {
    return this.status.topics[topic]!;
  }

  /** Resolves once this holds. It looks after each event, and when a trim is due; the test's own limit ends it. */
  async until(holds: () => unknown): Promise<void> {
    while (!holds()) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  async level(): Promise<void> {
    await this.page.drained();
    await this.page.caughtUp();
  }

  /** Each value in a batch of its own; resolves with the batches' positions. */
  async write(...values: readonly (string | Uint8Array)[]): Promise<number[]> {
    return this.writeTo(this.topic, ...values);
  }
  async writeTo(topic: string, ...values: readonly (string | Uint8Array)[]): Promise<number[]> {
    const log = await this.sync.log(topic);
    const producer = this.#producers.get(topic) ?? { id: ++producers, sequence: 0 };
    this.#producers.set(topic, producer);
    const offsets: number[] = [];
    for (const value of values) {
      const builder = new BatchBuilder(kernel);
      const bytes = typeof value === "string" ? new TextEncoder().encode(JSON.stringify(value)) : value;
      builder.tryAppend({ key: new TextEncoder().encode("k"), value: bytes, timestamp: 1_000 });
      const batch = builder.build({ producerId: producer.id, producerEpoch: 0, baseSequence: producer.sequence });
      const { baseOffset } = await log.append(batch, { fromZero: true });
      offsets.push(baseOffset);
      const owner = { producerId: producer.id, producerEpoch: 0, baseSequence: producer.sequence };
      this.#batches.set(`${topic}/${baseOffset}`, owner);
      producer.sequence++;
    }
    return offsets;
  }

  /** The promise of a record's place, as a page makes it of an ack. `duplicate`: it is acknowledged once more. */
  placeOf(offset: number, duplicate = false): ReturnType<PageSync["committed"]> {
    const owner = this.#batches.get(`${this.topic}/${offset}`)!;
    return this.page.committed(this.topic, { offset, owner, at: 0, duplicate });
  }

  /** Values of committed records, as text. */
  async committed(topic = this.topic): Promise<string[]> {
    const log = await this.sync.log(topic);
    const found: string[] = [];
    for (let from = log.logStartOffset; from < log.highWatermark;) {
      const { bytes, nextOffset } = await log.fetch(from);
      // As a reader does: whoever meets a bad batch asks the log which offsets are damaged.
      const texts = await textsIn(bytes).catch(() => undefined);
      if (texts) {
        found.push(...texts);
        from = nextOffset;
      } else await log.fetch(from, { verify: true });
    }
    return found;
  }
}

export async function textsIn(bytes: Uint8Array): Promise<string[]> {
  const found: string[] = [];
  for (const each of splitBatches(bytes)) {
    const batch = await decodeBatch(kernel, each);
    if (batch.isControl) continue;
    for (let i = 0; i < batch.count; i++) found.push(new TextDecoder().decode(batch.valueAt(i)!));
  }
  return found;
}
