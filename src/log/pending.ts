/**
 * An append on its way through the log (log.ts): its batch, the offset that it got, and the callbacks of its caller.
 */
import type { TidemarkError } from "../errors.ts";
import type { BatchHeader } from "../record/format.ts";
import type { ProducerEntry } from "./producer-state.ts";
import type { Acks, AppendResult } from "./types.ts";

export interface Pending {
  readonly batch: Uint8Array;
  readonly header: BatchHeader;
  readonly baseOffset: number;
  readonly acks: Acks;
  readonly before: ProducerEntry | undefined;
  resolve: (result: AppendResult) => void;
  reject: (error: TidemarkError) => void;
}

/** An append of a batch that is in the log or the queue already, where its first record has the offset `repeats`. */
export interface Repeat {
  readonly repeats: number;
  readonly header: BatchHeader;
  readonly acks: Acks;
}

/** What admitting an append gives. */
export type Taken = Pending | Repeat;
