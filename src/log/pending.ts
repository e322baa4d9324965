/** An append on its way through the log (log.ts): its batch, the offset that it has got, and who is to be told. */
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

/** What an append came to in its own turn: queued, or known to stand in the log or the queue. */
export type Taken = Pending | { readonly repeats: number; readonly header: BatchHeader; readonly acks: Acks };
