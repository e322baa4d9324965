/**
 * Where records come from: stdin, pipes and files of lines, the same in gzip, folders of Kafka segments. Each gives
 * chunks, so that what comes slowly is appended as it comes.
 */
import { createReadStream, existsSync, fstatSync, statSync } from "node:fs";
import path from "node:path";
import { Readable } from "node:stream";
import { createGunzip } from "node:zlib";
import { concat } from "../src/record/bytes.ts";
import { Failure } from "./failure.ts";
import { inputOfLine, type LinesAs, type LineInput } from "./lines.ts";
import { MANIFEST, segmentFolder } from "./manifest.ts";
import { note } from "./terminal.ts";

/** A longer line is no record: the largest has 1 MiB, and base64 adds a third. */
const LINE_BYTES_MAX = 16 * 1024 * 1024;
const GZIP = [0x1f, 0x8b];
const MARK = [0xef, 0xbb, 0xbf];
const LINE_FEED = 0x0a;
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

const startsWith = (bytes: Uint8Array, head: readonly number[]): boolean => head.every((byte, i) => bytes[i] === byte);

/** Lines of a stream of bytes, a list for each piece that comes. A last line without an end counts. */
async function* linesOf(stream: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array[]> {
  let rest: Uint8Array[] = [];
  let [restBytes, count] = [0, 0];
  const ended = (last: Uint8Array): Uint8Array => {
    const line = concat([...rest, last]);
    [rest, restBytes] = [[], 0];
    return ++count === 1 && startsWith(line, MARK) ? line.subarray(MARK.length) : line;
  };
  for await (const piece of stream) {
    const lines: Uint8Array[] = [];
    let at = 0;
    for (let end = piece.indexOf(LINE_FEED); end >= 0; end = piece.indexOf(LINE_FEED, at)) {
      lines.push(ended(piece.subarray(at, end)));
      at = end + 1;
    }
    if (lines.length > 0) yield lines;
    if (at === piece.length) continue;
    rest.push(piece.subarray(at));
    restBytes += piece.length - at;
    if (restBytes > LINE_BYTES_MAX) throw new Failure(`line ${count + 1} has more than ${LINE_BYTES_MAX} bytes`);
  }
  if (restBytes > 0) yield [ended(new Uint8Array(0))];
}

function textOf(line: Uint8Array, as: LinesAs, at: number): string {
  let text: string;
  try {
    text = decoder.decode(line);
  } catch {
    const hint =
      as === "records" ? "bytes go into valueBase64 and keyBase64" : "bytes take --as records and valueBase64";
    throw new Failure(`line ${at} is not UTF-8; ${hint}`);
  }
  return text.endsWith("\r") ? text.slice(0, -1) : text;
}

/** Records of a stream of lines in UTF-8. Empty lines are passed over, except as text. */
export async function* recordsOfLines(stream: AsyncIterable<Uint8Array>, as: LinesAs): AsyncGenerator<LineInput[]> {
  let at = 0;
  for await (const lines of linesOf(stream)) {
    const records: LineInput[] = [];
    let wrong: { readonly thrown: unknown } | undefined;
    for (const line of lines) {
      at++;
      try {
        const text = textOf(line, as, at);
        if (text.trim() !== "" || as === "text") records.push(inputOfLine(text, as, at));
      } catch (thrown) {
        wrong = { thrown };
        break;
      }
    }
    if (records.length > 0) yield records;
    // The lines before it are appended, however they came.
    if (wrong) throw wrong.thrown;
  }
}

async function* joined(head: readonly Uint8Array[], rest: AsyncIterator<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield* head;
  for (let next = await rest.next(); !next.done; next = await rest.next()) yield next.value;
}

function isFolder(fd: number): boolean {
  try {
    return fstatSync(fd).isDirectory();
  } catch {
    // stdin is closed, so it is no folder.
    return false;
  }
}

/** Failure: stdin is a folder, which Node gives as if it were empty. `fd` is for tests. */
export function standardInput(fd = 0): NodeJS.ReadStream {
  if (isFolder(fd)) throw new Failure("stdin is a folder, and not a file or a pipe: there are no lines in it");
  return process.stdin;
}

/**
 * The bytes of a file or, as "-", of stdin; unpacked if they are gzip. That shows in the first two that come: a pipe
 * can't be read at a place.
 */
export async function* bytesOf(file: string): AsyncGenerator<Uint8Array> {
  const source = file === "-" ? standardInput() : createReadStream(file);
  try {
    const pieces = source[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>;
    const head: Uint8Array[] = [];
    for (let bytes = 0; bytes < GZIP.length;) {
      const next = await pieces.next();
      if (next.done) break;
      head.push(next.value);
      bytes += next.value.length;
    }
    const all = joined(head, pieces);
    if (startsWith(concat(head), GZIP)) yield* unpackedOf(all, file);
    else yield* all;
  } finally {
    source.destroy();
  }
}

async function* unpackedOf(packed: AsyncIterable<Uint8Array>, file: string): AsyncGenerator<Uint8Array> {
  const source = Readable.from(packed, { objectMode: false });
  const unpacked = createGunzip();
  source.on("error", (error) => unpacked.destroy(error));
  unpacked.on("error", (error) => void (error.message = `${file}: ${error.message}`));
  yield* source.pipe(unpacked) as AsyncIterable<Uint8Array>;
}

/** /dev/stdin and /proc/self/fd/0 may be a file, but only of this call, and nothing can lie beside it. */
const OF_THE_SYSTEM = /^\/(proc|dev(?!\/shm\/))(\/|$)/;

/** True for what can be read again from its beginning, and has a folder: neither stdin nor another pipe. */
export const isKept = (file: string): boolean =>
  file !== "-" && !OF_THE_SYSTEM.test(path.resolve(file)) && (statSync(file).isFile() || statSync(file).isDirectory());

/**
 * The .log files that these paths name, folder by folder, each in the order of its files' names; undefined if they name
 * other files, and none if they are folders of topics that were empty when they were exported.
 */
export function segmentFiles(paths: readonly string[]): string[] | undefined {
  const found = paths.flatMap((each) => {
    if (each === "-") return [each];
    if (!existsSync(each)) throw new Failure(`${each} is not there`);
    if (!statSync(each).isDirectory()) return [each];
    const { logs, others, isExported } = segmentFolder(each);
    if (logs.length === 0 && !isExported) throw new Failure(`no .log file is in the folder ${each}`);
    if (others.length > 0) note(`${others.join(", ")} of ${each}: passed over, as ${MANIFEST} does not name it`);
    return logs.map((name) => path.join(each, name));
  });
  const isLog = found.map((file) => file.endsWith(".log"));
  if (found.length === 0) return [];
  if (!isLog.includes(true)) return undefined;
  if (isLog.includes(false)) throw new Failure("give either .log files of Kafka, or files of lines, not both");
  const folders = found.map((file) => path.dirname(file));
  const place = (file: string): number => folders.indexOf(path.dirname(file));
  return found.sort((a, b) => place(a) - place(b) || (path.basename(a) < path.basename(b) ? -1 : 1));
}
