/** The cursors of live answers never fall, neither from one answer to the next nor inside one. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { laterCursor, nextCursor } from "../../worker/wire/cursors.ts";

const NOW = Date.UTC(2026, 10, 28);

describe("cursors", () => {
  it("a cursor is always greater than the client's, however large that is; a wrong one is ignored", () => {
    const present = nextCursor(NOW, undefined, Math.random);
    expect(present).toBe(String((NOW - Date.UTC(2024, 9, 9)) / 20_000));
    for (const none of ["", "x", "-1", "1.5", "9".repeat(65)]) expect(nextCursor(NOW, none, Math.random)).toBe(present);
    for (const given of [present, "999999999999999", "9007199254740993", "9".repeat(64)]) {
      for (const random of [0, 0.5, 0.999999])
        expect(BigInt(nextCursor(NOW, given, () => random))).toBeGreaterThan(BigInt(given));
    }
  });

  it("over any answers, reconnects and clock jumps they only rise", () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.record({
            jump: fc.integer({ min: -100_000, max: 100_000 }),
            isNew: fc.boolean(),
            random: fc.double({ min: 0, max: 0.999, noNaN: true }),
          }),
        ),
        (steps) => {
          let now = NOW;
          let last = nextCursor(now, undefined, () => 0);
          for (const { jump, isNew, random } of steps) {
            now += jump;
            const next = isNew ? nextCursor(now, last, () => random) : laterCursor(now, last);
            expect(isNew ? BigInt(next) > BigInt(last) : BigInt(next) >= BigInt(last)).toBe(true);
            last = next;
          }
        },
      ),
      { seed: 13, numRuns: 200 },
    );
  });
});
