/**
 * A volume in IndexedDB: slots are cut into pages, with the same bytes as in files.
 *
 *   slot      0        4096                20480               36864                        slotBytes
 *             ├────────┼───────────────────┼───────────────────┼─ …                                │
 *   page      0 header 1                   2                   3
 *
 * Page 0 is a slot's header page alone, so that a new durable mark does not rewrite data. Data pages have 16 KiB: each
 * put costs some 60 µs whatever its size, so smaller pages would be slow. Larger ones rewrite more for a small append,
 * and from 64 KiB on Chromium keeps a value in a file of its own, outside the database. A page is stored up to its last
 * written byte; the rest is zero.
 *
 *   write()     changes pages in memory: they are dirty; read() looks there first
 *   handOver()  puts all dirty pages in one relaxed transaction: they are handed over
 *   flush()     puts all dirty pages in one strict transaction: all are clean
 *
 * A strict commit also makes earlier relaxed commits durable: by the standard it must verify *all outstanding changes*,
 * and engines sync the write-ahead log that holds the relaxed commits. So pages that were handed over are not put
 * again, unless the connection was lost in between. Until then they stay in memory. A transaction that fails has
 * changed nothing, and its pages stay dirty. IndexedDB can't reserve space: a full disk shows at a flush.
 */
import { TidemarkError } from "../../errors.ts";
import { gone } from "../../store/gone.ts";
import { RecentMap } from "../../store/recent-map.ts";
import type { Volume, VolumeInfo } from "../../store/volume.ts";
import { waitAlone } from "./sole-writer.ts";
import { IdbConnection, putAll } from "./idb-connection.ts";

export interface IdbVolumeOptions {
  readonly name: string;
  /** Used for a new volume. An existing one keeps its own. */
  readonly slotBytes: number;
  readonly durability?: VolumeInfo["durability"];
  /** The lock of the worker that opens it. */
  readonly lifeLock?: string;
  /** The volume was there before: it is not made again (CLOSED, reason "cleared"). */
  readonly isThere?: boolean | undefined;
}

const HEADER_BYTES = 4096;
const PAGE_BYTES = 16 * 1024;
/** Most pages that are not clean, 4 MiB. A write beyond this flushes. */
const STAGED_PAGES_MAX = 256;
/** Most pages in memory, 8 MiB. Clean pages serve readers, and appends that continue in them. */
const PAGES_MAX = 512;
/** Pages per read transaction: one message between processes stays near 1 MiB. */
const FETCH_PAGES_MAX = 64;
/** Pages fetched when a write meets one that isn't in memory: the next ones are likely to be written as well. */
const AHEAD_PAGES = 16;
const PAGES_PER_SLOT = 65536;

interface Page {
  bytes: Uint8Array<ArrayBuffer>;
  /** Bytes up to the last written one. The rest is zero and not stored. */
  used: number;
}

/** What a range covers of one page: `from` to `to` inside the page, at `at` inside the range. */
interface Part {
  readonly key: number;
  readonly from: number;
  readonly to: number;
  readonly at: number;
}

const NOTHING = new Uint8Array(0);
const sizeOf = (key: number): number => (key % PAGES_PER_SLOT === 0 ? HEADER_BYTES : PAGE_BYTES);

export class IdbVolume implements Volume {
  readonly info: VolumeInfo;
  readonly slotBytes: number;
  readonly #connection: IdbConnection;
  /** Pages in memory, those unused for longest first. They are never older than what is stored. */
  readonly #pages = new RecentMap<number, Page>();
  readonly #dirty = new Set<number>();
  readonly #handedOver = new Set<number>();
  #committing: ReadonlySet<number> = new Set();
  /** For slots made by this object: from this page on nothing was ever written, so nothing needs to be fetched. */
  readonly #freshFrom = new Map<number, number>();
  /** Number of pages that have left memory. If none left during a fetch, the fetch can't have returned stale pages. */
  #evictions = 0;
  /** Transactions that write run one after the other. */
  #queue: Promise<unknown> = Promise.resolve();
  #slotCount: number;
  #closed = false;

