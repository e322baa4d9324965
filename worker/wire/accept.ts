/**
 * Which of a stream's representations a reader accepts, by its Accept header (RFC 9110, 12.5.1): quality, wildcards,
 * case and quoted parameters as in the standard. Every place that answers a read uses this.
 *
 * The most specific range that matches a representation gives its quality. If both have the same quality, the one that
 * is named more exactly is chosen, then the one named first. Parameters other than `q` are not compared: a body has
 * only one form, whatever charset is asked for.
 */
import { MIMEType } from "whatwg-mimetype";
import { BATCHES_TYPE } from "../../src/sync/http-words.ts";
import { EdgeError } from "../errors.ts";
import { mediaType } from "../stream/media-type.ts";

export { BATCHES_TYPE };
export const EVENTS_TYPE = "text/event-stream";
/** Records as lines of JSON (record-lines.ts). A stream may have this type as its own; then lines are its values. */
export const RECORDS_TYPE = "application/x-ndjson";
/** "values": values in the stream's own content type. "batches": record batches. "records": lines of JSON. */
export type Dialect = "values" | "batches" | "records";

/** True if a body of this type is lines with records, and not values of a stream of that type. */
export const isRecordsOf = (type: string, ofStream: string): boolean =>
  mediaType(type) === RECORDS_TYPE && mediaType(ofStream) !== RECORDS_TYPE;

interface Range {
  readonly type: string;
  readonly subtype: string;
  readonly quality: number;
}

/** The elements of a list header. A comma inside quotes does not separate elements. */
export function elementsOf(list: string): string[] {
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

/** Elements that are not a media range, or have no quality from 0 to 1, are ignored. */
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

/** True if a reader accepts this type. A header without any valid range accepts every type. */
export function accepts(accept: string | null | undefined, type: string): boolean {
  if (!accept || accept === "*/*") return true;
  const ranges = rangesOf(accept);
  return ranges.length === 0 || matchOf(ranges, mediaType(type)).quality > 0;
}

/** The dialect that a reader of a stream of this type wants. NOT_ACCEPTABLE (406) if it accepts none. */
export function dialectOf(accept: string | null | undefined, contentType: string): Dialect {
  if (!accept || accept === "*/*") return "values";
  if (accept === BATCHES_TYPE) return "batches";
  const ranges = rangesOf(accept);
  if (ranges.length === 0) return "values";
  const [values, batches] = [matchOf(ranges, mediaType(contentType)), matchOf(ranges, BATCHES_TYPE)];
  const records = matchOf(ranges, RECORDS_TYPE);
  if (values.quality === 0 && batches.quality === 0 && records.quality === 0)
    throw notAcceptable(accept, [contentType, RECORDS_TYPE, BATCHES_TYPE]);
  const found: readonly (readonly [Dialect, Match])[] = [
    ["values", values],
    ["batches", batches],
    // Only by its name: a wildcard has always meant the stream's own type.
    ["records", records.precision === 2 ? records : NONE],
  ];
  return found.reduce((best, each) => (isBetter(each[1], best[1]) ? each : best))[0];
}

const isBetter = (match: Match, than: Match): boolean =>
  (match.quality - than.quality || match.precision - than.precision || than.place - match.place) > 0;

/** The type among these that is named and wanted most. A wildcard names none. */
export function namedOf(accept: string | null, offered: readonly string[]): string | undefined {
  const ranges = accept === null ? [] : rangesOf(accept);
  const found = offered
    .map((type) => ({ type, match: matchOf(ranges, type) }))
    .filter(({ match }) => match.precision === 2 && match.quality > 0);
  return found.sort((a, b) => (isBetter(a.match, b.match) ? -1 : 1))[0]?.type;
}

/** True if the reader names this type; a wildcard doesn't. */
export const namesType = (accept: string, type: string): boolean => {
  const { precision, quality } = matchOf(rangesOf(accept), type);
  return precision === 2 && quality > 0;
};

/** True if lines of records are named. Whether they are wanted depends on the stream's own type (dialectOf). */
export const namesRecords = (accept: string | null): boolean => accept?.toLowerCase().includes(RECORDS_TYPE) === true;

export const notAcceptable = (accept: string, offered: readonly string[]): EdgeError =>
  new EdgeError("NOT_ACCEPTABLE", `Accept is ${accept.slice(0, 256)}; this can be read as ${offered.join(" or ")}`);
