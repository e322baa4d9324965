/** Which representation of a stream a reader gets for its Accept header, by the rules of the standard. */
import { describe, expect, it } from "vitest";
import { accepts, dialectOf } from "../../worker/wire/accept.ts";

const BATCHES = "application/vnd.tidemark.batches";

describe("the dialect of an answer", () => {
  it.each<[string | null, string]>([
    [null, "values"],
    ["", "values"],
    ["*/*", "values"],
    ["application/json", "values"],
    ["APPLICATION/Json; charset=utf-8", "values"],
    ["application/*", "values"],
    [BATCHES, "batches"],
    [`${BATCHES};q=1`, "batches"],
    [`  Application/VND.Tidemark.Batches ; v="1,2" ; q=0.5`, "batches"],
    [`application/json;q=0.9, ${BATCHES}`, "batches"],
    [`${BATCHES};q=0.8, application/json`, "values"],
    [`${BATCHES}, */*`, "batches"],
    [`*/*, ${BATCHES}`, "batches"],
    [`*/*;q=0.1, ${BATCHES};q=0.2`, "batches"],
    [`${BATCHES};q=0.1, */*;q=0.2`, "values"],
    [`${BATCHES};q=0, */*`, "values"],
    [`application/json;q=0, */*`, "batches"],
    [`${BATCHES}, application/json`, "batches"],
    [`application/json, ${BATCHES}`, "values"],
    [`text/html, application/json;q=0.9, */*;q=0.1`, "values"],
    // A part that is no media range, or that has no valid quality, is ignored.
    ["batches, please", "values"],
    [`${BATCHES};q=high`, "values"],
    [`${BATCHES};q=2, application/json;q=0.1`, "values"],
    [`text/html;x="${BATCHES}", application/json`, "values"],
    [`text/html;x="a\\",${BATCHES}", */*`, "values"],
  ])("%s: %s", (accept, dialect) => {
    expect(dialectOf(accept, "application/json; charset=utf-8")).toBe(dialect);
  });

  it("is 406 where neither fits, and the error names all", () => {
    for (const accept of ["text/html", "image/*", "*/*;q=0", "application/json;q=0", `text/plain, text/event-stream`]) {
      expect(() => dialectOf(accept, "application/json")).toThrow(
        expect.objectContaining({
          code: "NOT_ACCEPTABLE",
          message: `Accept is ${accept}; this can be read as application/json or application/x-ndjson or ${BATCHES}`,
        }),
      );
    }
    expect(dialectOf("text/*", "Text/CSV")).toBe("values");
    expect(dialectOf("application/*", "text/csv")).toBe("batches");
  });

  it("takes time in proportion to the header's length, whatever is in it", () => {
    const many = `"\\`.repeat(8_000);
    expect(dialectOf(`${many},${BATCHES}`, "text/plain")).toBe("values");
    expect(dialectOf(`${"a,".repeat(8_000)}${BATCHES}`, "text/plain")).toBe("batches");
  });
});

describe("a type", () => {
  it.each<[string | null, boolean]>([
    [null, true],
    ["*/*", true],
    ["text/event-stream", true],
    ["text/*;q=0.1", true],
    ["Text/Event-Stream; x=1", true],
    ["application/json", false],
    ["text/event-stream;q=0, */*", false],
  ])("%s takes events: %s", (accept, isTaken) => {
    expect(accepts(accept, "text/event-stream")).toBe(isTaken);
  });
});
