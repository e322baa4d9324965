/** Kafka's .log files that are to be taken in: where their bytes come from, their order, and what came of it. */
import { TidemarkError } from "../errors.ts";
import { BATCH_HEADER_BYTES, readHeader } from "../record/format.ts";

/** The request that begins an import of segments at an edge, and a piece of a file of it (docs/edge.md). */
export const IMPORT_TYPE = "application/vnd.tidemark.import+json";
export const PIECE_TYPE = "application/vnd.tidemark.import-piece";
/** The most that an edge takes in one request. A batch that it can store always fits. */
export const PIECE_BYTES_MAX = 4 * 1024 * 1024;
/** One .log file. */
export interface SegmentSource {
  readonly name: string;
  readonly bytes: number;
  readonly read: (position: number, length: number) => Promise<Uint8Array>;
}

/** Bytes of a file that are no batches, and the offsets that were in them as far as the next batch tells. */
export interface ImportDamage {
  readonly file: string;
  readonly position: number;
  readonly bytes: number;
  readonly reason: string;
  readonly from: number;
  /** Undefined where no batch was found behind it: at the end of all files, or once refused for its length. */
  readonly to: number | undefined;
}
export interface ImportOptions {
  /** "refuse" (default): any damage is INVALID_BATCH, and nothing is taken. "skip": what is whole is taken. */
  readonly damage?: "refuse" | "skip" | undefined;
}

export interface ImportResult {
  readonly batches: number;
  readonly records: number;
  /** Offset of the first record, and behind the last one. */
  readonly firstOffset: number;
  readonly nextOffset: number;
  readonly damage: readonly ImportDamage[];
}

/** The files in the order of their first offsets. */
export async function inOffsetOrder<S extends SegmentSource>(given: readonly S[]): Promise<S[]> {
  const firsts = await Promise.all(
    given.map(async (source) => {
      const head = await source.read(0, Math.min(BATCH_HEADER_BYTES, source.bytes));
      return { source, first: head.length < BATCH_HEADER_BYTES ? 0 : readHeader(head).baseOffset };
    }),
  );
  return firsts.sort((a, b) => a.first - b.first).map(({ source }) => source);
}

/** An empty log takes segments: INVALID_ARGUMENT {reason: "filled"}. */
export const refuseFilled = ({ logEndOffset }: { readonly logEndOffset: number }): void => {
  if (logEndOffset === 0) return;
  throw new TidemarkError(
    "INVALID_ARGUMENT",
    `only an empty topic takes segments with their offsets, and this one has had ${logEndOffset} records: delete it, ` +
      `or give another topic`,
    { reason: "filled", logEndOffset },
  );
};
