/**
 * `tidemark/browser`: what an application imports. It is small, so that an app's first paint waits for nothing: the
 * first open() loads the rest (docs/decisions/0007).
 */
import type { OpenOptions, Tide } from "./api.ts";
import { PolicyWatch, requireEnvironment } from "./platform/environment.ts";
import { type Files, filesIn } from "./page/files.ts";

/**
 * Opens the tide of this name, makes it when it is new. NO_STORAGE where none can be opened, with the reason; BLOCKED
 * by the page's policy; ALREADY_OPEN, CORRUPT_CATALOG, QUOTA_EXCEEDED, LOAD_FAILED, TIMEOUT.
 */
export async function open(name: string, options: OpenOptions = {}): Promise<Tide> {
  requireEnvironment();
  // Other options are checked with the rest of the code; what is no object has none of these.
  const files = filesIn((Object(options) as OpenOptions).assets);
  const { signal: given } = Object(options) as OpenOptions;
  const signal = typeof given?.addEventListener === "function" ? given : undefined;
  const policy = new PolicyWatch(files.addresses);
  const over = new AbortController();
  const opening = openOver(files, name, options, signal);
  try {
    const aborted = new Promise<never>((_, reject) =>
      signal?.addEventListener("abort", () => reject(signal.reason), { signal: over.signal }),
    );
    return await Promise.race([opening, aborted]);
  } catch (thrown) {
    if (!signal?.aborted) throw await policy.explain(thrown);
    // It may come open all the same.
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
  signal: AbortSignal | undefined,
): Promise<Tide> {
  const { kernel: given } = Object(options) as OpenOptions;
  signal?.throwIfAborted();
  const kernel = given ?? fetch(files.kernel, { signal: signal ?? null });
  // Its failure is told by openTide, which may come later.
  if (kernel instanceof Promise) kernel.catch(() => undefined);
  const { openTide } = await files.core();
  // What is no object of options goes there as it is, to be refused.
  const isObject = typeof options === "object" && options !== null && !Array.isArray(options);
  return openTide(name, isObject ? { ...options, kernel, kernelAt: kernelAddress(files, given) } : options);
}

function kernelAddress(files: Files, given: OpenOptions["kernel"]): string {
  if (given === undefined) return String(files.kernel);
  return typeof given === "string" || given instanceof URL ? String(given) : "the option kernel";
}

/**
 * Removes the tide of this name, whole, in whichever engine it is: all its records, for good. Tabs that have it open
 * are closed (event `closed`). Nothing happens where there is none. ALREADY_OPEN: a tab does not let go of it. Nothing
 * was removed then, or what is left is removed by the next call or the next open().
 */
export async function destroy(name: string, options: Pick<OpenOptions, "assets"> = {}): Promise<void> {
  requireEnvironment();
  const { destroy: remove } = await filesIn((Object(options) as OpenOptions).assets).core();
  return remove(name);
}

export type {
  Ack,
  AppendAllOptions,
  AppendOptions,
  BatchAck,
  OpenOptions,
  ReadOptions,
  SeekExplanation,
  SeekStep,
  SegmentExport,
  StorageReport,
  Tide,
  TideEvent,
  Topic,
  TopicBatch,
  TopicOptions,
  TopicRecord,
  TopicState,
} from "./api.ts";
export type { HeadersInput, HeaderValue, RecordInput } from "../topic/input.ts";
export type { Serializer } from "../topic/serializer.ts";
export type { RawHeaders, ShownRecord } from "../delivery/read-record.ts";
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
export type { ErrorCode, ErrorKind } from "../errors.ts";

/** What everything here throws. */
export { TidemarkError } from "../errors.ts";
