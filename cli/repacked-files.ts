/**
 * .log files as a log can keep them: batches of foreign codecs are packed anew with gzip, all others stay as they are.
 * A file without such batches is used itself.
 */
import { closeSync, mkdtempSync, openAsBlob, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { TidemarkError } from "../src/errors.ts";
import type { Kernel } from "../src/kernel/types.ts";
import { concat } from "../src/record/bytes.ts";
import { BATCH_HEADER_BYTES, MAGIC, MAGIC_AT, nextOffsetOf, readHeader } from "../src/record/format.ts";
import { Failure } from "./failure.ts";
import { isChecksumRight, isForeign, repackBatch } from "./kafka-codecs.ts";
import type { Range } from "./offset-ranges.ts";
import { batchesOfFile, checkedBatch } from "./segment-files.ts";
import { withFileName } from "./whole-file.ts";

/** A file as importSegments() takes it: it is read piece by piece. */
export interface LogFile {
  readonly name: string;
  readonly log: Blob;
}

/** Damage is left to what takes the file: it says more about it. */
function hasForeign(file: string): boolean {
  try {
    for (const { bytes } of batchesOfFile(file)) if (isForeign(readHeader(bytes).attributes)) return true;
  } catch (thrown) {
    if (!(thrown instanceof Failure)) throw thrown;
  }
  return false;
}

/** Writes the file anew. Failure: a batch is damaged or can't be read, and where that stands in the file. */
async function repackedFile(file: string, into: string, kernel: Kernel): Promise<void> {
  const fd = openSync(into, "wx");
  try {
    for (const batch of batchesOfFile(file)) {
      await checkedBatch(file, batch, kernel);
      // All of it: a call of the system may write a part when the disk is nearly full.
      withFileName(into, () => writeFileSync(fd, repackBatch(kernel, batch.bytes)));
    }
  } finally {
    closeSync(fd);
  }
}

/**
 * Gives `work` the files for an import. One whose batches are of foreign codecs is written anew into a folder among the
 * system's temporary ones, which goes with the work; a process that is killed meanwhile leaves it to the system.
 */
export async function withFiles<Result>(
  files: readonly string[],
  kernel: Kernel,
  work: (files: readonly LogFile[]) => Promise<Result>,
): Promise<Result> {
  let folder: string | undefined;
  try {
    const all: LogFile[] = [];
    for (const [i, file] of files.entries()) {
      let from = file;
      if (hasForeign(file)) {
        folder ??= withFileName(os.tmpdir(), () => mkdtempSync(path.join(os.tmpdir(), "tidemark-import-")));
        from = path.join(folder, String(i));
        await repackedFile(file, from, kernel);
      }
      all.push({ name: path.basename(file), log: (await openAsBlob(from)) as Blob });
    }
    return await work(all);
  } finally {
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
  }
}

/** Whether a whole batch with the right checksum stands there. */
function isBatchAt(kernel: Kernel, bytes: Uint8Array, at: number): boolean {
  const left = bytes.length - at;
  // The one byte that rules out nearly every place comes first: a file may end in a GiB of zeros.
  if (left < BATCH_HEADER_BYTES || bytes[at + MAGIC_AT] !== MAGIC) return false;
  const { sizeBytes } = readHeader(bytes, at);
  if (sizeBytes < BATCH_HEADER_BYTES || sizeBytes > left) return false;
  return isChecksumRight(kernel, bytes.subarray(at, at + sizeBytes));
}

/** A damaged file for a repair, and the offsets of foreign batches in it that can't be unpacked and are left out. */
export function repackedForRepair(
  file: string,
  kernel: Kernel,
): { readonly name: string; readonly log: Uint8Array; readonly lost: readonly Range[] } {
  const bytes = new Uint8Array(readFileSync(file));
  const parts: Uint8Array[] = [];
  const lost: Range[] = [];
  let copied = 0;
  for (let at = 0; at < bytes.length;) {
    if (!isBatchAt(kernel, bytes, at)) {
      at++;
      continue;
    }
    const header = readHeader(bytes, at);
    const end = at + header.sizeBytes;
    if (isForeign(header.attributes)) {
      parts.push(bytes.subarray(copied, at));
      try {
        parts.push(repackBatch(kernel, bytes.subarray(at, end)));
      } catch (thrown) {
        if (!(thrown instanceof TidemarkError)) throw thrown;
        lost.push([header.baseOffset, nextOffsetOf(header)]);
      }
      copied = end;
    }
    at = end;
  }
  return { name: path.basename(file), log: concat([...parts, bytes.subarray(copied)]), lost };
}
