/**
 * The sealed segments of one log that are still in rows and can move to object storage, oldest first: how many there
 * are, and what is written there of the first one. A segment with damage, or without a record, stays in rows. The
 * archiver moves them (log-object/archiver.ts); ChunkLog.moved notes that one is there.
 */
import { concat } from "../../src/store/bytes.ts";
import type { ChunkReader } from "./chunk-reader.ts";
import type { ChunkTables, SegmentRow } from "./chunk-tables.ts";
import type { MovedSegments } from "./moved-segments.ts";
import type { SegmentToWrite } from "./segment-object.ts";

const NOTHING = new Uint8Array(0);

/** What is asked of the log, whose own list of sealed segments is the truth. */
interface MovingLog {
  readonly tables: Pick<ChunkTables, "producers" | "chunksOf">;
  readonly rows: Pick<ChunkReader, "isDamaged" | "examine">;
  readonly moved: Pick<MovedSegments, "at">;
  sealed(): readonly SegmentRow[];
  /** The log's first offset. */
  start(): number;
  /** Throws where the log is closed or has failed. */
  check(): void;
}

export class SegmentsToMove {
  readonly #log: MovingLog;

  constructor(log: MovingLog) {
    this.#log = log;
  }

  /** How many could move and have not. */
  get count(): number {
    return this.#log.sealed().filter((row) => this.#canMove(row)).length;
  }

  /** Base offset of the oldest one. */
  get first(): number | undefined {
    return this.#log.sealed().find((row) => this.#canMove(row))?.baseOffset;
  }

  /** A damaged segment stays here, where its damage is known. */
  #canMove({ baseOffset, nextOffset, batches }: SegmentRow): boolean {
    const { rows, moved, start } = this.#log;
    return (
      batches > 0 &&
      nextOffset > start() &&
      !rows.isDamaged(baseOffset, nextOffset) &&
      moved.at(baseOffset) === undefined
    );
  }

  /** The oldest one, with every byte of it verified. */
  next(): (SegmentToWrite & { readonly row: SegmentRow }) | undefined {
    this.#log.check();
    const { tables, rows, moved } = this.#log;
    const sealed = this.#log.sealed();
    for (const row of sealed) {
      const { baseOffset, nextOffset, epoch, createdAt, sealedAt = 0, compacted } = row;
      if (!this.#canMove(row)) continue;
      rows.examine(baseOffset);
      if (!this.#canMove(row)) continue;
      const snapshot = tables.producers();
      const before = moved.at(sealed[sealed.indexOf(row) - 1]?.baseOffset ?? -1);
      return {
        row,
        baseOffset,
        nextOffset,
        epoch,
        createdAt,
        sealedAt,
        compacted,
        body: concat([...tables.chunksOf(row)].map(({ bytes }) => bytes)),
        producers: snapshot?.offset === nextOffset ? snapshot.bytes : NOTHING,
        previousFooterCrc: before?.sealed?.footerCrc ?? 0,
      };
    }
    return undefined;
  }
}
