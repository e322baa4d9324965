/**
 * `tidemark/browser`: what an application imports. It is small, so that an app's first paint waits for nothing: the first
 * open() loads the rest (docs/decisions/0007).
 */
import type { OpenOptions, Tide } from "./api.ts";
import { filesIn } from "./files.ts";

/** Opens the tide of this name, makes it when it is new. ALREADY_OPEN, NO_STORAGE, CORRUPT_CATALOG, QUOTA_EXCEEDED, LOAD_FAILED, TIMEOUT. */
export async function open(name: string, options: OpenOptions = {}): Promise<Tide> {
  const files = filesIn(options.assets);
  const kernel = options.kernel ?? fetch(files.kernel);
  // Its failure is told by openTide, which may come later.
  if (kernel instanceof Promise) kernel.catch(() => undefined);
  const kernelAt = kernel instanceof Promise ? files.kernel : typeof options.kernel === "string" || options.kernel instanceof URL ? options.kernel : "the option kernel";
  const { openTide } = await files.core();
  return openTide(name, { ...options, kernel, kernelAt: String(kernelAt) });
}

export type {
  Ack, AppendAllOptions, AppendOptions, BatchAck, OpenOptions, ReadOptions, SeekExplanation, SeekStep, SegmentExport, StorageReport, Tide,
  TideEvent, Topic, TopicBatch, TopicOptions, TopicRecord, TopicState,
} from "./api.ts";
export type { HeadersInput, HeaderValue, RecordInput } from "../topic/input.ts";
export type { Serializer } from "../topic/serializer.ts";
export type { RawHeaders, ShownRecord } from "../delivery/read-record.ts";
export type { GivenSettings, TopicSettings } from "../topic/settings.ts";
export type { Acks, CleanResult, CompactionSettings, Isolation, RetentionSettings, StartPosition } from "../log/types.ts";
export type { LogRecovery, QuarantinedRange, SegmentInfo } from "../store/log-store.ts";
export type { Engine } from "../store/volume.ts";
export type { ErrorCode, ErrorKind } from "../errors.ts";

/** What everything here throws. */
export { TidemarkError } from "../errors.ts";
