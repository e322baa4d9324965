/**
 * Planted bugs for the simulation: the product with one piece of its source replaced, see test/support/planted-bug.ts.
 */
import type { PlantedBug } from "../support/planted-bug.ts";
import type { Scenario } from "./scenarios.ts";

export interface Mutant extends PlantedBug {
  /** Runs over the reference kernel, because the bug is in the kernel. */
  readonly reference?: true;
  /** Runs narrow histories only, to save time: the others never reach the bug. */
  readonly narrow?: true;
  /** The search begins at this seed, a little before the first one known to catch the bug. */
  readonly from?: number;
  readonly scenario?: Scenario;
}

const STATE = "src/log/producer-state.ts";
const LOG = "src/store/segmented-log.ts";
const STORE = "src/store/segment-store.ts";
const RECOVER = "src/store/recover-log.ts";
const RECOVERY = "src/store/segment-walk.ts";
const CATALOG = "src/store/catalog.ts";
const REFERENCE = "test/reference/kernel.ts";

export const MUTANTS: readonly Mutant[] = [
  // The volume is used wrongly.
  { name: "flush left out", file: LOG, find: "await this.store.volume.flush([active.slot]);", replace: "" },
  {
    name: "another slot flushed",
    file: LOG,
    find: "await this.store.volume.flush([active.slot]);",
    replace: "await this.store.volume.flush([0]);",
  },
  {
    name: "mark before its data",
    file: LOG,
    find: "await this.store.volume.flush([active.slot]);",
    replace: "this.flushed = flushed; await this.writeMark(); await this.store.volume.flush([active.slot]);",
  },
  {
    name: "roll without a flush",
    file: "src/store/roll.ts",
    find: "await store.volume.flush([old.slot, slot]);",
    replace: "",
    from: 17,
  },
  {
    name: "no hand-over for written",
    file: "src/log/log.ts",
    find: "await this.#store.handOver();",
    replace: "",
    from: 9,
  },
  {
    name: "recovery without a flush",
    file: STORE,
    find: "if (whole.length > 0) await this.volume.flush(whole.map(({ segments }) => segments.at(-1)!.slot));",
    replace: "",
    narrow: true,
  },
  // The catalog.
  { name: "catalog not flushed", file: CATALOG, find: "await this.#volume.flush([slot]);", replace: "" },
  {
    name: "catalog copies swapped",
    file: CATALOG,
    find: "generations[1] > generations[0] ? 1 : 0",
    replace: "generations[1] > generations[0] ? 0 : 1",
    from: 4,
  },
  {
    name: "catalog copies written together",
    file: CATALOG,
    find: "await this.#volume.flush([slot]);",
    replace: "if (slot !== first) await this.#volume.flush([first, slot]);",
    from: 166,
  },
  {
    name: "catalog checksum ignored",
    file: CATALOG,
    find: 'if (this.#crc(bytes) !== view.getUint32(CATALOG_CRC_AT)) return "damaged";',
    replace: "",
    from: 435,
  },
  {
    name: "trim not committed",
    file: "src/store/trim-and-replace.ts",
    find: "await change.commit([{ ...log.entry(kept, offset), note }]);",
    replace: "",
    from: 3,
  },
  // Recovery and stale bytes.
  {
    name: "stale batches of a recycled slot",
    file: STORE,
    find: "return ++this.#epoch;",
    replace: "return current;",
    scenario: "recycled",
    from: 5,
  },
  {
    name: "tail of any epoch",
    file: RECOVER,
    find: "await walkTail(tail(appending))",
    replace: "await walkTail(tail(0, 0x7fffffff))",
    narrow: true,
    from: 6_280,
  },
  {
    name: "durable end ignored",
    file: RECOVER,
    find: "await walkDurable(walk, durable.position, durable.nextOffset);",
    replace: "",
  },
  {
    name: "any offset counts behind damage",
    file: RECOVERY,
    find: "if (exact && endOf(batch) === end && nextOffset === limitOffset) return true;",
    replace: "return true;",
    from: 815221,
  },
  {
    name: "batch checksum ignored",
    file: REFERENCE,
    find: "refuse(viewOf(batch).getUint32(17) !== crc32c(batch.subarray(21)), Status.BAD_CRC);",
    replace: "",
    reference: true,
    from: 4,
  },
  {
    name: "scan takes any epoch",
    file: REFERENCE,
    find: "refuse(epoch < minEpoch || epoch > maxEpoch, Status.BAD_EPOCH);",
    replace: "",
    reference: true,
    narrow: true,
    from: 6_280,
  },
  // Reading.
  {
    name: "index one entry too far",
    file: "src/store/index-entries.ts",
    find: "return entry < 0 ? undefined : offsetEntryAt(entries, entry);",
    replace:
      "const last = entries.length / OFFSET_ENTRY_BYTES - 1;\n" +
      "return entry < 0 ? undefined : offsetEntryAt(entries, Math.min(entry + 1, last));",
    from: 21,
  },
  {
    name: "time found one too late",
    file: "src/store/time-lookup.ts",
    find: "if (header.maxTimestamp >= timestamp) return",
    replace: "if (header.maxTimestamp > timestamp) return",
  },
  { name: "damage not looked for", file: LOG, find: "if (verify) await this.examine(segment);", replace: "", from: 14 },
  { name: "reader sleeps on", file: "src/log/log-reads.ts", find: "this.#committed.advance(offset);", replace: "" },
  // Promises of the log.
  {
    name: "high watermark is the log end",
    file: "src/log/log.ts",
    find: "    return this.reads.highWatermark;",
    replace: "    return this.#store.logEndOffset;",
    from: 5,
  },
  {
    name: "ack before flush",
    file: "src/log/log.ts",
    find: "await this.#store.flush();\n    } catch (thrown) {",
    replace:
      "for (const pending of group) this.#acknowledge(pending);\n      await this.#store.flush();\n    } catch " +
      "(thrown) {",
    from: 4,
  },
  {
    name: "duplicate acked before the first",
    file: "src/log/log.ts",
    find: '(acks === "written" ? this.#handedOver : this.#flushed).wait(lastOffset);',
    replace: '(acks === "written" ? this.#handedOver.wait(lastOffset) : undefined);',
    from: 3145,
  },
  {
    name: "duplicate accepted",
    file: "src/log/log.ts",
    find: "if (earlier) return { repeats:",
    replace: "if (earlier && this.#end < 0) return { repeats:",
  },
  {
    name: "producers forgotten on open",
    file: "src/log/remembering.ts",
    find: "producers.record(header, header.baseOffset);",
    replace: "{}",
  },
  {
    name: "producers' snapshot trimmed away",
    file: "src/store/trim-and-replace.ts",
    find: "if (newest && !kept.includes(newest)) kept.unshift(newest);",
    replace: "",
    scenario: "emptied",
  },
  {
    name: "snapshot ahead of its segment",
    file: "src/log/log.ts",
    find: "return write(this.#written, kernel, maxBytes);",
    replace: "return write(this.#producers, kernel, maxBytes);",
    from: 53,
  },
  {
    name: "refused though written",
    file: "src/log/log.ts",
    find: "if ((earlier || !poisoned) && this.#store.logEndOffset === group[0]!.baseOffset)",
    replace: "if (earlier || (!poisoned && this.#store.logEndOffset === group[0]!.baseOffset))",
    from: 176,
  },
  {
    name: "gap in sequences accepted",
    file: "src/log/producer-state.ts",
    find: "if (received === expected) return undefined;",
    replace: "if (received >= expected) return undefined;",
    from: 24,
  },
  {
    name: "forgotten taken for unknown",
    file: STATE,
    find: "if (this.#forgotten >= resentSince) {",
    replace: "if (this.#forgotten > resentSince + 1e9) {",
    from: 114,
  },
  {
    name: "who was left out of the snapshot is not noted",
    file: "src/store/take-snapshot.ts",
    find: "view.setBigInt64(SNAPSHOT_FORGOTTEN_AT, BigInt(forgotten));",
    replace: "view.setBigInt64(SNAPSHOT_FORGOTTEN_AT, -1n);",
    from: 5215,
  },
  {
    name: "who went by number is not noted",
    file: STATE,
    find: "({ batches }) => this.forget(newestOf(batches))",
    replace: "undefined",
    from: 114,
  },
  {
    name: "unknown producer begins behind a gap",
    file: STATE,
    find: "if (fromZero && received !== 0) {",
    replace: "if (fromZero && received < 0) {",
    from: 13248,
  },
  {
    name: "age by the records' own time",
    file: "src/log/age.ts",
    find: "isReading(sealedAt) ? (latest = Math.max(latest, sealedAt)) : undefined",
    replace: "isReading(sealedAt) ? sealedAt - 30 * 86_400_000 : undefined",
    from: 21,
  },
  {
    name: "queue forgotten by ifEnd",
    file: "src/log/log.ts",
    find: "options.ifEnd !== this.#end)",
    replace: "options.ifEnd !== this.#store.logEndOffset)",
  },
  {
    name: "tombstone dropped early",
    file: "src/log/compaction.ts",
    find: "return !tombstonesDue;",
    replace: "return false;",
    from: 566,
  },
  {
    name: "compaction keeps the oldest",
    file: "src/log/compaction.ts",
    find: "this.#newest.set(key, batch!.offsetAt(i));",
    replace: "if (!this.#newest.has(key)) this.#newest.set(key, batch!.offsetAt(i));",
  },
  {
    name: "retention takes one too many",
    file: "src/log/retention.ts",
    find: "records - segment.records < maxRecords",
    replace: "records < maxRecords",
    from: 461,
  },
  {
    name: "the kept copy of the catalog is left in the cache",
    file: "src/store/catalog.ts",
    find: "if (this.#isCached) {",
    replace: "if (false as boolean) {",
    from: 1_306_840,
  },
];
