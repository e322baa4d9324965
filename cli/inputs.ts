/**
 * Where records come from: stdin, files of lines, the same in gzip, folders of Kafka segments. Each gives chunks, so
 * that what comes slowly is appended as it comes.
 */
import { createReadStream, existsSync, openSync, readSync, statSync } from "node:fs";
import path from "node:path";
import type { Readable } from "node:stream";
import { createGunzip } from "node:zlib";
import { Failure } from "./failure.ts";
import { inputOfLine, type LinesAs, type LineInput } from "./lines.ts";
import { MANIFEST, segmentFolder } from "./manifest.ts";
import { note } from "./terminal.ts";

/** A longer line is no record: the largest has 1 MiB, and base64 adds a third. */
const LINE_BYTES_MAX = 16 * 1024 * 1024;
const GZIP = [0x1f, 0x8b];

/** Lines of a stream of bytes, a list for each piece that comes. A last line without an end counts. */
async function* linesOf(stream: Readable): AsyncGenerator<string[]> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const piece of stream as AsyncIterable<Uint8Array>) {
    const lines = (rest + decoder.decode(piece, { stream: true })).split("\n");
    rest = lines.pop()!;
    if (rest.length > LINE_BYTES_MAX) throw new Failure(`a line has more than ${LINE_BYTES_MAX} characters`);
    if (lines.length > 0) yield lines;
  }
  rest += decoder.decode();
  if (rest !== "") yield [rest];
}

/** Records of a stream of lines. Empty lines are passed over, except as text. */
export async function* recordsOfLines(stream: Readable, as: LinesAs): AsyncGenerator<LineInput[]> {
  let at = 0;
  for await (const lines of linesOf(stream)) {
    const records: LineInput[] = [];
    let wrong: { readonly thrown: unknown } | undefined;
    for (const line of lines) {
      at++;
      const text = line.endsWith("\r") ? line.slice(0, -1) : line;
      try {
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

function beginsWithGzip(file: string): boolean {
  const head = new Uint8Array(2);
  const fd = openSync(file, "r");
  return readSync(fd, head, 0, 2, 0) === 2 && head.every((byte, i) => byte === GZIP[i]);
}

/** A file's bytes, unpacked if they are gzip. */
export function bytesOf(file: string): Readable {
  const stream = createReadStream(file);
  if (!beginsWithGzip(file)) return stream;
  const unpacked = createGunzip();
  stream.on("error", (error) => unpacked.destroy(error));
  unpacked.on("error", (error) => void (error.message = `${file}: ${error.message}`));
  return stream.pipe(unpacked);
}

/**
 * The .log files that these paths name, folder by folder, each in the order of its files' names; undefined if they name
 * other files.
 */
export function segmentFiles(paths: readonly string[]): string[] | undefined {
  const found = paths.flatMap((each) => {
    if (each === "-") return [each];
    if (!existsSync(each)) throw new Failure(`${each} is not there`);
    if (!statSync(each).isDirectory()) return [each];
    const { logs, others } = segmentFolder(each);
    if (logs.length === 0) throw new Failure(`no .log file is in the folder ${each}`);
    if (others.length > 0) note(`${others.join(", ")} of ${each}: passed over, as ${MANIFEST} does not name it`);
    return logs.map((name) => path.join(each, name));
  });
  const isLog = found.map((file) => file.endsWith(".log"));
  if (!isLog.includes(true)) return undefined;
  if (isLog.includes(false)) throw new Failure("give either .log files of Kafka, or files of lines, not both");
  const folders = found.map((file) => path.dirname(file));
  const place = (file: string): number => folders.indexOf(path.dirname(file));
  return found.sort((a, b) => place(a) - place(b) || (path.basename(a) < path.basename(b) ? -1 : 1));
}
