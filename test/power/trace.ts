/**
 * A trace: a real browser's operations on its storage, and the log's promises, in the order in which they happened.
 *
 *   worker  calls of the volumes on their storage  ──┐
 *           sent, ack, open, trim … of the log     ──┴─▶ one list, sent to Node when a life ends
 *
 * Encoded: u32 length of the JSON, the JSON with every byte array replaced by its place, then all bytes.
 */
import type { Acks } from "../../src/log/types.ts";

export type Bytes = Uint8Array<ArrayBuffer>;
export type Ending = "closed" | "killed";

/** One row of a database: `value` is a page's bytes, or an object that the volume stores about itself. */
export interface Put {
  readonly store: string;
  readonly key: IDBValidKey;
  readonly value: unknown;
}

export type StorageEvent =
  /** The file exists from here on. It is empty unless it existed before. */
  | { readonly kind: "create"; readonly file: string }
  | { readonly kind: "remove"; readonly file: string }
  | { readonly kind: "truncate"; readonly file: string; readonly size: number }
  | { readonly kind: "write"; readonly file: string; readonly at: number; readonly data: Bytes }
  | { readonly kind: "flush"; readonly file: string }
  /** A commit was requested: from here on the transaction may be durable. */
  | {
      readonly kind: "tx";
      readonly id: number;
      readonly database: string;
      readonly durability: string;
      readonly puts: readonly Put[];
    }
  | { readonly kind: "tx-done"; readonly id: number; readonly ok: boolean };

export type LogEvent =
  /** The log took a batch and wrote its offsets into it. */
  | { readonly kind: "sent"; readonly log: string; readonly id: number; readonly acks: Acks; readonly data: Bytes }
  | {
      readonly kind: "ack";
      readonly log: string;
      readonly id: number;
      readonly acks: Acks;
      readonly baseOffset: number;
    }
  | { readonly kind: "refused"; readonly log: string; readonly id: number }
  | { readonly kind: "opened"; readonly log: string; readonly start: number; readonly end: number }
  | { readonly kind: "trim" | "trimmed"; readonly log: string; readonly offset: number }
  /** Compaction relies on all offsets below `flushed`: it removes records because newer ones are durable. */
  | {
      readonly kind: "replace" | "replaced";
      readonly log: string;
      readonly from: number;
      readonly to: number;
      readonly flushed: number;
    };

export type LifeEvent =
  { readonly kind: "life"; readonly life: number } | { readonly kind: "end"; readonly how: Ending };

export type TraceEvent = StorageEvent | LogEvent | LifeEvent;

export interface Trace {
  readonly engine: "opfs" | "indexeddb";
  /** The tide's name, which names its folder or its database. */
  readonly name: string;
  readonly slotBytes: number;
  /** The compacted logs: a record may be missing there if a newer one has its key. */
  readonly compacted: readonly string[];
  readonly seed: number;
  readonly events: readonly TraceEvent[];
}

interface Place {
  readonly blob: readonly [at: number, length: number];
}

export function encodeTrace(value: unknown): Bytes {
  const blobs: Uint8Array[] = [];
  let size = 0;
  const json = JSON.stringify(value, (_, field: unknown) => {
    if (!(field instanceof Uint8Array)) return field;
    blobs.push(field);
    size += field.length;
    return { blob: [size - field.length, field.length] } satisfies Place;
  });
  const head = new TextEncoder().encode(json);
  const bytes = new Uint8Array(4 + head.length + size);
  new DataView(bytes.buffer).setUint32(0, head.length);
  bytes.set(head, 4);
  let at = 4 + head.length;
  for (const blob of blobs) {
    bytes.set(blob, at);
    at += blob.length;
  }
  return bytes;
}

export function decodeTrace<T>(bytes: Uint8Array): T {
  const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);
  const blobs = bytes.subarray(4 + length);
  return JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)), (_, field: unknown) => {
    const place = (field as Partial<Place> | null)?.blob;
    return place ? blobs.slice(place[0], place[0] + place[1]) : field;
  }) as T;
}
