/** Kafka's .log files: their batches one by one, and the records of each. A broker's file may be larger than memory. */
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import path from "node:path";
import { TidemarkError } from "../src/errors.ts";
import type { Kernel } from "../src/kernel/types.ts";
import { BATCH_HEADER_BYTES, LENGTH_AT, LENGTH_OVERHEAD, MAGIC, MAGIC_AT } from "../src/record/format.ts";
import { decodeBatch, type RecordBatch } from "../src/record/record-batch.ts";
import { isTransactional } from "../src/record/transactions.ts";
import { viewOf } from "../src/record/bytes.ts";
import { ADVICE_ON_DAMAGE, Failure } from "./failure.ts";
import { unpackBatch } from "./kafka-codecs.ts";
import type { LineInput } from "./lines.ts";
import { contentTypeOf, startOf } from "./manifest.ts";

/** A broker's limit may be raised; no batch that is larger makes sense. */
const BATCH_BYTES_MAX = 64 * 1024 * 1024;
/** The name of a segment's file, as brokers and `tidemark export` give it. */
const SEGMENT_NAME = /^\d{20}\.log$/;

export interface FileBatch {
  readonly position: number;
  readonly bytes: Uint8Array;
}

/** Bytes of the smallest message of a format before 2, with its offset and length. */
const OLD_MESSAGE_BYTES_MIN = 26;
/** The format of a message of formats 0 and 1 that stands there, up to `left` bytes; undefined of a batch. */
export function oldFormatOf(head: Uint8Array, left: number): number | undefined {
  if (left < OLD_MESSAGE_BYTES_MIN) return undefined;
  const length = viewOf(head).getInt32(LENGTH_AT) + LENGTH_OVERHEAD;
  const format = head[MAGIC_AT]!;
  return format < MAGIC && length >= OLD_MESSAGE_BYTES_MIN && length <= left ? format : undefined;
}
export const OLD_FORMAT = "and only 2 can be read: let a broker of today write the topic anew";

const isZero = (byte: number): boolean => byte === 0;
const ZEROS_READ_BYTES = 1024 * 1024;
/** True if nothing but zeros stands from `position` on. */
function isZeroFrom(fd: number, position: number): boolean {
  const piece = new Uint8Array(ZEROS_READ_BYTES);
  for (let at = position; ;) {
    const bytes = readSync(fd, piece, 0, piece.length, at);
    if (bytes === 0) return true;
    if (!piece.subarray(0, bytes).every(isZero)) return false;
    at += bytes;
  }
}

/**
 * Reads a file's batches by their lengths. Ends at zeros up to the file's end, which a broker keeps ahead in its newest
 * segment. Zeros before other bytes are a page that was lost, and so damage.
 */
export function* batchesOfFile(file: string): Generator<FileBatch> {
  const fd = openSync(file, "r");
  try {
    const { size } = fstatSync(fd);
    const head = new Uint8Array(BATCH_HEADER_BYTES);
    for (let position = 0; position < size;) {
      const headBytes = readSync(fd, head, 0, Math.min(head.length, size - position), position);
      if (head.subarray(0, headBytes).every(isZero) && isZeroFrom(fd, position)) return;
      const length = viewOf(head).getInt32(LENGTH_AT) + LENGTH_OVERHEAD;
      const format = oldFormatOf(head, size - position);
      if (format !== undefined)
        throw new Failure(`${path.basename(file)}, byte ${position}: message format ${format}, ${OLD_FORMAT}`);
      if (size - position < BATCH_HEADER_BYTES || length < BATCH_HEADER_BYTES || position + length > size)
        throw new Failure(
          `${path.basename(file)}, byte ${position}: no whole batch stands there (tidemark verify tells more)`,
        );
      if (head[MAGIC_AT] !== MAGIC)
        throw new Failure(`${path.basename(file)}, byte ${position}: message format ${head[MAGIC_AT]}, ${OLD_FORMAT}`);
      if (length > BATCH_BYTES_MAX)
        throw new Failure(`${path.basename(file)}, byte ${position}: a batch of ${length} bytes`);
      const bytes = new Uint8Array(length);
      readSync(fd, bytes, 0, length, position);
      yield { position, bytes };
      position += length;
    }
  } finally {
    closeSync(fd);
  }
}

/** The first and the last record of .log files. */
export interface Ends {
  readonly first: EndRecord;
  readonly last: EndRecord;
}
interface EndRecord {
  readonly offset: number;
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
}

/** Undefined if there is none, or none that can be read: then nobody can say that it is in a topic. */
export async function endsOf(files: readonly string[], kernel: Kernel): Promise<Ends | undefined> {
  let first: EndRecord | undefined;
  let last: Uint8Array | undefined;
  const recordIn = async (bytes: Uint8Array, which: 0 | -1): Promise<EndRecord> => {
    const batch = await decodeBatch(kernel, unpackBatch(kernel, bytes));
    const i = which === 0 ? 0 : batch.count - 1;
    return { offset: batch.offsetAt(i), key: batch.keyAt(i), value: batch.valueAt(i) };
  };
  try {
    for (const file of files)
      for (const { bytes } of batchesOfFile(file)) {
        first ??= await recordIn(bytes, 0);
        last = bytes;
      }
    return first && last && { first, last: await recordIn(last, -1) };
  } catch {
    return undefined;
  }
}

