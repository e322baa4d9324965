/** A piece of a topic's log, as an answer or a frame of the edge has it. */
export interface Page {
  /** Whole record batches, which may begin before what was asked for. */
  readonly bytes: Uint8Array;
  readonly nextOffset: number;
  /** True if the log ended there. */
  readonly isLevel: boolean;
  /** True if nothing will come any more. */
  readonly ended: boolean;
  /** True if there is no such topic. */
  readonly isMissing?: boolean;
  /** The log that it is of, as far as the answer says. A topic that is made again has another. */
  readonly log?: string | null;
}
