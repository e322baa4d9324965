/**
 * Records that can be checked byte by byte: each begins with its number and its key, and the number determines all
 * other bytes.
 */
import type { RecordInput, TopicRecord } from "../../../src/browser/index.ts";
import type { SentRecord } from "../events.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export function recordOf([value, key, tombstone]: SentRecord, filler: number): RecordInput<Uint8Array> {
  if (tombstone) return { key, value: null, headers: { value: String(value) } };
  const head = encoder.encode(`${value}|${key ?? ""}|`);
  const bytes = new Uint8Array(head.length + filler);
  bytes.set(head);
  for (let i = 0; i < filler; i++) bytes[head.length + i] = fillerAt(value, i);
  return { key, value: bytes };
}

const fillerAt = (value: number, i: number): number => (value * 31 + i * 7) & 0xff;

/** The number of a record that was read. If any byte is wrong, a text instead, which no writer sends. */
export function valueOf(record: TopicRecord<Uint8Array>): number | string {
  const { key, valueBytes: bytes } = record;
  if (bytes === null) return Number(record.headers["value"]);
  const second = bytes.indexOf(124, bytes.indexOf(124) + 1);
  const [number, sentKey] = decoder.decode(bytes.subarray(0, second)).split("|");
  const value = Number(number);
  const filler = bytes.subarray(second + 1);
  const good =
    Number.isSafeInteger(value) && sentKey === (key ?? "") && filler.every((byte, i) => byte === fillerAt(value, i));
  return good ? value : `garbled at ${record.offset}`;
}