  private constructor(options: IdbVolumeOptions, connection: IdbConnection) {
    this.info = { engine: "indexeddb", durability: options.durability ?? "device" };
    this.slotBytes = connection.record.slotBytes;
    this.#slotCount = connection.record.slotCount;
    this.#connection = connection;
    connection.onReplaced = () => {
      for (const key of this.#handedOver) this.#dirty.add(key);
      this.#handedOver.clear();
    };
  }

  /** ALREADY_OPEN while another worker holds this volume. A worker that was deposed can't write any more. */
  static async open(options: IdbVolumeOptions): Promise<IdbVolume> {
    await waitAlone(options.name, options.lifeLock);
    const connection = IdbConnection.open(options.name, options.slotBytes, options.isThere);
    return new IdbVolume(
      options,
      await connection.catch((thrown: TidemarkError) =>
        Promise.reject(options.isThere && thrown.details["gone"] ? gone() : thrown),
      ),
    );
  }

  get slotCount(): number {
    return this.#slotCount;
  }

  /** Only counts the slots: pages that are not stored read as zero. */
  async addSlots(count: number): Promise<void> {
    await this.#enqueue(async () => {
      const before = this.#slotCount;
      await this.#connection.saveSlotCount(before + count);
      for (let slot = before; slot < before + count; slot++) this.#freshFrom.set(slot, 0);
      this.#slotCount = before + count;
    });
  }

  /** A write changes memory. If it needs stored pages first, it fetches them itself. */
  async prepare(slot: number): Promise<void> {
    this.#check(slot, 0, 0);
  }

  async write(slot: number, position: number, bytes: Uint8Array): Promise<void> {
    this.#check(slot, position, bytes.length);
    const parts = partsOf(slot, position, bytes.length);
    // At most the first and the last part need stored pages. The loop repeats only if other work evicted such a page.
    for (let part; (part = parts.find((p) => p.to - p.from < sizeOf(p.key) && !this.#known(p.key)));) {
      await this.#fetch(part.key, Math.min(part.key + AHEAD_PAGES, (slot + 1) * PAGES_PER_SLOT) - 1);
    }
    for (const { key, from, to, at } of parts) {
      const page = this.#pages.get(key) ?? { bytes: NOTHING, used: 0 };
      if (page.bytes.length < sizeOf(key)) {
        const whole = new Uint8Array(sizeOf(key));
        whole.set(page.bytes);
        page.bytes = whole;
      }
      page.bytes.set(bytes.subarray(at, at + to - from), from);
      page.used = Math.max(page.used, to);
      this.#pages.put(key, page);
      this.#dirty.add(key);
      const end = (key % PAGES_PER_SLOT) + 1;
      if (end > (this.#freshFrom.get(slot) ?? Infinity)) this.#freshFrom.set(slot, end);
    }
    if (this.#dirty.size + this.#handedOver.size > STAGED_PAGES_MAX) await this.#commit("strict");
  }

  async read(slot: number, position: number, target: Uint8Array): Promise<number> {
    this.#check(slot, position, 0);
    const count = Math.min(target.length, this.slotBytes - position);
    const parts = partsOf(slot, position, count);
    const fetched = new Map<number, Page>();
    // A page may leave memory while another is fetched, so all must be there at one moment before the first is copied.
    for (let part; (part = parts.find((p) => !fetched.has(p.key) && !this.#known(p.key)));) {
      const last = Math.min(part.key + FETCH_PAGES_MAX - 1, parts.at(-1)!.key);
      for (const [key, page] of await this.#fetch(part.key, last)) fetched.set(key, page);
    }
    for (const { key, from, to, at } of parts) {
      const known = this.#pages.get(key);
      if (known) this.#pages.put(key, known);
      const { bytes, used } = known ?? fetched.get(key) ?? { bytes: NOTHING, used: 0 };
      const stored = bytes.subarray(from, Math.max(from, Math.min(to, used)));
      target.set(stored, at);
      target.fill(0, at + stored.length, at + to - from);
    }
    return count;
  }

  async handOver(): Promise<void> {
    await this.#commit("relaxed");
  }

  async flush(): Promise<void> {
    await this.#commit("strict");
  }

  /** If site data were cleared, the database is another one, or gone. */
  async checkAttached(): Promise<boolean> {
    try {
      await this.#connection.run("readonly", () => undefined);
      return true;
    } catch (thrown) {
      if (thrown instanceof TidemarkError && thrown.details["gone"]) return false;
      throw thrown;
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#queue;
    this.#connection.close();
    this.#pages.clear();
  }

  // --- transactions ------------------------------------------------------------------------------------------------

  #enqueue<T>(work: () => Promise<T>): Promise<T> {
    if (this.#closed) throw new TidemarkError("CLOSED", "the volume is closed");
    const run = this.#queue.then(work);
    this.#queue = run.catch(() => undefined);
    return run;
  }

  #commit(mode: "strict" | "relaxed"): Promise<void> {
    return this.#enqueue(async () => {
      if (this.#dirty.size === 0 && (mode === "relaxed" || this.#handedOver.size === 0)) return;
      const keys = new Set<number>();
      this.#committing = keys;
      try {
        await this.#connection.run(mode, (tx) => {
          // Collected here, because a replaced connection makes more pages dirty before the second run.
          for (const key of this.#dirty) keys.add(key);
          this.#dirty.clear();
          // Without a change there would be no commit that the engine syncs.
          if (keys.size === 0) putAll(tx, "meta", [["sync", 0]]);
          else putAll(tx, "pages", this.#stored(keys));
        });
        if (mode === "strict") this.#handedOver.clear();
        else for (const key of keys) this.#handedOver.add(key);
      } catch (thrown) {
        for (const key of keys) this.#dirty.add(key);
        throw thrown;
      } finally {
        this.#committing = new Set();
        this.#evict();
      }
    });
  }

  *#stored(keys: Iterable<number>): Generator<[number, ArrayBuffer]> {
    for (const key of keys) {
      const { bytes, used } = this.#pages.get(key)!;
      // put() copies its value, so the page may change while the transaction runs.
      yield [key, used < bytes.length ? bytes.slice(0, used).buffer : bytes.buffer];
    }
  }

  /** The stored pages of these keys; missing ones are empty. They are kept in memory unless they may be stale. */
  async #fetch(first: number, last: number): Promise<Map<number, Page>> {
    const evictions = this.#evictions;
    const found = await this.#connection.run("readonly", async (tx) => {
      const range = IDBKeyRange.bound(first, last);
      const store = tx.objectStore("pages");
      const [values, keys] = (await Promise.all([store.getAll(range), store.getAllKeys(range)])) as [
        ArrayBuffer[],
        number[],
      ];
      return values.map((value, i) => [keys[i]!, new Uint8Array(value)] as const);
    });
    const pages = new Map<number, Page>();
    for (let key = first; key <= last; key++) pages.set(key, { bytes: NOTHING, used: 0 });
    for (const [key, bytes] of found) pages.set(key, { bytes, used: bytes.length });
    if (evictions === this.#evictions) {
      // Evicts before the new pages come in, so that these are not evicted first.
      this.#evict();
      for (const [key, page] of pages) if (!this.#pages.has(key)) this.#pages.set(key, page);
    }
    return pages;
  }

  // --- pages in memory ---------------------------------------------------------------------------------------------

  #known(key: number): boolean {
    const freshFrom = this.#freshFrom.get(Math.floor(key / PAGES_PER_SLOT)) ?? Infinity;
    return this.#pages.has(key) || key % PAGES_PER_SLOT >= freshFrom;
  }

  #evict(): void {
    this.#pages.dropAbove(
      PAGES_MAX,
      () => this.#evictions++,
      (key) => this.#dirty.has(key) || this.#handedOver.has(key) || this.#committing.has(key),
    );
  }

  #check(slot: number, position: number, length: number): void {
    if (this.#closed) throw new TidemarkError("CLOSED", "the volume is closed");
    if (!(slot >= 0 && slot < this.#slotCount && position >= 0 && position + length <= this.slotBytes)) {
      throw new TidemarkError("INTERNAL", "outside the volume", { slot, position, length });
    }
  }
}

/** Cuts [position, position + length) of a slot at page borders. */
function partsOf(slot: number, position: number, length: number): Part[] {
  const parts: Part[] = [];
  for (let at = 0; at < length;) {
    const start = position + at;
    const page = start < HEADER_BYTES ? 0 : 1 + Math.floor((start - HEADER_BYTES) / PAGE_BYTES);
    const key = slot * PAGES_PER_SLOT + page;
    const from = page === 0 ? start : (start - HEADER_BYTES) % PAGE_BYTES;
    const to = Math.min(sizeOf(key), from + length - at);
    parts.push({ key, from, to, at });
    at += to - from;
  }
  return parts;
}
