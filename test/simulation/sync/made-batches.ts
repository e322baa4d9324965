/** I7: bytes 16 to the end of a batch are as its page made them, wherever it is met. A log stamps those before. */
import { readHeader } from "../../../src/record/format.ts";
import { splitBatches } from "../../../src/record/record-batch.ts";

const STAMPED_BYTES = 16;

const keyOf = ({ producerId, baseSequence }: ReturnType<typeof readHeader>): string => `${producerId}/${baseSequence}`;

export class MadeBatches {
  /** Copies of a machine that runs make several under one identity. */
  readonly #made = new Map<string, Buffer[]>();

  add(batch: Uint8Array): void {
    const key = keyOf(readHeader(batch));
    this.#made.set(key, [...(this.#made.get(key) ?? []), Buffer.from(batch.subarray(STAMPED_BYTES))]);
  }

  /** The first batch that is not as it was made, by its base offset. What compaction thinned does not count. */
  changed(batches: Uint8Array): number | undefined {
    for (const batch of splitBatches(batches)) {
      const header = readHeader(batch);
      const { producerId, recordCount, lastOffsetDelta, baseOffset } = header;
      if (producerId < 0 || recordCount <= lastOffsetDelta) continue;
      const bytes = batch.subarray(STAMPED_BYTES);
      if (!this.#made.get(keyOf(header))?.some((made) => made.equals(bytes))) return baseOffset;
    }
    return undefined;
  }
}
