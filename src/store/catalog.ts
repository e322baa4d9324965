/**
 * The catalog: what each slot of the volume is. Its flush is the commit of every structural change (new log, roll,
 * trim, compaction, epoch). Two copies, slot 0 and slot 1, each:
 *
 *   0         8         12        16            24        28
 *   ┌─────────┬─────────┬─────────┬─────────────┬─────────┬──────────────────────────┐
 *   │"TIDECAT1│ version │ payload │ generation  │ CRC-32C │ payload: UTF-8 JSON,     │
 *   │"        │ u32     │ bytes   │ u64         │ u32     │ CatalogState             │
 *   └─────────┴─────────┴─────────┴─────────────┴─────────┴──────────────────────────┘
 *
 * The CRC covers bytes 0 … 23 and the payload. A commit writes generation g+1 over the older copy and flushes it; this
 * is the moment of the commit. Then it writes the same over the other copy and flushes that. So outside a commit both
 * copies are equal, and one damaged copy never means going back a generation; inside a commit one copy is always whole.
 * The first commit after an opening first flushes the copy that it keeps, because the process that wrote it may have
 * died before its flush.
 *
 * In the JSON a segment is an array, so that a slot holds the catalog of some 80,000 segments: [slot, baseOffset,
 * epoch, createdAt, begun] while active, and behind these [nextOffset, bytes, batches, records, maxTimestamp, sealedAt,
 * compacted (0 or 1), offsetIndexBytes, timeIndexBytes, producersBytes, footerCrc] when sealed. Times are in
 * milliseconds.
 *
 * Version 2 is the one above. Version 1 had no `begun` of a segment and no `end` and `appending` of a log
 * (CatalogState); its logs are read as ones that may have been appended to. Later
 * writers of version 1 added `id`, and a log's `born` and `settings`; these are absent where there are none. So is
 * `compacted`, which says how far a log is compacted: a writer that does not know it drops it, and the next pass begins
 * at the start.
 *
 * Version 3 is written while a log has a `note` (docs/sync.md) or another name than its slots say. A library that does
 * not know notes must not append to such a log.
 */
import { assert, TidemarkError } from "../errors.ts";
import type { Kernel } from "../kernel/types.ts";
import { textEncoder, viewOf } from "./bytes.ts";
import {
  CATALOG_CRC_AT,
  CATALOG_GENERATION_AT,
  CATALOG_PAYLOAD_AT,
  CATALOG_PAYLOAD_BYTES_AT,
  CATALOG_VERSION,
  CATALOG_VERSION_AT,
  CATALOG_VERSION_NOTED,
} from "./catalog-layout.ts";
import { type CatalogState, isPossibleState, packLog, type PackedState } from "./catalog-state.ts";
import { readExactly, type Volume } from "./volume.ts";

export type {
  CatalogState,
  LogEntry,
  PackedState,
  SealedEntry,
  SegmentEntry,
  StoredSettings,
} from "./catalog-state.ts";

const MAGIC = 0x5449444543415431n; // "TIDECAT1"

export class Catalog {
  #generation = 0;
  /** The copy that the next commit overwrites first. */
  #older = 0;
  /**
   * True until the other copy was flushed by this process. The process that wrote it may have died before its flush, so
   * that it may only be in the system's cache.
   */
  #isCached = false;
  readonly #volume: Volume;
  readonly #kernel: Kernel;

  private constructor(volume: Volume, kernel: Kernel) {
    this.#volume = volume;
    this.#kernel = kernel;
  }

