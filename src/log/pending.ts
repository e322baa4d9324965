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

/** The result of admitting an append: it is queued, or it repeats a batch that is in the log or the queue. */
export type Taken = Pending | { readonly repeats: number; readonly header: BatchHeader; readonly acks: Acks };
