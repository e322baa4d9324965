/** What an opening says of a log before the log is used (recover-log.ts says the rest). */
import type { LogEntry } from "./catalog.ts";
import type { LogRecovery } from "./log-store.ts";

/**
 * The report for a log that was not in use when the catalog was written: it ends where the catalog says, and its slots
 * are not read.
 */
export function reportUnused({ name, segments, logStartOffset, quarantined, end }: LogEntry): LogRecovery {
  return {
    log: name,
    segments: segments.length,
    scannedBytes: 0,
    scannedBatches: 0,
    cut: undefined,
    lost: undefined,
    quarantined,
    rebuilt: [],
    logStartOffset,
    logEndOffset: end.nextOffset,
    cleanShutdown: true,
  };
}
