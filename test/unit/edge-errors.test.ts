/** EdgeError: docs/edge.md prints its table, and code and details survive every way from object to client. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { TidemarkError } from "../../src/errors.ts";
import { badRequest, type EdgeCode, EdgeError } from "../../worker/errors.ts";
import { HEADERS_OF, OTHER_STATUS_OF, STATUS_OF } from "../../worker/wire/error-status.ts";
import { errorAnswer, refusalIn, wireErrorOf } from "../../worker/wire/http.ts";

const ROW = /^\| `([A-Z_]+)` \| (\w+) \| (\d{3})(?:; (\d{3}) [^|]*)? \|([^|]*)\|/gm;

const bodyOf = (thrown: unknown): unknown => JSON.parse(errorAnswer(thrown).body!);

describe("errors of the edge", () => {
  it("are in the table that docs/edge.md prints, each with its kind, status and headers", () => {
    const text = readFileSync(new URL("../../docs/edge.md", import.meta.url), "utf8");
    const printed = [...text.matchAll(ROW)].map(([, code, kind, status, other, headers = ""]) => ({
      code,
      kind,
      status: Number(status),
      other: other === undefined ? undefined : Number(other),
      headers: [...headers.matchAll(/`([\w-]+)`/g)].map(([, name]) => name),
    }));
    const here = Object.entries(STATUS_OF).map(([name, status]) => {
      const code = name as EdgeCode;
      const { kind } = new EdgeError(code, "");
      const headers = Object.keys(HEADERS_OF[code] ?? {});
      return { code: name, kind, status, other: OTHER_STATUS_OF[code]?.status, headers };
    });
    expect(printed).toEqual(here);
  });

  it("have the same body over HTTP and in a frame, whatever code threw them", () => {
    const log = new TidemarkError("OFFSET_CONFLICT", "the log ends elsewhere", { logEndOffset: 7 });
    const wire = { code: "OFFSET_CONFLICT", message: "the log ends elsewhere", kind: "refresh" };
    expect(bodyOf(log)).toEqual({ error: { ...wire, details: { logEndOffset: 7 } } });
    expect(wireErrorOf(log)).toEqual({ ...wire, details: { logEndOffset: 7 } });
    expect(bodyOf(badRequest("no"))).toEqual({
      error: { code: "BAD_REQUEST", message: "no", kind: "fix", details: {} },
    });
  });

  it("have the headers that the protocol asks for", () => {
    const headers = (code: EdgeCode, details = {}): unknown => errorAnswer(new EdgeError(code, "", details)).headers;
    expect(headers("STREAM_CLOSED", { nextOffset: 3 })).toMatchObject({
      "stream-closed": "true",
      "stream-next-offset": "0000000000000003_0000000000000000",
      "tidemark-error": "STREAM_CLOSED",
    });
    expect(headers("OUT_OF_ORDER_SEQUENCE", { expected: 4, received: 6 })).toMatchObject({
      "producer-expected-seq": "4",
      "producer-received-seq": "6",
    });
    expect(headers("OUT_OF_ORDER_SEQUENCE")).not.toHaveProperty("producer-expected-seq");
    expect(headers("BACKPRESSURE")).toMatchObject({ "retry-after": "1" });
    expect(headers("TOO_MANY_REQUESTS", { retryAfter: 10 })).toMatchObject({ "retry-after": "10" });
  });

  it.each([
    [9, 416, "0000000000000005_0000000000000000"],
    [1, 410, "0000000000000002_0000000000000000"],
  ])("an offset that is not there (%s in 2 to 5) is %s, and the answer says where to go on", (offset, status, next) => {
    const answer = errorAnswer(
      new EdgeError("OFFSET_OUT_OF_RANGE", "", { offset, logStartOffset: 2, logEndOffset: 5 }),
    );
    expect([answer.status, answer.headers["stream-next-offset"]]).toEqual([status, next]);
  });

  it("do not reveal the message of an unexpected error", () => {
    expect(bodyOf(new Error("a secret"))).toEqual({
      error: { code: "INTERNAL", message: "internal error", kind: "report", details: {} },
    });
  });

  it("keep code and details when they cross from object to object, as data and as an answer", async () => {
    const error = new EdgeError("CORRUPT_RANGE", "damaged", { from: 3, to: 5 });
    const crossed = EdgeError.fromWire(structuredClone(error.toWire()));
    expect([crossed, crossed.toWire()]).toEqual([expect.any(EdgeError), error.toWire()]);
    const { status, headers, body } = errorAnswer(error);
    expect((await refusalIn(new Response(body, { status, headers }))).toWire()).toEqual(error.toWire());
    expect((await refusalIn(new Response("<html>", { status: 502 }))).code).toBe("INTERNAL");
    expect(EdgeError.fromWire({ code: "toString", message: {} }).code).toBe("INTERNAL");
  });
});
