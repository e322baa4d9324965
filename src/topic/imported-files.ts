/** The input of importSegments(), as files that are read piece by piece. */
import type { ImportOptions, SegmentSource } from "../store/segment-files.ts";
import { checkOptions, isObject, oneOf, refused } from "./check.ts";

/** A .log file of Kafka: a File or a Blob, which is read piece by piece, bytes, or what exportSegment() gives. */
export type ImportedFile = Blob | Uint8Array | { readonly name?: string | undefined; readonly log: Blob | Uint8Array };

export const IMPORT_OPTIONS = { damage: oneOf("refuse", "skip") };

function sourceOf(file: unknown, at: number): SegmentSource {
  const { name = `files[${at}]`, log = file } = (isObject(file) ? file : {}) as { name?: unknown; log?: unknown };
  const label = String(name);
  if (log instanceof Uint8Array)
    return { name: label, bytes: log.length, read: async (from, length) => log.subarray(from, from + length) };
  if (log instanceof Blob)
    return {
      name: label,
      bytes: log.size,
      read: async (from, length) => new Uint8Array(await log.slice(from, from + length).arrayBuffer()),
    };
  throw refused(`files[${at}]`, file, "a File, a Blob, bytes, or what exportSegment() gives");
}

/** Checks both arguments of importSegments(). INVALID_ARGUMENT. */
export function importedFiles(
  files: unknown,
  options: ImportOptions,
  checks: Readonly<Record<string, (field: string, value: unknown) => void>> = IMPORT_OPTIONS,
): SegmentSource[] {
  checkOptions("importSegments()", options, checks);
  if (!isObject(files) || !(Symbol.iterator in files) || files instanceof Uint8Array)
    throw refused("files", files, "an array of files");
  return [...(files as Iterable<unknown>)].map(sourceOf);
}
