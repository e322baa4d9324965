/** Errors of sizes say how large the given thing is, and how large it may be. */
import { expect, it } from "vitest";
import { validate } from "../../src/log/validate.ts";
import { BATCH_BYTES_MAX } from "../../src/log/limits.ts";
import { TidemarkError } from "../../src/errors.ts";
import { tooLarge } from "../../worker/stream/body-limits.ts";
import { batchOf, kernel } from "./log-fixtures.ts";

const textOf = (work: () => unknown): string => {
  try {
    work();
  } catch (thrown) {
    return TidemarkError.from(thrown).message;
  }
  return "none";
};

it("a batch and a record that are too large name their size and the limit", () => {
  const batch = batchOf(["x".repeat(600)]);
  const of = (limits: { recordBytesMax: number; batchBytesMax: number }) =>
    textOf(() => validate(kernel, batch, limits));
  expect(of({ recordBytesMax: 100, batchBytesMax: 500 })).toBe(
    `BATCH_TOO_LARGE: a batch of ${batch.length} bytes; at most 500`,
  );
  expect(of({ recordBytesMax: 100, batchBytesMax: BATCH_BYTES_MAX })).toMatch(
    /^RECORD_TOO_LARGE: a record of 6\d\d bytes; at most 100$/,
  );
  expect(tooLarge(2_000_000).message).toMatch(
    /^RECORD_TOO_LARGE: a message of 2000000|^a message of 2000000 bytes; it may have \d+$/,
  );
});
