/** The commands for the page that makes a history. Node reads this file too, so nothing here needs a page. */
import type { Ending } from "./trace.ts";

export interface HistoryOptions {
  readonly engine: "opfs" | "indexeddb";
  readonly name: string;
  readonly seed: number;
  readonly slotBytes: number;
  readonly ops: number;
  /** How each life ends, in order; as many lives as there are endings. */
  readonly endings: readonly Ending[];
  /** Acks and transactions leave marks in a file, for whoever watches system calls. */
  readonly marks?: boolean;
}

/** Names as the store knows them: partition 0 of each topic. */
export const COMPACTED_LOGS: readonly string[] = ["keyed-0"];
