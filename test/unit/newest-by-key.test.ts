/** The table of newest offsets against a Map, also where hashes meet. */
import { expect, test } from "vitest";
import { hashOf, NewestByKey } from "../../src/log/newest-by-key.ts";
import { Random } from "../simulation/prng.ts";

const SEED = 20261129;

/** Keys of any length, the empty one among them; many begin or end alike. */
function drawKey(random: Random): Uint8Array {
  const key = new Uint8Array(random.int(5) === 0 ? random.int(200) : random.int(4));
  for (let i = 0; i < key.length; i++) key[i] = random.int(3) === 0 ? random.int(256) : 7;
  return key;
}

test.each([
  ["its own hash", hashOf],
  ["a hash that is the same for all", () => -1],
  ["a hash of eight values, in one part", (key: Uint8Array) => (key.length & 7) << 8],
])("agrees with a Map, with %s", (_, hash) => {
  const random = new Random(SEED);
  const table = new NewestByKey(SEED, hash);
  const model = new Map<string, number>();
  for (let offset = 0; offset < 4000; offset++) {
    const key = drawKey(random);
    const name = key.join();
    expect(table.get(key), `seed ${SEED}, before ${offset}`).toBe(model.get(name));
    if (random.int(3) === 0) continue;
    // Offsets are safe integers, far beyond 32 bits.
    table.set(key, offset * 2 ** 40);
    model.set(name, offset * 2 ** 40);
    expect(table.get(key)).toBe(offset * 2 ** 40);
  }
  for (const [name, offset] of model) {
    const key = name === "" ? new Uint8Array(0) : Uint8Array.from(name.split(","), Number);
    expect(table.get(key)).toBe(offset);
  }
});

test("keeps its own copy of a key", () => {
  const table = new NewestByKey(1);
  const bytes = Uint8Array.of(1, 2, 3);
  table.set(bytes.subarray(0, 2), 5);
  bytes.fill(9);
  expect(table.get(Uint8Array.of(1, 2))).toBe(5);
  expect(table.get(Uint8Array.of(9, 9))).toBeUndefined();
});

test("hashes of like keys spread over all parts, differently for each seed", () => {
  const partsOf = (seed: number): number[] =>
    Array.from({ length: 4096 }, (_, i) => hashOf(new TextEncoder().encode(`key-${i}`), seed) & 255);
  const counts = new Array<number>(256).fill(0);
  for (const part of partsOf(1)) counts[part]!++;
  // 16 on average.
  expect(Math.min(...counts)).toBeGreaterThan(2);
  expect(Math.max(...counts)).toBeLessThan(40);
  expect(partsOf(2)).not.toEqual(partsOf(1));
});
