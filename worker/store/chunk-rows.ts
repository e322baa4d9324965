/** From batches to the chunk store's rows, and from its notes of segments to what tools are shown. */
import { nextOffsetOf, readHeader, stampLeaderEpoch } from "../../src/record/format.ts";
import { concat } from "../../src/store/bytes.ts";
import type { SegmentInfo } from "../../src/store/log-store.ts";
import { type ChunkRow, CHUNK_BYTES_MAX, type SegmentRow } from "./chunk-tables.ts";

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

/** Batches joined into rows as full as they may be. With an epoch it is stamped into each batch. */
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
