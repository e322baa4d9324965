/**
 * Moves sealed segments to object storage, and deletes there what the log no longer has. Driven by the object's alarm.
 * The work of one run is bounded, and after a failure it pauses, longer each time.
 *
 *   row: begun ──▶ put, if the key is new ──▶ still the same segment? ──▶ row: kept, chunks deleted (one transaction)
 *
 *   power lost …              leaves                                   what the next run does
 *   before the put            a row that only began                    doom it, archive again under another key
 *   after the put             the same, and an object nobody reads     the same, and delete the object
 *   after the transaction     everything                               nothing
 *   while deleting objects    rows that are doomed                     delete again: deleting twice is deleting once
 *
 * A key ends in random digits and is never used twice. So a delayed deletion can't hit what a later put has written,
 * and an object that was written never changes.
 */
import type { Stream } from "../stream/stream.ts";
import type { EventFields } from "../telemetry/events.ts";
import { objectKey, segmentName, type Bucket } from "../store/bucket.ts";
import { edgeKernel } from "../kernel.ts";
import type { Sql } from "../store/sql.ts";
import { ArchiveTables } from "../store/archive-tables.ts";
import type { Retry } from "../store/retries.ts";
import { TidemarkError } from "../../src/errors.ts";
import { EdgeError } from "../errors.ts";
import type { Kernel } from "../../src/kernel/types.ts";
import { encodeSegment } from "../store/segment-object.ts";
import type { ChunkLog } from "../store/chunk-log.ts";

/** Limits of one alarm's work: about 16 MiB moved, and one call of deletions (R2 takes 1,000 keys). */
const SEGMENTS_PER_RUN = 4;
const DELETIONS_PER_RUN = 500;
/** A put that began longer ago than this has ended: it runs inside an alarm, which lasts at most 15 minutes. */
const ABANDONED_MS = 15 * 60_000;

export interface ArchiverOptions {
  /** Undefined if no bucket is bound: then nothing is moved. */
  readonly bucket: () => Bucket | undefined;
  readonly tables: ArchiveTables;
  readonly kernel: () => Promise<Kernel>;
  readonly now: () => number;
  /** The stream's log; asked again after every await, because the stream may be gone. Undefined then. */
  readonly log: () => ChunkLog | undefined;
  /** A key that was never used, for the segment that begins at `baseOffset`. */
  readonly newKey: (baseOffset: number) => Promise<string>;
  readonly event: (
    name: "archive" | "archive_failed" | "archive_deleted",
    fields: Record<string, string | number | boolean>,
  ) => void;
  /** Restarts the object, because the log's memory can no longer be trusted. */
  readonly abort: (reason: string) => void;
  readonly retry: Retry;
}

export class Archiver {
  readonly #options: ArchiverOptions;
  #running = false;
  /** The key of the put that is under way. No deletion may touch it. */
  #putting: string | undefined;

  constructor(options: ArchiverOptions) {
    this.#options = options;
  }

  /** When there is work; undefined if there is none. */
  get due(): number | undefined {
    const { bucket, tables, log, now, retry } = this.#options;
    if (!bucket() || !tables.isThere()) return undefined;
    const hasWork = log()?.toMove.first !== undefined;
    if (hasWork || tables.condemned(now() - ABANDONED_MS, 1).length > 0) return Math.max(now(), retry.at);
    const begun = tables.oldestBegun();
    return begun === undefined ? undefined : Math.max(begun + ABANDONED_MS + 1, retry.at);
  }

