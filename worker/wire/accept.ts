/**
 * Which of a stream's representations a reader takes, by its Accept header (RFC 9110, 12.5.1): quality, wildcards, case
 * and quoted parameters as the standard has them. Every place that answers a read asks here.
 *
 * The most specific range that names a representation gives its quality. Of two with the same quality the one that is
 * named more exactly is taken, then the one named first. Parameters other than `q` are not compared: bodies have one
 * form, whatever charset is asked.
 */
import { MIMEType } from "whatwg-mimetype";
import { EdgeError } from "../errors.ts";
import { mediaType } from "../stream/media-type.ts";

export const BATCHES_TYPE = "application/vnd.tidemark.batches";
export const EVENTS_TYPE = "text/event-stream";
/** Values as the stream's own type has them, or record batches. */
export type Dialect = "values" | "batches";

interface Range {
  readonly type: string;
  readonly subtype: string;
  readonly quality: number;
}

/** Elements of a list header; a comma inside quotes is none of its commas. */
function elementsOf(list: string): string[] {
  const found: string[] = [];
  let start = 0;
  let isQuoted = false;
  for (let at = 0; at < list.length; at++) {
    const char = list[at];
    if (isQuoted && char === "\\") at++;
    else if (char === '"') isQuoted = !isQuoted;
    else if (char === "," && !isQuoted) {
      found.push(list.slice(start, at));
      start = at + 1;
    }
  }
  return [...found, list.slice(start)];
}

/** Elements that are no media range, or have no quality from 0 to 1, say nothing. */
function rangesOf(accept: string): Range[] {
  const ranges: Range[] = [];
  for (const element of elementsOf(accept)) {
    const parsed = MIMEType.parse(element.trim());
    if (parsed === null) continue;
    const { type, subtype, parameters } = parsed;
    const quality = Number(new Map(parameters).get("q") ?? 1);
    if (quality >= 0 && quality <= 1) ranges.push({ type, subtype, quality });
  }
  return ranges;
}

interface Match {
  readonly quality: number;
  readonly precision: number;
  readonly place: number;
}
const NONE: Match = { quality: 0, precision: -1, place: Infinity };

function matchOf(ranges: readonly Range[], essence: string): Match {
  let best = NONE;
  for (const [place, { type, subtype, quality }] of ranges.entries()) {
    const precision =
      type === "*" && subtype === "*"
        ? 0
        : `${type}/${subtype}` === essence
          ? 2
          : subtype === "*" && essence.startsWith(`${type}/`)
            ? 1
            : -1;
    if (precision > best.precision || (precision === best.precision && precision >= 0 && quality > best.quality))
      best = { quality, precision, place };
  }
  return best;
}

/** Does a reader take this type? One that says nothing that can be understood takes any. */
export function accepts(accept: string | null | undefined, type: string): boolean {
  if (!accept || accept === "*/*") return true;
  const ranges = rangesOf(accept);
  return ranges.length === 0 || matchOf(ranges, mediaType(type)).quality > 0;
}

/** The dialect that a reader of a stream of this type wants; 406 when it takes neither. */
export function dialectOf(accept: string | null | undefined, contentType: string): Dialect {
  if (!accept || accept === "*/*") return "values";
  if (accept === BATCHES_TYPE) return "batches";
  const ranges = rangesOf(accept);
  if (ranges.length === 0) return "values";
  const [values, batches] = [matchOf(ranges, mediaType(contentType)), matchOf(ranges, BATCHES_TYPE)];
  if (values.quality === 0 && batches.quality === 0) throw notAcceptable(accept, [contentType, BATCHES_TYPE]);
  const isBatches =
    batches.quality - values.quality || batches.precision - values.precision || values.place - batches.place;
  return isBatches > 0 ? "batches" : "values";
}

export const notAcceptable = (accept: string, offered: readonly string[]): EdgeError =>
  new EdgeError("NOT_ACCEPTABLE", `Accept is ${accept.slice(0, 256)}; this can be read as ${offered.join(" or ")}`);
