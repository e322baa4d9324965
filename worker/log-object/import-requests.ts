/**
 * The import of segments over HTTP, in the object (stream/segment-imports.ts does the work):
 *
 *   POST  Content-Type: application/vnd.tidemark.import+json     {"files":[{"name","bytes","mark"}],"damage"}   begins
 *   POST  Content-Type: application/vnd.tidemark.import-piece    ?import=ID&file=N&position=P                   a piece
 *
 * Both answer how far the import is. Requests take turns with creations and deletions of the stream.
 */
import { IMPORT_TYPE, PIECE_BYTES_MAX } from "../../src/store/segment-files.ts";
import {
  beginImport,
  type ImportFile,
  type ImportPiece,
  type ImportRequest,
  type ImportStanding,
  takePiece,
} from "../stream/segment-imports.ts";
import { mediaType } from "../stream/media-type.ts";
import type { Stream } from "../stream/stream.ts";
import { badRequest } from "../errors.ts";
import { fieldsOf, listField, numberField, objectField, optionalText, quoted, textField } from "../wire/fields.ts";
import { json } from "../wire/http.ts";
import { checkOnce, H, isClosing, parseInteger } from "../wire/durable-streams.ts";
import { readBody } from "../wire/request-body.ts";
import { refuseHeaders } from "../wire/heeded.ts";
import type { Lifecycle } from "./lifecycle.ts";

/** The request is a row in the tables. */
const REQUEST_BYTES_MAX = 512 * 1024;
const FILES_MAX = 4_096;
const NAME_CHARS_MAX = 255;
const MARK_CHARS_MAX = 64;

export interface ImportHost {
  readonly life: Pick<Lifecycle, "exclusive" | "visible" | "renewed">;
  /** What the alarm has to do has changed. */
  plan(): void;
  /** The stream has been filled, and was opened anew. An alarm that ran meanwhile has planned nothing for this one. */
  filled(stream: Stream): void;
}

function requestIn(body: Uint8Array): ImportRequest {
  const fields = fieldsOf(body);
  const files = listField(fields["files"], "files", FILES_MAX).map((given, i): ImportFile => {
    const file = objectField(given, `files[${i}]`);
    // Tells files of one name and size apart: it has no other meaning here.
    const mark = optionalText(file["mark"], `files[${i}].mark`, MARK_CHARS_MAX);
    return {
      name: textField(file["name"], `files[${i}].name`, NAME_CHARS_MAX),
      bytes: numberField(file["bytes"], `files[${i}].bytes`, { min: 0, max: Number.MAX_SAFE_INTEGER }),
      ...(mark !== null && { mark }),
    };
  });
  const { damage = "refuse" } = fields;
  if (damage !== "refuse" && damage !== "skip")
    throw badRequest(`damage is ${quoted(damage)}; it must be "refuse" or "skip"`);
  return { files, damage };
}

function placeIn(url: URL): Omit<ImportPiece, "bytes"> {
  checkOnce(url, "import", "file", "position");
  const { searchParams } = url;
  const number = (name: string): number => parseInteger(searchParams.get(name) ?? "", name);
  return {
    id: textField(searchParams.get("import"), "import", MARK_CHARS_MAX),
    file: number("file"),
    position: number("position"),
  };
}

export async function answerImport(request: Request, host: ImportHost): Promise<Response> {
  const isBegin = mediaType(request.headers.get("content-type") ?? "") === IMPORT_TYPE;
  if (isClosing(request.headers)) throw badRequest(`an import closes nothing: send ${H.closed} by itself`);
  refuseHeaders(request.headers, "an import");
  const place = isBegin ? undefined : placeIn(new URL(request.url));
  // Read before its turn, so that a slow body does not hold up others.
  const body = await readBody(request, isBegin ? REQUEST_BYTES_MAX : PIECE_BYTES_MAX);
  return host.life.exclusive(async () => {
    const stream = await host.life.visible();
    stream.touch();
    // The object may end between the commit of the last piece and what follows it.
    host.plan();
    const standing = place
      ? await takePiece(stream, { ...place, bytes: body })
      : await beginImport(stream, requestIn(body), () => crypto.randomUUID());
    if (standing.taken) {
      const filled = await host.life.renewed(stream);
      filled?.touch();
      if (filled) host.filled(filled);
    }
    host.plan();
    return json(200, answerOf(standing));
  });
}

const answerOf = ({ id, taken: _, heardAt: _at, open: _open, firstOffset = 0, ...rest }: ImportStanding): object => ({
  import: id,
  ...rest,
  firstOffset,
});
