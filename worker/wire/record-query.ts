/**
 * What a read of lines asks for, in its address:
 *
 *   ?from=     17 │ earliest │ latest │ -10 (the last ten) │ 2027-02-28T00:00:00Z       default: earliest
 *   &follow    stays, and sends what comes
 *   &limit=    ends after this many records
 *   &key=      only records of this key
 */
import { timeOf } from "../../src/topic/time-text.ts";
import { badRequest } from "../errors.ts";
import { checkOnce, parseInteger } from "./durable-streams.ts";
import { quoted } from "./fields.ts";
import { parseOffset } from "./offsets.ts";

export type RecordsFrom =
  "earliest" | "latest" | { readonly offset: number } | { readonly last: number } | { readonly timestamp: number };

export interface RecordsAsked {
  readonly from: RecordsFrom;
  readonly follow: boolean;
  readonly limit: number;
  readonly key: string | undefined;
}

const NAMES = ["from", "follow", "limit", "key"] as const;
const OTHERS = ["offset", "live", "cursor", "timestamp"] as const;
const TIME = /^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+ -]\d{2}:\d{2}))?$/i;
const ALLOWED =
  "an offset, earliest, latest, -10 for the last ten, or a time that exists, such as 2027-02-28T00:00:00Z";

/** The first that the address names of what only reads of lines have. */
export const recordsParameter = ({ searchParams }: URL): string | undefined =>
  NAMES.find((name) => searchParams.has(name));

function fromOf(text: string): RecordsFrom {
  if (text === "earliest" || text === "latest") return text;
  if (/^\d+$/.test(text)) return { offset: parseInteger(text.replace(/^0+(?=\d)/, ""), "from") };
  if (/^-\d+$/.test(text)) return { last: parseInteger(text.slice(1), "from behind its sign") };
  // An offset as headers have it, so that a Stream-Next-Offset can be pasted.
  if (/^\d{16}_/.test(text)) return { offset: parseOffset(text, "from") as number };
  // In an address + means a space, and people forget to encode it.
  const timestamp = TIME.test(text) ? timeOf(text.replace(" ", "+")) : NaN;
  if (Number.isNaN(timestamp))
    throw badRequest(`from is ${quoted(text)}; it must be ${ALLOWED}`, { parameter: "from" });
  return { timestamp };
}

function followOf(text: string | null): boolean {
  if (text === null || text === "false" || text === "0") return false;
  if (text === "" || text === "true" || text === "1") return true;
  throw badRequest(`follow is ${quoted(text)}; it stands alone, or is true or false`, { parameter: "follow" });
}

/**
 * A text parameter. The parser reads bytes that are no UTF-8 as U+FFFD, which is another text. `url` is the request's
 * own: one whose parameters were changed is encoded anew.
 */
export function textParameter({ search, searchParams }: URL, name: string): string | undefined {
  const text = searchParams.get(name) ?? undefined;
  try {
    if (text?.includes("\ufffd")) decodeURIComponent(search);
  } catch {
    throw badRequest(`${name} is not well encoded: encode its UTF-8, as encodeURIComponent does`, { parameter: name });
  }
  return text;
}

/** `url` is the request's own. */
export function recordsAsked(url: URL): RecordsAsked {
  const { searchParams } = url;
  checkOnce(url, ...NAMES);
  for (const name of OTHERS)
    if (searchParams.has(name))
      throw badRequest(`${name} belongs to reads in the stream's own type; lines of records take ${NAMES.join(", ")}`, {
        parameter: name,
      });
  const limit = searchParams.get("limit");
  return {
    from: fromOf(searchParams.get("from") ?? "earliest"),
    follow: followOf(searchParams.get("follow")),
    limit: limit === null ? Infinity : parseInteger(limit, "limit", { min: 1 }),
    key: textParameter(url, "key"),
  };
}
