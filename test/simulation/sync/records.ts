/** Records of a simulation of sync: each has a name of its own as its value. */
import { BatchBuilder } from "../../../src/record/batch-builder.ts";
import { decodeBatch, type RecordBatch, splitBatches } from "../../../src/record/record-batch.ts";
import { EdgeError } from "../../../worker/errors.ts";
import { kernel } from "../../unit/outbox-edge.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export interface NamedRecord {
  readonly name: string;
  /** Undefined: it has none. */
  readonly key: string | undefined;
  /** The edge will never take it. */
  readonly isPoison: boolean;
  /** Bytes that are added to its value. */
  readonly padding?: number;
  /** A tombstone: its value is null, and its name is in a header. */
  readonly isDeletion?: boolean;
}

/** The header of a tombstone that has its name. */
const NAME = "name";
/** A header of records that the edge's schema refuses. */
const POISON = "poison";

/** Throws SCHEMA_MISMATCH if a record of the batch is poison. */
export function judgeBatch(batch: RecordBatch): void {
  for (let i = 0; i < batch.count; i++)
    if (batch.headersAt(i).some(([name]) => name === POISON))
      throw new EdgeError("SCHEMA_MISMATCH", "a record does not fit the schema", { record: i });
}

type ProducerIdentity = Parameters<BatchBuilder["build"]>[0];

export function batchOf(records: readonly NamedRecord[], producer: ProducerIdentity): Uint8Array {
  const builder = new BatchBuilder(kernel);
  for (const { name, key, isPoison, padding = 0, isDeletion } of records)
    builder.tryAppend({
      key: key === undefined ? null : encoder.encode(key),
      value: isDeletion ? null : encoder.encode(name.padEnd(name.length + padding)),
      timestamp: 1_000,
      ...(isDeletion && { headers: [[NAME, encoder.encode(name)]] }),
      ...(isPoison && { headers: [[POISON, null]] }),
    });
  return builder.build(producer);
}

/** Names of whole batches, by their offsets. */
export function namesIn(bytes: Uint8Array): (readonly [offset: number, name: string])[] {
  return splitBatches(bytes).flatMap((each) => {
    const batch = decodeBatch(kernel, each, { checkCrc: false }) as Exclude<
      ReturnType<typeof decodeBatch>,
      Promise<unknown>
    >;
    if (batch.isControl) return [];
    return Array.from(
      { length: batch.count },
      (_, i) => [batch.offsetAt(i), decoder.decode(batch.valueAt(i) ?? batch.headersAt(i)[0]![1]!).trimEnd()] as const,
    );
  });
}

const FEW = 8;

/** Names for a message: the first ones, and how many there are. */
export const few = (names: readonly string[]): string =>
  names.length > FEW ? `${names.slice(0, FEW).join()} … (${names.length})` : names.join();
