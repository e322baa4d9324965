/** A time that a person has written, for positions in a topic and for records' timestamps. */

const TIME = /^(\d{4}-\d\d-\d\d)(?:T(\d\d:\d\d)(?::(\d\d)(?:\.\d{1,9})?)?(?:Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)?)?$/i;

/**
 * Milliseconds since 1970 of a time of ISO 8601: a day, which begins in UTC, or a day and a time, which without a zone
 * is this machine's. NaN if the text is none, or names a day or an hour that does not exist: Date.parse() alone would
 * make 3 March of 31 February.
 */
export function timeOf(text: string): number {
  const [, day, minutes = "00:00", seconds = "00"] = TIME.exec(text) ?? [];
  const plain = `${day}T${minutes}:${seconds}`;
  const at = Date.parse(`${plain}Z`);
  return !Number.isNaN(at) && new Date(at).toISOString().slice(0, 19) === plain ? Date.parse(text.toUpperCase()) : NaN;
}
