/** The types of the golden batches' manifest, in which bytes are hex. */
import { readFileSync } from "node:fs";

export interface GoldenRecord {
  readonly offset: number;
  readonly timestamp: number;
  readonly key: string | null;
  readonly value: string | null;
  readonly headers: readonly (readonly [string, string | null])[];
}

export interface GoldenBatch {
  readonly file: string;
  readonly contains: string;
  readonly writer: string;
  readonly header: {
    readonly baseOffset: number;
    readonly leaderEpoch: number;
    readonly attributes: number;
    readonly lastOffsetDelta: number;
    readonly baseTimestamp: number;
    readonly maxTimestamp: number;
    readonly producerId: number;
    readonly producerEpoch: number;
    readonly baseSequence: number;
  };
  readonly records: readonly GoldenRecord[];
  /** The encoder makes exactly these bytes from the records. */
  readonly encodes?: boolean;
  /** Compaction makes exactly these bytes from another fixture. */
  readonly filterOf?: { readonly file: string; readonly keep: readonly number[] };
}

/** Batches back to back, and the sparse indexes of a segment that begins with them, in hex. */
export interface GoldenChain {
  readonly file: string;
  readonly batches: number;
  readonly baseOffset: number;
  readonly nextOffset: number;
  readonly offset: string;
  readonly time: string;
}

const directory = new URL("./v1/", import.meta.url);
export const golden = (file: string): Uint8Array => Uint8Array.from(readFileSync(new URL(file, directory)));
export const manifest = JSON.parse(readFileSync(new URL("manifest.json", directory), "utf8")) as {
  readonly batches: readonly GoldenBatch[];
  readonly chain: GoldenChain;
};