  /** Never throws: work that failed is tried again at `due`. */
  async run(): Promise<void> {
    const { event, now, retry } = this.#options;
    const bucket = this.#options.bucket();
    if (!bucket || this.#running || now() < retry.at) return;
    this.#running = true;
    try {
      for (let count = 0; count < SEGMENTS_PER_RUN && (await this.#moveOne(bucket)); count++);
      await this.#sweep(bucket);
      retry.succeeded();
    } catch (thrown) {
      if (TidemarkError.from(thrown).details["poisoned"]) this.#options.abort(String(thrown));
      const retryMs = retry.failed();
      event("archive_failed", { message: String(thrown), failures: retry.failures, retryMs });
    } finally {
      this.#running = false;
      this.#putting = undefined;
    }
  }

  /** Moves the oldest segment that can be moved. False if there is none. */
  async #moveOne(bucket: Bucket): Promise<boolean> {
    const { tables, now, log: current, newKey, event } = this.#options;
    const kernel = await this.#options.kernel();
    const log = current();
    const wanted = log?.toMove.next();
    if (!log || !wanted) return false;
    const key = await newKey(wanted.baseOffset);
    const { bytes, entry } = await encodeSegment(kernel, key, wanted);
    const sha256 = await crypto.subtle.digest("SHA-256", bytes as BufferSource);
    if (current() !== log || log.toMove.first !== wanted.baseOffset) return true;
    const started = now();
    tables.begin(key, wanted.baseOffset, wanted.nextOffset, Math.trunc(started));
    this.#putting = key;
    // R2 compares the checksum of what was encoded here, so chunks are only deleted for an object that is whole.
    const stored = await bucket.put(key, bytes, { onlyIf: { etagDoesNotMatch: "*" }, sha256 });
    this.#putting = undefined;
    // During the put the segment may have been trimmed or compacted, and the stream deleted or made again.
    if (current() !== log || !stored) {
      if (tables.isThere()) tables.doom(key);
      return true;
    }
    const moved = log.moved(wanted.row, entry);
    event("archive", {
      key,
      baseOffset: wanted.baseOffset,
      nextOffset: wanted.nextOffset,
      bytes: bytes.length,
      moved,
      ms: now() - started,
    });
    return true;
  }

  /**
   * Deletes from object storage everything that the log let go, so that nobody who still has its keys finds anything.
   * Throws if that can't be ensured.
   */
  async clear(): Promise<void> {
    const { tables, event } = this.#options;
    const bucket = this.#options.bucket();
    while (bucket && tables.isThere()) {
      const keys = tables.condemned(-1, DELETIONS_PER_RUN);
      if (keys.length === 0) return;
      await bucket.delete(keys).catch((thrown: unknown) => {
        throw new EdgeError(
          "STORAGE_FAILED",
          "object storage still has segments of an earlier stream at this path; try again",
          {},
          { cause: thrown },
        );
      });
      if (tables.isThere()) tables.remove(keys);
      event("archive_deleted", { objects: keys.length });
    }
  }

  async #sweep(bucket: Bucket): Promise<void> {
    const { tables, now, event, log } = this.#options;
    if (!tables.isThere()) return;
    const keys = tables.condemned(now() - ABANDONED_MS, DELETIONS_PER_RUN).filter((key) => key !== this.#putting);
    if (keys.length > 0) {
      await bucket.delete(keys);
      if (!tables.isThere()) return;
      tables.remove(keys);
      event("archive_deleted", { objects: keys.length });
    }
    if (!log() && tables.isEmpty) tables.drop();
  }
}

interface ArchiverHost {
  readonly sql: Sql;
  readonly bucket: () => Bucket | undefined;
  readonly stream: () => Stream | undefined;
  readonly now: () => number;
  readonly retry: Retry;
  readonly abort: (reason: string) => void;
  readonly event: (name: string, fields: EventFields) => void;
}

export function archiverFor({ sql, stream, ...host }: ArchiverHost): Archiver {
  return new Archiver({
    ...host,
    tables: new ArchiveTables(sql),
    kernel: edgeKernel,
    log: () => stream()?.store,
    newKey: (baseOffset) => {
      const { tenant, path, id } = stream()!.config;
      return objectKey(tenant, path, segmentName(id, baseOffset));
    },
  });
}
