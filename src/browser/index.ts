/**
 * `tidemark/browser`: the entry that an application imports. It is small, so that it does not delay an app's first
 * paint: the first open() loads the rest (docs/decisions/0007).
 */
import type { OpenOptions, Tide } from "./api.ts";
import { PolicyWatch, requireEnvironment } from "./platform/environment.ts";
import { type Files, filesIn } from "./page/files.ts";

/**
 * Opens the tide of this name, and makes it if it is new. NO_STORAGE if none can be opened, with the reason; BLOCKED by
 * the page's policy; ALREADY_OPEN, CORRUPT_CATALOG, QUOTA_EXCEEDED, LOAD_FAILED, TIMEOUT.
 */
export async function open(name: string, options: OpenOptions = {}): Promise<Tide> {
  requireEnvironment();
  // Other options are checked by code that is loaded later. A value that is not an object has none of these.
  let { assets, kernel, signal }: OpenOptions = {};
  try {
    ({ assets, kernel, signal } = Object(options) as OpenOptions);
    if (typeof signal?.throwIfAborted !== "function") signal = undefined;
  } catch {
    // A getter of the caller throws. That code names it.
    signal = undefined;
  }
  const files = filesIn(assets);
  const policy = new PolicyWatch(files.addresses);
  const over = new AbortController();
  const opening = openOver(files, name, options, kernel, signal);
  try {
    const aborted = new Promise<never>((_, reject) =>
      signal?.addEventListener("abort", () => reject(signal.reason), { signal: over.signal }),
    );
    return await Promise.race([opening, aborted]);
  } catch (thrown) {
    if (!signal?.aborted) throw await policy.explain(thrown);
    // The opening goes on and may succeed; then the tide is closed.
    opening.then(
      (tide) => tide.close(),
      () => undefined,
    );
    throw thrown;
  } finally {
    over.abort();
    policy.end();
  }
}

async function openOver(
  files: Files,
  name: string,
  options: OpenOptions,
  given: OpenOptions["kernel"],
  signal: AbortSignal | undefined,
): Promise<Tide> {
  signal?.throwIfAborted();
  const kernel = given ?? fetch(files.kernel, { signal: signal ?? null });
  // openTide reports its failure, but may be called later.
  if (kernel instanceof Promise) kernel.catch(() => undefined);
  const { openTide } = await files.core();
  const from = given ?? files.kernel;
  const kernelAt = typeof from === "string" || from instanceof URL ? String(from) : "the option kernel";
  return openTide(name, options, { kernel, kernelAt });
}

/**
 * Removes the tide of this name with all its records for good, in whichever engine it is. Tabs that have it open are
 * closed (event `closed`). Does nothing if there is none. ALREADY_OPEN if a tab does not close it: then nothing was
 * removed, or the next call or the next open() removes the rest.
 */
export async function destroy(name: string, options: Pick<OpenOptions, "assets"> = {}): Promise<void> {
  requireEnvironment();
  const { destroyNamed } = await filesIn((Object(options) as OpenOptions).assets).core();
  return destroyNamed(name, options);
}

export type {
  Ack,
  AppendAcks,
  AppendAllOptions,
  AppendOptions,
  BatchAck,
  Change,
  ChangesOptions,
  EventTopic,
  FoldOptions,
  ImportDamage,
  ImportedFile,
  OpenOptions,
  ReadOptions,
  RecordStatus,
  SeekExplanation,
  SeekStep,
  SegmentExport,
  SegmentImport,
  SegmentsImported,
  SnapshotOptions,
  StorageReport,
  Tide,
  TideEvent,
  Topic,
  TopicBatch,
  TopicOptions,
  TopicRecord,
  TopicState,
  TypedTopicOptions,
  View,
  ViewOptions,
} from "./api.ts";
export type {
  BlockedBatch,
  Sync,
  SyncedTopicOptions,
  SyncEvent,
  SyncOptions,
  SyncStatus,
  SyncWaitOptions,
  TokenAsk,
  TokenProvider,
  TopicSyncStatus,
} from "./sync-api.ts";
export type { HeadersInput, HeaderValue, RecordInput } from "../topic/input.ts";
export type { Serializer, SerializerChoice } from "../topic/serializer.ts";
export type { RawHeaders, ShownRecord, TextHeaders } from "../delivery/read-record.ts";
export type { GivenSettings, TopicSettings } from "../topic/settings.ts";
export type {
  Acks,
  CleanResult,
  CompactionSettings,
  Isolation,
  RetentionSettings,
  StartPosition,
} from "../log/types.ts";
export type { LogRecovery, QuarantinedRange, SegmentInfo } from "../store/log-store.ts";
export type { Engine } from "../store/volume.ts";
export type { KafkaFiles } from "../store/kafka-files.ts";
export type { TopicChange } from "../sync/change-reader.ts";
export type { ErrorCode, ErrorDetails, ErrorKind, SchemaIssue, WireError } from "../errors.ts";

export * from "../typed/public.ts";
export { isProvisional } from "./platform/provisional.ts";

/** The class of all errors that are thrown here. */
export { TidemarkError } from "../errors.ts";
