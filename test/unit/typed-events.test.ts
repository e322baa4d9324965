/** Topics of events, and middleware: of pages, over a real log. */
import { afterEach, describe, expect, test } from "vitest";
import * as z from "zod";
import { events } from "../../src/browser/index.ts";
import { fails } from "../contract/check.ts";
import { typedEventsContract } from "../contract/typed-events-contract.ts";
import { endPages, newPage, typedPage } from "./page-fixtures.ts";

afterEach(endPages);
typedEventsContract(typedPage);

describe("events", () => {
  test("emit takes the options of append", async () => {
    const { topic } = await newPage();
    const acked = topic("todos", { schema: events({ added: z.string() }) }).emit("added", "milk", { acks: "written" });
    expect((await acked).acks).toBe("written");
  });

  test.each([
    [{ kye: "a" }, "kye"],
    [{ key: "a", acks: "written" }, "acks"],
    ["key", "options"],
    [null, "options"],
    [5, "options"],
    [[1], "options"],
  ])("record() with the options %j is refused by name", async (options, field) => {
    const made = events({ added: z.string() });
    const error = await fails("INVALID_ARGUMENT", () => made.record("added", "milk", options as never));
    expect(error.details).toMatchObject({ field });
    expect(made.record("added", "milk", { key: "a" })).toEqual({
      key: "a",
      value: "milk",
      headers: [["tm.type", "added"]],
    });
  });

  test.each([
    [undefined, "events"],
    [{}, "events"],
    ["added", "events"],
    [[z.string()], "events"],
    [{ added: 5 }, "added"],
    [{ added: {} }, "added"],
  ])("events(%j) is refused by name", async (types, field) => {
    expect((await fails("INVALID_ARGUMENT", () => events(types as never))).details).toMatchObject({ field });
  });
});
