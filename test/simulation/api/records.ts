/** Records to append, and what the model knows of each. */
import type { Random } from "../prng.ts";
import { type AnyRecord, bytes, text } from "./kinds.ts";
import { type Known, type Pairs, shownRecord, type TopicModel } from "./model.ts";

const utf8 = new TextEncoder();
const NAMES = ["trace", "", "__proto__", "constructor", "a\u0000b", "😀", "tm.x", "a b", "ds.producer"];

/** Whether the record must be taken. */
export type Outcome = "taken" | "refused" | "either";

export interface Drawn {
  readonly input: AnyRecord;
  readonly known: Known;
  readonly outcome: Outcome;
  readonly type: string | undefined;
}

const bytesOf = (value: unknown): Uint8Array | null =>
  value === null ? null : typeof value === "string" ? utf8.encode(value) : new Uint8Array(value as Uint8Array);

function aKey(random: Random, segmentBytes: number): string | Uint8Array | null | undefined {
  return random.pick<() => string | Uint8Array | null | undefined>([
    () => undefined,
    () => null,
    () => "",
    () => new Uint8Array(0),
    () => `k${random.int(6)}`,
    () => `k${random.int(6)}`,
    () => `k${random.int(6)}`,
    () => utf8.encode(`k${random.int(6)}`),
    () => bytes(random, random.int(6)),
    () => text(random, random.chance(0.02) ? random.pick([segmentBytes, segmentBytes >> 1, 4096]) : 8),
  ])();
}

function someHeaders(random: Random): { readonly given: unknown; readonly pairs: Pairs } {
  const aValue = (): string | Uint8Array | null =>
    random.pick([() => null, () => "", () => text(random, 5), () => bytes(random, 5), () => new Uint8Array(0)])();
  const list = Array.from({ length: random.between(0, 4) }, () => [random.pick(NAMES), aValue()] as const);
  const asPairs = (pairs: Iterable<readonly [string, string | Uint8Array | null]>): Pairs =>
    [...pairs].map(([name, value]) => [name, bytesOf(value)] as const);
  return random.pick<() => { readonly given: unknown; readonly pairs: Pairs }>([
    () => ({ given: undefined, pairs: [] }),
    () => ({ given: list, pairs: asPairs(list) }),
    () => ({ given: new Map(list), pairs: asPairs(new Map(list)) }),
    () => ({ given: Object.fromEntries(list), pairs: asPairs(Object.entries(Object.fromEntries(list))) }),
  ])();
}

function aTimestamp(random: Random): number | undefined {
  if (random.chance(0.4)) return undefined;
  if (random.chance(0.8)) return random.int(1000);
  return random.pick([
    0,
    -1,
    -5,
    2 ** 53 - 1,
    -(2 ** 53) + 1,
    Date.now(),
    Date.now() + 1e11,
    8.64e15 + 1,
    2 ** 31,
    2 ** 32,
  ]);
}

function aLength(random: Random, segmentBytes: number): number {
  if (random.chance(0.85)) return random.int(120);
  if (random.chance(0.9)) return random.int(9000);
  return random.pick([segmentBytes - random.int(9000), segmentBytes + 10, segmentBytes >> 1, segmentBytes * 0.7]);
}

export function draw(model: TopicModel, random: Random, segmentBytes: number): Drawn {
  const { kind } = model;
  const value = random.chance(0.1) ? null : kind.value(random, aLength(random, segmentBytes));
  const key = aKey(random, segmentBytes);
  const { given, pairs } = someHeaders(random);
  const timestamp = aTimestamp(random);
  const type = kind.type?.(value as never);
  const keyBytes = bytesOf(key ?? null);
  const added: Pairs = kind.added.map(([name, text]) => [name, utf8.encode(text)]);
  const headers: Pairs = [...pairs, ...(type === undefined ? [] : [["tm.type", utf8.encode(type)] as const]), ...added];
  const isBytes = ArrayBuffer.isView(value);
  const read =
    value === null ? null : kind.read((isBytes ? (kind.read(value as never) as Uint8Array).slice() : value) as never);
  const valueBytes =
    value === null
      ? 0
      : isBytes
        ? value.byteLength
        : utf8.encode(typeof value === "string" ? value : JSON.stringify(value)).length;
  const quoted = typeof value === "string" ? utf8.encode(JSON.stringify(value)).length : valueBytes;
  const rest =
    (keyBytes?.length ?? 0) + headers.reduce((sum, [name, bytes]) => sum + name.length + (bytes?.length ?? 0), 0);
  const input = {
    value,
    ...(key !== undefined && { key }),
    ...(given !== undefined && { headers: given as never }),
    ...(timestamp !== undefined && { timestamp }),
  };
  const now = Date.now();
  const known: Known = {
    key: keyBytes,
    isTombstone: value === null,
    shown: shownRecord(read, keyBytes, headers, type),
    timestampMin: timestamp ?? now,
    timestampMax: timestamp ?? now + 60_000,
    bytes: rest + quoted,
    id: undefined,
    timestamp: undefined,
  };
  return {
    input,
    known,
    outcome: outcomeOf(model, rest + valueBytes * 0.9, rest + quoted, segmentBytes, headers.length),
    type,
  };
}

function outcomeOf(model: TopicModel, least: number, most: number, segmentBytes: number, headers: number): Outcome {
  const { recordBytesMax = Infinity } = { ...model.settings, ...model.given };
  const room = 60 + 20 * headers;
  // Compressed records are small in the log; the page judges them before.
  if (least > recordBytesMax || least > segmentBytes) return "refused";
  return most + room < recordBytesMax && (most + room) * 1.3 < segmentBytes * 0.75 ? "taken" : "either";
}