  /** The newest valid copy, or undefined if the volume was never formatted. CORRUPT_CATALOG: neither copy is whole. */
  static async read(
    volume: Volume,
    kernel: Kernel,
  ): Promise<{ catalog: Catalog; state: CatalogState | undefined; copies: number }> {
    const catalog = new Catalog(volume, kernel);
    const copies = [await catalog.#readCopy(0), await catalog.#readCopy(1)] as const;
    const generations = copies.map((copy) => (typeof copy === "object" ? copy.generation : -1)) as [number, number];
    let newest = generations[1] > generations[0] ? 1 : 0;
    const ids = copies.map((copy) => (typeof copy === "object" ? copy.state.id : undefined));
    if (ids[0] !== ids[1] && ids[0] !== undefined && ids[1] !== undefined) {
      // One of the two files came from another tide, so their generations can't be compared.
      const { tideOfSlots } = await import("./whose-catalog.ts");
      newest = ids.indexOf(await tideOfSlots(volume, kernel, ids as string[]));
    }
    const found = copies[newest];
    if (typeof found === "object") {
      catalog.#generation = found.generation;
      catalog.#older = 1 - newest;
      catalog.#isCached = true;
      return { catalog, state: found.state, copies: generations[0] === generations[1] ? 2 : 1 };
    }
    // A format that was interrupted leaves one torn copy and one that was never written, and no data anywhere.
    if (copies.includes("blank")) return { catalog, state: undefined, copies: 0 };
    throw new TidemarkError("CORRUPT_CATALOG", "neither copy of the catalog is valid", {
      a: String(copies[0]),
      b: String(copies[1]),
    });
  }

  get generation(): number {
    return this.#generation;
  }

  /** Writes `state` as the next generation. Crash: the earlier state or this one, never a mixture. */
  async commit(state: CatalogState): Promise<void> {
    const bytes = this.#encode(state, this.#generation + 1);
    const first = this.#older;
    if (this.#isCached) {
      // Otherwise a power cut while the older copy is overwritten could destroy both.
      await this.#volume.flush([1 - first]);
      this.#isCached = false;
    }
    for (const slot of [first, 1 - first]) {
      await this.#volume.write(slot, 0, bytes);
      await this.#volume.flush([slot]);
      // The commit is done once the first copy is flushed. If the second fails the store is poisoned all the same.
      if (slot === first) {
        this.#generation++;
        this.#older = 1 - first;
      }
    }
  }

  #encode(state: CatalogState, generation: number): Uint8Array {
    const packed: PackedState = { ...state, logs: state.logs.map(packLog) };
    // A state that a reader would take for damage must not be committed.
    assert(isPossibleState(packed, this.#volume.slotBytes), "the catalog is valid");
    const payload = textEncoder.encode(JSON.stringify(packed));
    if (CATALOG_PAYLOAD_AT + payload.length > this.#volume.slotBytes) {
      throw new TidemarkError("LIMIT_EXCEEDED", "the catalog is too large for its slot: delete topics, or trim logs", {
        bytes: payload.length,
      });
    }
    const bytes = new Uint8Array(CATALOG_PAYLOAD_AT + payload.length);
    const view = viewOf(bytes);
    view.setBigUint64(0, MAGIC);
    view.setUint32(
      CATALOG_VERSION_AT,
      state.logs.some(({ note, madeAs }) => note ?? madeAs) ? CATALOG_VERSION_NOTED : CATALOG_VERSION,
    );
    view.setUint32(CATALOG_PAYLOAD_BYTES_AT, payload.length);
    view.setBigUint64(CATALOG_GENERATION_AT, BigInt(generation));
    bytes.set(payload, CATALOG_PAYLOAD_AT);
    view.setUint32(CATALOG_CRC_AT, this.#crc(bytes));
    return bytes;
  }

  #crc(bytes: Uint8Array): number {
    return this.#kernel.crc32c(
      bytes.subarray(CATALOG_PAYLOAD_AT),
      this.#kernel.crc32c(bytes.subarray(0, CATALOG_CRC_AT)),
    );
  }

  async #readCopy(slot: number): Promise<{ generation: number; state: CatalogState } | "blank" | "damaged"> {
    const head = await readExactly(this.#volume, slot, 0, CATALOG_PAYLOAD_AT);
    const view = viewOf(head);
    const length = view.getUint32(CATALOG_PAYLOAD_BYTES_AT);
    if (view.getBigUint64(0) !== MAGIC || length > this.#volume.slotBytes - CATALOG_PAYLOAD_AT) {
      return head.every((byte) => byte === 0) ? "blank" : "damaged";
    }
    const bytes = await readExactly(this.#volume, slot, 0, CATALOG_PAYLOAD_AT + length);
    if (this.#crc(bytes) !== view.getUint32(CATALOG_CRC_AT)) return "damaged";
    const { decodeCopy } = await import("./catalog-copy.ts");
    return decodeCopy(bytes, this.#volume.slotBytes) ?? "damaged";
  }
}
