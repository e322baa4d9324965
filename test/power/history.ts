/** The commands for the page that makes a history. Node imports this file as well, so nothing here needs a page. */
import type { Ending } from "./trace.ts";

export interface HistoryOptions {
  readonly engine: "opfs" | "indexeddb";
  readonly name: string;
  readonly seed: number;
  readonly slotBytes: number;
  readonly ops: number;
  /** How each life ends, in order. There are as many lives as endings. */
  readonly endings: readonly Ending[];
  /** Acks and transactions write marks to a file (marks.ts), which the watcher of system calls sees (strace.ts). */
  readonly marks?: boolean;
}

/** Logs as the store names them: "keyed-0" is partition 0 of the topic "keyed". */
export const COMPACTED_LOGS: readonly string[] = ["keyed-0"];
