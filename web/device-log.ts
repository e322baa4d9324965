/**
 * What a device holds of its synced topic, from the one stream in which `topic.changes()` tells it:
 *
 *   append, provisional   stands above the line: only this device has it
 *   append, committed     another device's, or an own one of an earlier visit: stands below the line
 *   settle                an own one goes under the line, and has its offset from then on
 */
import type { Change, Topic, TopicRecord } from "../src/browser/index.ts";
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

export class DeviceLog implements Tide {
  #committed: Row[] = [];
  /** By id, in the order in which they were written. */
  readonly #provisional = new Map<string, Row>();
  count = 0;
  sum = NOTHING;
  end = 0;

  get committed(): readonly Row[] {
    return this.#committed;
  }
  get provisional(): readonly Row[] {
    return [...this.#provisional.values()];
  }

  /** Takes changes as they come, until the tide is closed. Changes that came together are shown together. */
  async follow(topic: Topic<Note>, changed: () => void): Promise<void> {
    let isDue = false;
    for await (const change of topic.changes()) {
      this.#take(change);
      if (isDue) continue;
      isDue = true;
      setTimeout(() => {
        isDue = false;
        changed();
      });
    }
  }

  #take(change: Change<Note>): void {
    if (change.type === "reset") this.#clear();
    else if (change.type === "append" && change.record.provisional)
      this.#provisional.set(change.record.id, rowOf(change.record));
    else if (change.type === "append") this.#commit(change.record);
    else if (change.type === "settle") {
      this.#provisional.delete(change.id);
      this.#commit(change.record);
    } else if (change.type === "retract") this.#provisional.delete(change.id);
  }

  #commit(record: TopicRecord<Note>): void {
    this.#committed.push(rowOf(record));
    if (this.#committed.length > 2 * KEPT) this.#committed = this.#committed.slice(-KEPT);
    this.count++;
    this.sum = add(this.sum, record.value);
    this.end = record.offset + 1;
  }

  #clear(): void {
    this.#committed = [];
    this.#provisional.clear();
    this.count = 0;
    this.sum = NOTHING;
    this.end = 0;
  }
}
