/** Whether a content type is JSON: the same answer however a client writes it. */
import { describe, expect, it } from "vitest";
import { mediaType } from "../../worker/stream/media-type.ts";
import { contentTypeOf } from "../../worker/wire/durable-streams.ts";

describe("media types", () => {
  it.each([
    ["application/json", "application/json"],
    ["Application/JSON", "application/json"],
    ["application/json;charset=utf-8", "application/json"],
    ['application/json ; charset="utf-8"', "application/json"],
    [' text/plain\t;x="a;b,c"', "text/plain"],
    ["application/vnd.tidemark.batches; v=1", "application/vnd.tidemark.batches"],
    ["application/ld+json", "application/ld+json"],
    ["json", ""],
    ["text/plain, application/json", ""],
    ["text/", ""],
    ["/json", ""],
    ["", ""],
  ])("%s is %s", (text, essence) => {
    expect(mediaType(text)).toBe(essence);
  });

  it("a wrong content type of a request is refused, and the message names it", () => {
    const of = (value: string | null) => contentTypeOf({ get: () => value });
    expect([of(null), of("  "), of(" Text/Plain; charset=UTF-8 ")]).toEqual([
      undefined,
      undefined,
      "Text/Plain; charset=UTF-8",
    ]);
    for (const bad of ["json", "text/plain, text/html", "a b/c", `text/plain; x=${"y".repeat(300)}`])
      expect(() => of(bad)).toThrow(/^Content-Type/);
  });
});
