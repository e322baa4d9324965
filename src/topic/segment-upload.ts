/**
 * Brings .log files to an edge, piece by piece (worker/stream/segment-imports.ts takes them). The edge says after each
 * piece where the next one begins, so the same call again goes on where an earlier one ended, and nothing counts twice.
 */
import { TidemarkError } from "../errors.ts";
import { BATCH_HEADER_BYTES, CRC_AT } from "../record/format.ts";
import { textDecoder, textEncoder, viewOf } from "../record/bytes.ts";
import {
  IMPORT_TYPE,
  type ImportOptions,
  type ImportResult,
  inOffsetOrder,
  PIECE_BYTES_MAX,
  PIECE_TYPE,
  type SegmentSource,
} from "../store/segment-files.ts";
import { callback, signal } from "./check.ts";
import { IMPORT_OPTIONS, importedFiles, type ImportedFile } from "./imported-files.ts";

export interface SegmentUpload extends ImportOptions {
  /** Called after each piece that the edge has: bytes of all files up to there, and in all. */
  readonly onProgress?: ((progress: { readonly bytes: number; readonly bytesTotal: number }) => void) | undefined;
  /** If it is aborted, the call rejects with its reason between two pieces. The same call goes on there later. */
  readonly signal?: AbortSignal | undefined;
}

/** The edge's answer: where the import is. */
interface Standing extends ImportResult {
  readonly import: string;
  readonly file: number;
  readonly position: number;
  readonly done: boolean;
}

/** Sends one POST, as often as it takes, and gives the answer's body. `type` is its content type. */
export type PostImport = (type: string, query: string, body: Uint8Array) => Promise<Uint8Array>;

const OPTIONS = { ...IMPORT_OPTIONS, onProgress: callback, signal };

async function describeFile(source: SegmentSource): Promise<object> {
  const { name, bytes } = source;
  const head = await source.read(0, Math.min(BATCH_HEADER_BYTES, bytes));
  // Other content under the same name and size is another import.
  const mark = head.length < BATCH_HEADER_BYTES ? null : viewOf(head).getUint32(CRC_AT).toString(16);
  return { name, bytes, mark };
}

function standingIn(body: Uint8Array, files: number): Standing {
  const answer = jsonIn(body);
  const { import: id, file, position, done } = Object(answer) as Partial<Standing>;
  const isPlace = Number.isSafeInteger(file) && Number.isSafeInteger(position) && file! >= 0 && position! >= 0;
  if (typeof id === "string" && isPlace && (done === true || file! < files)) return answer as Standing;
  throw new TidemarkError("UNSUPPORTED_EDGE", "the answer tells nothing of an import: is this edge an older one?");
}

function jsonIn(body: Uint8Array): unknown {
  try {
    return JSON.parse(textDecoder.decode(body));
  } catch {
    return undefined;
  }
}

/** Resolves once the edge has it all. INVALID_ARGUMENT, and what `post` rejects with. */
export async function uploadSegments(
  given: Iterable<ImportedFile>,
  options: SegmentUpload,
  post: PostImport,
): Promise<ImportResult> {
  const sources = await inOffsetOrder(importedFiles(given, options, OPTIONS));
  const { damage = "refuse", onProgress, signal: ends } = options;
  const files = await Promise.all(sources.map(describeFile));
  const request = textEncoder.encode(JSON.stringify({ files, damage }));
  const bytesTotal = sources.reduce((sum, { bytes }) => sum + bytes, 0);
  ends?.throwIfAborted();
  let standing = standingIn(await post(IMPORT_TYPE, "", request), files.length);
  for (; !standing.done;) {
    ends?.throwIfAborted();
    const { file, position } = standing;
    const source = sources[file]!;
    const length = Math.min(PIECE_BYTES_MAX, source.bytes - position);
    const bytes = await source.read(position, length);
    if (bytes.length !== length)
      throw new TidemarkError("INVALID_ARGUMENT", `${source.name} is shorter than it was`, {
        field: "files",
        file: source.name,
      });
    const query = `?import=${standing.import}&file=${file}&position=${position}`;
    standing = standingIn(await post(PIECE_TYPE, query, bytes), files.length);
    const before = sources.slice(0, standing.file).reduce((sum, each) => sum + each.bytes, 0);
    onProgress?.({ bytes: standing.done ? bytesTotal : before + standing.position, bytesTotal });
  }
  const { batches, records, firstOffset, nextOffset, damage: found } = standing;
  return { batches, records, firstOffset, nextOffset, damage: found };
}

/** The sender of tidemark/client: again() repeats a request until it passes. */
interface Trying {
  again<T>(work: (over: AbortSignal) => Promise<T>, how?: { readonly signal?: AbortSignal | undefined }): Promise<T>;
}
interface UploadAsk {
  readonly method: string;
  readonly query: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array<ArrayBuffer>;
  readonly signal: AbortSignal;
}

export type GivenUpload = readonly [files: Iterable<ImportedFile>, options?: SegmentUpload];

/** The same over requests that are tried again. `send` without a request makes the topic, unless `create` is false. */
export async function uploadBy(
  [files, options = {}]: GivenUpload,
  { requests }: { readonly requests: Trying },
  send: (ask?: UploadAsk) => Promise<{ readonly bytes: Uint8Array }>,
  { create = true }: { readonly create?: boolean | undefined },
): Promise<ImportResult> {
  let made: Promise<unknown> | undefined;
  return uploadSegments(files, options, async (type, query, body) => {
    const { signal } = options;
    if (create) await (made ??= requests.again(() => send(), { signal }));
    const ask = { method: "POST", query, headers: { "content-type": type }, body: body as Uint8Array<ArrayBuffer> };
    return (await requests.again((over) => send({ ...ask, signal: over }), { signal })).bytes;
  });
}
