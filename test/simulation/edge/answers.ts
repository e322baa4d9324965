/** What an answer says, and what it should say. */
import { bytesOf } from "./core.ts";
import type { Held, ModelStream } from "./model.ts";

export const numberIn = (text: string | null): number => Number(text?.slice(0, 16) ?? NaN);
export const textOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString("utf8");

/** The body of a read in the stream's own type. */
export function bodyOf(stream: ModelStream, records: readonly Held[], from: number, to: number): Uint8Array {
  const values = records
    .filter(({ offset, value }) => offset >= from && offset < to && value !== null)
    .map(({ value }) => value!);
  if (!stream.isJson) return new Uint8Array(Buffer.concat(values));
  return new Uint8Array(
    Buffer.concat([
      bytesOf("["),
      ...values.flatMap((value, i) => (i === 0 ? [value] : [bytesOf(","), value])),
      bytesOf("]"),
    ]),
  );
}
