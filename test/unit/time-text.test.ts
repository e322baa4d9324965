/** A time that a person writes is that time, or is refused: never another one. */
import { describe, expect, it } from "vitest";
import { positionOf } from "../../cli/targets.ts";
import { timeOf } from "../../src/topic/time-text.ts";
import { LineCutter } from "../../worker/stream/line-cutter.ts";
import { lifetimeOf } from "../../worker/wire/durable-streams.ts";
import { recordsAsked } from "../../worker/wire/record-query.ts";

const T = Date.UTC(2026, 1, 28, 12);
const TIMES: readonly (readonly [string, number])[] = [
  ["2026-02-28", Date.UTC(2026, 1, 28)],
  ["2026-02-28T12:00Z", T],
  ["2026-02-28T12:00:00Z", T],
  ["2026-02-28t12:00:00.5z", T + 500],
  ["2026-02-28T12:00:00.123456789Z", T + 123],
  ["2026-02-28T14:00:00+02:00", T],
  ["2026-02-28T11:30:00-00:30", T],
  ["2028-02-29", Date.UTC(2028, 1, 29)],
];
const NONE = [
  "2026-02-29",
  "2026-02-31",
  "2026-04-31T00:00:00Z",
  "2026-02-31T12:00:00+01:00",
  "2026-13-01",
  "2026-00-10",
  "2026-01-00",
  "2026-02-28T24:00:00Z",
  "2026-02-28T12:60:00Z",
  "2026-02-28T12:00:60Z",
  "2026-02-28T12:00:00+24:00",
  "2026-02-28T12:00:00+00:60",
  "2026-02-28 12:00:00Z",
  "2026-02-28T12:00:00Z and more",
  "2026-02-28T",
  "28 Feb 2026",
  "",
];

describe("a time", () => {
  it.each(TIMES)("%s is taken", (text, at) => expect(timeOf(text)).toBe(at));
  it.each(NONE)("%j is none", (text) => expect(timeOf(text)).toBeNaN());
  it("without a zone is this machine's", () =>
    expect(timeOf("2026-02-28T12:00:00")).toBe(new Date(2026, 1, 28, 12).getTime()));
});

/** Each place that takes a time. */
const PLACES: Readonly<Record<string, (text: string) => unknown>> = {
  "an option of the command line": (text) => positionOf("before", text),
  "a read of lines": (text) => recordsAsked(new URL(`http://edge/?from=${encodeURIComponent(text)}`)),
  "a line's timestamp": (text) =>
    new LineCutter(new TextEncoder().encode(`{"value":1,"timestamp":"${text}"}`), "application/json", 0).next(),
  "the end of a stream's life": (text) => lifetimeOf(new Headers({ "stream-expires-at": text })),
};

describe.each(Object.entries(PLACES))("%s", (_, taken) => {
  it("takes a time that exists, and no other", () => {
    expect(taken("2028-02-29T00:00:00Z")).toBeDefined();
    for (const text of ["2026-02-29T00:00:00Z", "2026-02-31T23:00:00-01:00", "2026-11-31T00:00:00Z"])
      expect(() => taken(text), text).toThrow(/exists/);
  });
});
