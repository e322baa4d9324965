/** The log of a topic that does not exist: reads see nothing until the topic is made. Loaded by the first such read. */
import { TidemarkError } from "../../errors.ts";
import { DEFAULT_SETTINGS } from "../../log/limits.ts";
import {
  type CleanResult,
  type Fetched,
  type FetchOptions,
  type LogApi,
  NOTHING_CLEANED,
  type StartPosition,
} from "../../log/types.ts";
import type { SegmentStore } from "../../store/segment-store.ts";

const EMPTY = { logStartOffset: 0, highWatermark: 0, logEndOffset: 0 } as const;

function onlyStart(offset: number): void {
  if (offset !== 0)
    throw new TidemarkError("OFFSET_OUT_OF_RANGE", `offset ${offset} is not in the log: it has no record`, {
      offset,
      ...EMPTY,
    });
}

export interface AbsentLog extends LogApi {
  /** Where the topic would be stored. */
  readonly store: SegmentStore;
}

/** `made` resolves once the topic is made, to its log and its `born`. */
export function absentLog(
  name: string,
  store: SegmentStore,
  made: (signal?: AbortSignal) => Promise<{ readonly log: LogApi; readonly born: number }>,
): AbsentLog {
  const { epoch: leaderEpoch, batchBytesMax } = store;
  const unknown = async (): Promise<never> => {
    throw new TidemarkError("UNKNOWN_TOPIC", "there is no such topic: the first append makes it", { log: name });
  };
  return {
    ...EMPTY,
    name,
    store,
    leaderEpoch,
    settings: DEFAULT_SETTINGS,
    limits: {
      recordBytesMax: DEFAULT_SETTINGS.recordBytesMax,
      batchBytesMax: Math.min(DEFAULT_SETTINGS.batchBytesMax, batchBytesMax),
    },
    recovery: {
      log: name,
      segments: 0,
      scannedBytes: 0,
      scannedBatches: 0,
      cut: undefined,
      lost: undefined,
      quarantined: [],
      rebuilt: [],
      logStartOffset: 0,
      logEndOffset: 0,
      cleanShutdown: true,
    },
    segments: () => [],
    quarantined: () => [],
    append: unknown,
    /**
     * A read that waited for the topic is told its `born`, so that a later topic of the same name is not taken for it.
     */
    async fetch(from: number, options: FetchOptions = {}): Promise<Fetched & { readonly born?: number }> {
      onlyStart(from);
      if (options.wait) {
        const { log, born } = await made(options.signal);
        return { ...(await log.fetch(from, options)), born };
      }
      return { bytes: new Uint8Array(0), nextOffset: from, ...EMPTY };
    },
    async resolve(position: StartPosition): Promise<number> {
      if (typeof position === "number") onlyStart(position);
      return 0;
    },
    trim: async (offset: number) => onlyStart(offset),
    roll: async () => undefined,
    clean: async (): Promise<CleanResult> => ({ ...NOTHING_CLEANED, rolled: false }),
    close: async () => undefined,
  };
}
