/**
 * `tidemark/node`: the API of `tidemark/browser` over a folder of files. For tests, Electron, scripts and servers.
 *
 *     const tide = await open("./data/my-app");
 *     await tide.topic("orders").append({ key: "o-17", value: { total: 42 } });
 *     await tide.close();
 */
import { readFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { TidemarkError } from "../errors.ts";
import type { Tide } from "../browser/api.ts";
import { SEGMENT_BYTES, segmentBytes } from "../browser/page/open-options.ts";
import { loadKernel } from "../kernel/load.ts";
import type { Kernel } from "../kernel/types.ts";
import { type Check, checkOptions, flag, refused } from "../topic/check.ts";
import { kernelFile } from "./kernel-file.ts";
import { NodeTide } from "./node-tide.ts";

export interface NodeOpenOptions {
  /**
   * Bytes of a slot, which is a file. It is fixed when a tide is made; an existing tide keeps its own
   * (`storage.segmentBytes`). A power of two, 64 KiB … 64 MiB. Default 8 MiB.
   */
  readonly segmentBytes?: number | undefined;
  /** False: a folder without a tide is NO_STORAGE, and nothing is made. Default true. */
  readonly create?: boolean | undefined;
}

const noSync: Check = (field) => {
  throw refused(field, "given", "left out: a tide in Node has no sync");
};

let kernel: Promise<Kernel> | undefined;

/** The kernel of this process. */
async function nodeKernel(): Promise<Kernel> {
  kernel ??= readFile(kernelFile()).then(loadKernel);
  kernel.catch(() => (kernel = undefined));
  return kernel;
}

/** Undefined for a URL that names no path here: one of another machine, or with an encoded slash in a name. */
function pathOf(url: URL): string | undefined {
  try {
    return fileURLToPath(url);
  } catch {
    return undefined;
  }
}

/**
 * Opens the tide in this folder, and makes folder and tide if they are new. One process at a time has a tide open, and
 * in it one call of open(): ALREADY_OPEN for others, until close() or the end of the process, however it ends.
 *
 * The tide has all of `Tide` but sync(), which rejects with INVALID_ARGUMENT; `acks: "replicated"` does the same. It
 * keeps no process alive: close it, or the last two seconds' upkeep is left to the next opening.
 *
 * NO_STORAGE (`create: false`), CORRUPT_CATALOG, UNSUPPORTED_FORMAT, QUOTA_EXCEEDED (the disk is full), STORAGE_FAILED
 * (the system refuses; the message has its words), LOAD_FAILED (the package's kernel.wasm is not beside its node.js).
 */
export async function open(folder: string | URL, options: NodeOpenOptions = {}): Promise<Tide> {
  const where = folder instanceof URL && folder.protocol === "file:" ? pathOf(folder) : folder;
  if (typeof where !== "string" || where === "" || where.includes("\0"))
    throw refused("folder", folder, "a path, or a URL that begins with file:");
  checkOptions("open()", options, { segmentBytes, create: flag, sync: noSync });
  const { segmentBytes: bytes = SEGMENT_BYTES, create = true } = options;
  const loaded = await nodeKernel().catch((cause: unknown) => {
    const text = `kernel.wasm, which belongs beside node.js, can't be read: ${String(cause)}`;
    throw new TidemarkError("LOAD_FAILED", text, { file: "kernel.wasm" }, { cause });
  });
  return NodeTide.open({ folder: path.resolve(where), segmentBytes: bytes, mustExist: !create, kernel: loaded });
}

export type {
  Ack,
  AppendAllOptions,
  AppendOptions,
  BatchAck,
  Change,
  ChangesOptions,
  ImportDamage,
  ImportedFile,
  ReadOptions,
  RecordStatus,
  SeekExplanation,
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
  View,
  ViewOptions,
} from "../browser/api.ts";
export { type ErrorCode, type ErrorKind, TidemarkError } from "../errors.ts";
export * from "../typed/public.ts";
export type { EventTopic, TypedTopicOptions } from "../browser/api.ts";
