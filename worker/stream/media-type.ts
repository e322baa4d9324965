/**
 * Media types, parsed as the WHATWG standard says: case, parameters, quoting and white space do not change a type.
 * Every place that asks "is this JSON?" or "are these batches?" uses this, so that all places give the same answer.
 */
import { MIMEType } from "whatwg-mimetype";

const CHARS_MAX = 256;
/** Parsed types. Parsing costs more than a look-up, and hardly any client sends more than a few types. */
const essences = new Map<string, string>();
const ESSENCES_MAX = 256;

/** Type and subtype in lower case; "" if the text is not a media type. */
export function mediaType(text: string): string {
  const known = essences.get(text);
  if (known !== undefined) return known;
  const found = MIMEType.parse(text)?.essence ?? "";
  if (essences.size >= ESSENCES_MAX) essences.clear();
  if (text.length <= CHARS_MAX) essences.set(text, found);
  return found;
}
