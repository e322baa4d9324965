/**
 * What a device holds of its synced topic: committed records as they come, by a follow, and those that only this device
 * has, by a read of the log's end.
 */
import type { Topic, TopicRecord } from "../src/browser/index.ts";
import { add, type Note, NOTHING, titleOf } from "./devices.ts";
import type { Row, Tide } from "./tide-box.ts";

/** Committed rows that are kept: more than a box shows. */
const KEPT = 32;

const rowOf = ({ id, offset, provisional, value }: TopicRecord<Note>): Row => ({
  id,
  offset: provisional ? undefined : offset,
  text: value?.text ?? "",
  from: titleOf(value?.from ?? ""),
});

export interface DeviceLogOptions {
  /** How far this device's copy of the edge's log goes. */
  watermark(): number;
  /** A read has failed, or the tide was closed. */
  failed(thrown: unknown): void;
}

export class DeviceLog implements Tide {
  readonly #topic: Topic<Note>;
  readonly #options: DeviceLogOptions;
  #committed: Row[] = [];
  #provisional: Row[] = [];
  count = 0;
  sum = NOTHING;
  end = 0;
  #changed: () => void = () => undefined;
  #looking = false;
  #again = false;

  constructor(topic: Topic<Note>, options: DeviceLogOptions) {
    this.#topic = topic;
    this.#options = options;
  }

  get committed(): readonly Row[] {
    return this.#committed;
  }
  get provisional(): readonly Row[] {
    return this.#provisional;
  }

  onChange(changed: () => void): void {
    this.#changed = changed;
  }

  /** Reads what has no place at the edge yet. A call during a read makes it read once more. */
  look(): void {
    this.#again = true;
    if (!this.#looking) void this.#look();
  }

  async #look(): Promise<void> {
    this.#looking = true;
    try {
      while (this.#again) {
        this.#again = false;
        const found: Row[] = [];
        for await (const record of this.#topic.read({ from: this.#options.watermark(), isolation: "provisional" }))
          if (record.provisional) found.push(rowOf(record));
        this.#provisional = found;
        this.#tell();
      }
    } catch (thrown) {
      this.#options.failed(thrown);
    } finally {
      this.#looking = false;
    }
  }

  /** Takes committed records as they come, until the tide is closed. */
  async follow(): Promise<void> {
    for await (const batch of this.#topic.readBatches({ from: "earliest", follow: true })) {
      for (const record of batch) {
        this.#committed.push(rowOf(record));
        this.count++;
        this.sum = add(this.sum, record.value);
        this.end = record.offset + 1;
      }
      this.#committed = this.#committed.slice(-KEPT);
      this.#tell();
    }
  }

  #tell(): void {
    // The two reads are not one: what the follow has brought is not shown above the line any more.
    const known = new Set(this.#committed.map(({ id }) => id));
    this.#provisional = this.#provisional.filter(({ id }) => !known.has(id));
    this.#changed();
  }
}
