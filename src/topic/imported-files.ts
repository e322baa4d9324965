/** The input of importSegments(), as files that are read piece by piece. */
import { TidemarkError } from "../errors.ts";
import type { ImportOptions, SegmentSource } from "../store/segment-files.ts";
import { viewOfBytes } from "./bytes.ts";
import { checkOptions, isObject, oneOf, refused, unreadable } from "./check.ts";

/** A .log file of Kafka: a File or a Blob, which is read piece by piece, bytes, or what exportSegment() gives. */
export type ImportedFile = Blob | Uint8Array | { readonly name?: string | undefined; readonly log: Blob | Uint8Array };

export const IMPORT_OPTIONS = { damage: oneOf("refuse", "skip") };

/** The error for a File whose file was changed or removed after the person had chosen it. */
const unreadableFile = (at: number, name: string, cause: unknown): TidemarkError =>
  new TidemarkError(
    "INVALID_ARGUMENT",
    `${name} can't be read: was it changed, moved or removed? Choose it again (${String(cause)})`,
    { field: `files[${at}]`, file: name },
    { cause },
  );

/** A copy of shared memory, which a page may not send. INVALID_ARGUMENT for bytes that were transferred. */
const sendable = (field: string, bytes: Uint8Array): Uint8Array =>
  viewOfBytes(field, bytes).buffer instanceof ArrayBuffer ? bytes : new Uint8Array(bytes);

/** One of the files in a form that can be sent to a worker. INVALID_ARGUMENT names the file that is wrong. */
function fileOf(file: unknown, at: number): { readonly name: string; readonly log: Blob | Uint8Array } {
  const field = `files[${at}]`;
  try {
    const { name, log = file } = Object(file) as { name?: unknown; log?: unknown };
    const taken = log instanceof Blob ? log : log instanceof Uint8Array && sendable(field, log);
    if (taken) return { name: typeof name === "string" ? name : field, log: taken };
  } catch (thrown) {
    throw unreadable(field, thrown);
  }
  throw refused(field, file, "a File, a Blob, bytes, or what exportSegment() gives");
}

function sourceOf(file: unknown, at: number): SegmentSource {
  const { name, log } = fileOf(file, at);
  if (log instanceof Uint8Array)
    return { name, bytes: log.length, read: async (from, length) => log.subarray(from, from + length) };
  return {
    name,
    bytes: log.size,
    async read(from, length) {
      const bytes = await log
        .slice(from, from + length)
        .arrayBuffer()
        .catch((cause: unknown) => Promise.reject(unreadableFile(at, name, cause)));
      return new Uint8Array(bytes);
    },
  };
}

/** The files one by one. An iterable may be one that can be walked only once. */
export function listedFiles(files: unknown): ReturnType<typeof fileOf>[] {
  if (!isObject(files) || !(Symbol.iterator in files) || files instanceof Uint8Array)
    throw refused("files", files, "an array of files");
  return [...(files as Iterable<unknown>)].map(fileOf);
}

/** Checks both arguments of importSegments(). INVALID_ARGUMENT. */
export function importedFiles(
  files: unknown,
  options: ImportOptions,
  checks: Readonly<Record<string, (field: string, value: unknown) => void>> = IMPORT_OPTIONS,
): SegmentSource[] {
  checkOptions("importSegments()", options, checks);
  return listedFiles(files).map(sourceOf);
}
