/** Headers and answers of a small append cross the call from Worker to object as texts, and are the same behind it. */
import { describe, expect, it } from "vitest";
import { answerInText, headersInText, textOfAnswer, textOfHeaders } from "../../worker/rpc/append-call.ts";
import type { Answer } from "../../worker/wire/http.ts";

describe("a call that passes an append", () => {
  it("gives the object the headers that are named, whatever their values hold", () => {
    const seen = {
      "content-type": 'application/json; charset="utf: 8"',
      "producer-id": "Käthe: 1 ",
      "stream-seq": ": ",
      cookie: "not for the object",
    };
    const names = ["content-type", "producer-id", "stream-seq", "traceparent"];
    const { cookie: _, ...passed } = seen;
    expect(headersInText(textOfHeaders(seen, names))).toEqual(passed);
    expect(headersInText(textOfHeaders({}, names))).toEqual({});
  });

  it.each<Answer>([
    { status: 204, headers: { "Stream-Next-Offset": "0000000000000012_0000000000000000" }, body: null },
    { status: 200, headers: { "Producer-Epoch": "0", "Producer-Seq": "7" }, body: null },
    { status: 204, headers: {}, body: null },
    { status: 409, headers: { "content-type": "application/json" }, body: '{"error":{"message":"a\\n\\nb: c"}}' },
    { status: 500, headers: {}, body: "one\n\ntwo\n" },
    { status: 200, headers: {}, body: "" },
  ])("gives the Worker the object's answer: %j", (answer) => {
    expect(answerInText(textOfAnswer(answer))).toEqual(answer);
  });
});
