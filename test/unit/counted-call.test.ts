/** A call that can be done only once, and that a change of leader repeats: what the page says of it. */
import { expect, it } from "vitest";
import { importOnce } from "../../src/browser/page/whole-topic.ts";
import { counted } from "../../src/browser/platform/counted-call.ts";
import { TidemarkError } from "../../src/errors.ts";

const filled = new TidemarkError("INVALID_ARGUMENT", "filled", { reason: "filled" });
const damaged = new TidemarkError("INVALID_BATCH", "damaged");
const done = { records: 1, firstOffset: 0, nextOffset: 1 } as never;

it("what is sent is what was given, and each copy of it counts", () => {
  const call = counted({ ask: "detach", topic: "orders" }, "sends");
  expect(structuredClone(call.asked)).toEqual({ ask: "detach", topic: "orders", sends: undefined });
  expect(call.unlessRepeated(filled)).toBe(filled);
  structuredClone(call.asked);
  expect(call.unlessRepeated(filled)).toMatchObject({ code: "OUTCOME_UNKNOWN", cause: filled });
});

it.each([
  { sends: 1, thrown: filled, code: "INVALID_ARGUMENT" },
  { sends: 2, thrown: filled, code: "OUTCOME_UNKNOWN" },
  { sends: 2, thrown: damaged, code: "INVALID_BATCH" },
])("an import that was sent $sends times and ends with $thrown.code is $code", async ({ sends, thrown, code }) => {
  const files = [{ name: "a", log: new Blob(["a"]) }];
  const ask = async (asked: object): Promise<never> => {
    for (let n = 0; n < sends; n++) expect(structuredClone(asked)).toMatchObject({ options: {} });
    throw thrown;
  };
  await expect(importOnce(ask, files, {})).rejects.toMatchObject({ code });
  expect(await importOnce(async () => done, files, {})).toBe(done);
});
