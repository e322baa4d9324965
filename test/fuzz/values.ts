/**
 * Values that a buggy or hostile page may put in a field of a message. Structured clone carries all of them.
 */
import type { Random } from "../simulation/prng.ts";

function nested(depth: number): unknown {
  let value: unknown = [];
  for (let i = 0; i < depth; i++) value = [value];
  return value;
}

function circular(): unknown {
  const value: Record<string, unknown> = { last: 1 };
  value["self"] = value;
  return value;
}

/** An object whose conversion to text or number throws, because neither method returns a primitive. */
const unconvertible = (): unknown => ({
  toString: 1,
  valueOf: 1,
  last: { toString: 1, valueOf: 1 },
  timestamp: { valueOf: 1, toString: 1 },
});

const MAKERS: readonly ((random: Random) => unknown)[] = [
  () => undefined,
  () => null,
  () => true,
  () => false,
  () => "",
  () => "t",
  () => "7",
  () => "x".repeat(10_000),
  () => "__proto__",
  () => "\ud800",
  () => 0,
  () => -0,
  () => 1,
  () => -1,
  () => 0.5,
  () => -0.5,
  () => -8192,
  () => -8193,
  () => 2 ** 31,
  () => 2 ** 32,
  () => 2 ** 53,
  () => -(2 ** 53),
  () => 1e308,
  () => Number.NaN,
  () => Infinity,
  () => -Infinity,
  () => 1n,
  () => -1n,
  () => 2n ** 100n,
  () => [],
  () => [1],
  () => [1, 2],
  () => new Array(2 ** 32 - 1),
  (random) => nested(random.int(2000)),
  () => ({}),
  circular,
  unconvertible,
  () => ({ length: 2 ** 53, byteLength: 1 }),
  () => JSON.parse('{"__proto__":{"op":"append"},"constructor":1,"then":1,"hasOwnProperty":1}'),
  () => new Date(Number.NaN),
  () => new Date(5),
  () => /x/g,
  () => new Map([[1, 2]]),
  () => new Set([1]),
  () => new Error("x"),
  () => Object(5),
  () => Object("earliest"),
  () => Object(1n),
  () => new ArrayBuffer(8),
  () => new Uint8Array(0),
  () => new Uint8Array(61),
  () => new Uint8Array(new SharedArrayBuffer(100)),
  () => new SharedArrayBuffer(16),
  () => new DataView(new ArrayBuffer(100)),
  () => new Float64Array(8),
  () => new Uint8ClampedArray(70),
  () => new Uint8Array(new ArrayBuffer(100_000), 99_000, 70),
  () => ({ timestamp: Number.NaN }),
  () => ({ timestamp: "5" }),
  () => ({ timestamp: 1n }),
  () => ({ timestamp: -Infinity }),
  () => ({ timestamp: 2 ** 60 }),
  () => ({ timestamp: null }),
  () => ({ last: Number.NaN }),
  () => ({ last: "2" }),
  () => ({ last: 2n }),
  () => ({ last: Infinity }),
  () => ({ last: [3] }),
  () => ({ last: 0.5 }),
  () => ({ last: -0.1 }),
  () => ({ last: undefined }),
];

export const wildValue = (random: Random): unknown => random.pick(MAKERS)(random);

/** A short text of any value for a report. It never throws. */
export function show(value: unknown, depth = 3): string {
  if (typeof value === "string") return JSON.stringify(value.length > 80 ? `${value.slice(0, 80)}…` : value);
  if (typeof value === "bigint") return `${value}n`;
  if (typeof value !== "object" || value === null) return Object.is(value, -0) ? "-0" : String(value);
  if (ArrayBuffer.isView(value)) return `${value.constructor.name}(${value.byteLength} of ${value.buffer.byteLength})`;
  if (Array.isArray(value))
    return depth > 0 && value.length < 5
      ? `[${value.map((each) => show(each, depth - 1)).join(", ")}]`
      : `array(${value.length})`;
  const name = Object.getPrototypeOf(value)?.constructor?.name ?? "null";
  if (depth === 0 || name !== "Object") return name;
  return `{ ${Object.entries(value)
    .map(([key, each]) => `${key}: ${show(each, depth - 1)}`)
    .join(", ")} }`;
}
