/** Makes the chunk store's rows from batches, and SegmentInfo from its segment rows. */
import { nextOffsetOf, readHeader, stampLeaderEpoch } from "../../src/record/format.ts";
import { concat } from "../../src/store/bytes.ts";
import type { ReplacementSegment, SegmentInfo } from "../../src/store/log-store.ts";
import { assert } from "../../src/errors.ts";
import type { Kernel } from "../../src/kernel/types.ts";
import { hops } from "./chunk-walk.ts";
import { type ChunkRow, CHUNK_BYTES_MAX, emptySegment, type SegmentRow } from "./chunk-tables.ts";

export function infoOf(segment: SegmentRow): SegmentInfo {
  const { epoch: _, ...rest } = segment;
  return {
    ...rest,
    state: segment.sealedAt === undefined ? "active" : "sealed",
    offsetEntries: 0,
    timeEntries: 0,
    slot: undefined,
    bodyPosition: undefined,
  };
}

/** Joins batches into rows that are as full as possible. If `epoch` is given it is stamped into each batch. */
export function rowsOf(
  batches: readonly Uint8Array[],
  epoch: number | undefined,
  writtenAt: number,
): (ChunkRow & { readonly batches: number })[] {
  const rows: (ChunkRow & { readonly batches: number })[] = [];
  let run: Uint8Array[] = [];
  let size = 0;
  const end = () => {
    if (run.length === 0) return;
    const headers = run.map((batch) => readHeader(batch));
    rows.push({
      baseOffset: headers[0]!.baseOffset,
      nextOffset: nextOffsetOf(headers.at(-1)!),
      maxTimestamp: headers.reduce((max, header) => Math.max(max, header.maxTimestamp), -1),
      recordCount: headers.reduce((sum, header) => sum + header.recordCount, 0),
      writtenAt,
      crc: null,
      bytes: concat(run),
      batches: run.length,
    });
    run = [];
    size = 0;
  };
  for (const batch of batches) {
    if (size + batch.length > CHUNK_BYTES_MAX) end();
    if (epoch !== undefined) stampLeaderEpoch(batch, epoch);
    run.push(batch);
    size += batch.length;
  }
  end();
  return rows;
}

/** The output of compaction, as a segment row and its chunk rows. */
export function outputOf(
  kernel: Kernel,
  { baseOffset, nextOffset, bytes, sealedAt }: ReplacementSegment,
  createdAt: number,
  epoch: number,
): { readonly segment: SegmentRow; readonly rows: readonly ChunkRow[] } {
  const segment: SegmentRow = {
    ...emptySegment(baseOffset, createdAt, epoch),
    nextOffset,
    bytes: bytes.length,
    sealedAt,
    compacted: true,
  };
  const batches = [...hops({ baseOffset, nextOffset, crc: null, bytes }, true)].map(({ header, position }) =>
    bytes.slice(position, position + header.sizeBytes),
  );
  // Each batch keeps its epoch: its records were written in that term.
  const rows = rowsOf(batches, undefined, Math.trunc(sealedAt));
  for (const row of rows) {
    assert(row.baseOffset >= baseOffset && row.nextOffset <= nextOffset, "a row lies inside its segment");
    segment.batches += row.batches;
    segment.records += row.recordCount;
    segment.maxTimestamp = Math.max(segment.maxTimestamp, row.maxTimestamp);
  }
  return { segment, rows: rows.map((row) => ({ ...row, crc: kernel.crc32c(row.bytes) })) };
}