/** The offset at which a file begins, as its first bytes say; 0 for an empty one. */
function firstOffsetOf(file: string): number {
  const head = new Uint8Array(8);
  const fd = openSync(file, "r");
  try {
    readSync(fd, head, 0, head.length, 0);
  } finally {
    closeSync(fd);
  }
  return Number(viewOf(head).getBigInt64(0));
}

/** Where the topic began whose file this is. Each folder is asked once. */
function startsOf(): (file: string) => number {
  const known = new Map<string, number>();
  return (file) => {
    const folder = path.dirname(file);
    const start = known.get(folder) ?? startOf(folder);
    known.set(folder, start);
    return start;
  };
}

/**
 * The files in the order of their offsets, and where their topic began. Failure: one of several folders has records
 * that were trimmed from its topic's beginning, but they are not the first ones here, so no trim could remove them.
 */
export function segmentsInOrder(files: readonly string[]): {
  readonly files: readonly string[];
  readonly start: number;
} {
  const startIn = startsOf();
  if (files.length === 1) return { files, start: startIn(files[0]!) };
  const sorted = files
    .map((file) => ({ file, first: firstOffsetOf(file), folder: path.dirname(file) }))
    .sort((a, b) => a.first - b.first);
  const { folder } = sorted[0]!;
  const late = sorted.find((each) => each.folder !== folder && startIn(each.file) > each.first);
  if (late)
    throw new Failure(
      `${late.folder}: its topic begins at ${startIn(late.file)}, and records before are in its files, amid those of ` +
        `${folder}: import it into a topic of its own, or give --append for new offsets`,
    );
  return { files: sorted.map(({ file }) => file), start: startIn(sorted[0]!.file) };
}

/**
 * The records of .log files, without those that were trimmed from the beginning of their folder's topic, and without
 * what transactions wrote for the log itself. Failure: segments of one folder overlap.
 */
export async function* recordsOfSegments(files: readonly string[], kernel: Kernel): AsyncGenerator<LineInput[]> {
  const startIn = startsOf();
  /** Behind what was read, by folder. */
  const ends = new Map<string, number>();
  for (const file of files) {
    const start = startIn(file);
    // A name of another kind may be of another topic.
    const folder = SEGMENT_NAME.test(path.basename(file)) ? path.dirname(file) : undefined;
    for (const inFile of batchesOfFile(file)) {
      const batch = await checkedBatch(file, inFile, kernel);
      if (folder !== undefined) {
        const expected = ends.get(folder) ?? 0;
        if (batch.baseOffset < expected)
          throw new Failure(
            `${placeOf(file, inFile)}: offset ${batch.baseOffset} stands there, and ${expected} comes next: ` +
              `segments overlap`,
          );
        ends.set(folder, batch.nextOffset);
      }
      if (batch.isControl) continue;
      const kept = Array.from({ length: batch.count }, (_, i) => i).filter((i) => batch.offsetAt(i) >= start);
      if (kept.length === 0) continue;
      yield kept.map((i) => ({
        key: batch.keyAt(i)?.slice() ?? null,
        value: batch.valueAt(i)?.slice() ?? null,
        headers: batch.headersAt(i),
        timestamp: batch.timestampAt(i),
      }));
    }
  }
}

const placeOf = (file: string, { position }: FileBatch): string => `${path.basename(file)}, byte ${position}`;

/** Failure: the batch is damaged, can't be read, or holds records of a transaction, and where it stands. */
export async function checkedBatch(file: string, batch: FileBatch, kernel: Kernel): Promise<RecordBatch> {
  const where = placeOf(file, batch);
  let read: RecordBatch;
  try {
    read = await decodeBatch(kernel, unpackBatch(kernel, batch.bytes));
  } catch (thrown) {
    const { code, message } = TidemarkError.from(thrown).toWire();
    const advice = code === "UNSUPPORTED_FORMAT" ? "let a broker write the topic anew with gzip" : ADVICE_ON_DAMAGE;
    throw new Failure(`${where}: ${message} (${advice})`, { cause: thrown });
  }
  if (isTransactional(read) && !read.isControl)
    throw new Failure(
      `${where}: a batch of a transaction, and only a broker knows whether it was aborted: export the topic with ` +
        `a consumer that reads committed records`,
    );
  return read;
}

/** What the manifests beside these files say that their stream held; undefined if not each says it, and the same. */
export function toldTypeOf(files: readonly string[]): string | undefined {
  const told = new Set([...new Set(files.map((file) => path.dirname(file)))].map(contentTypeOf));
  return told.size === 1 ? [...told][0] : undefined;
}

/** The content type of a stream for these files: JSON if all values of the first batch are. */
export async function typeOfSegments(files: readonly string[], kernel: Kernel): Promise<string> {
  const bytes = "application/octet-stream";
  for (const file of files)
    for (const batch of batchesOfFile(file)) {
      const read = await decodeBatch(kernel, unpackBatch(kernel, batch.bytes));
      const values = Array.from({ length: read.count }, (_, i) => read.valueAt(i)).filter((value) => value !== null);
      if (values.length > 0) return values.every(isJson) ? "application/json" : bytes;
    }
  return bytes;
}

function isJson(value: Uint8Array): boolean {
  try {
    JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(value));
    return true;
  } catch {
    return false;
  }
}
