/** What becomes of an append's state file when the log refuses, has forgotten the producer, or has lost the topic. */
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { gzipSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { importCommand } from "../../cli/commands/import.ts";
import { lineOf } from "../../cli/failure.ts";
import { feed } from "../../cli/feed.ts";
import { standardInput } from "../../cli/inputs.ts";
import type { LogTarget } from "../../cli/target.ts";
import { openTarget } from "../../cli/targets.ts";
import { TidemarkError } from "../../src/errors.ts";
import { BatchBuilder } from "../../src/record/batch-builder.ts";
import { told } from "./in-process.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();
let home: string;
let target: LogTarget;

beforeEach(async () => {
  home = mkdtempSync(path.join(os.tmpdir(), "tidemark-feed-"));
  target = await openTarget(path.join(home, "data"), { access: "create" });
});
afterEach(async () => {
  await target.close();
  rmSync(home, { recursive: true, force: true });
});

type Change = Partial<Pick<LogTarget, "append" | "end">>;
/** One chunk for each list, so each is a batch. */
const fed = (
  chunks: readonly (readonly string[])[],
  { expect, change = {} }: { expect?: number; change?: Change } = {},
) =>
  feed({
    target: Object.assign(Object.create(target) as LogTarget, {
      where: target.where,
      kernel: target.kernel,
      batchBytesMax: target.batchBytesMax,
      append: target.append.bind(target),
      end: target.end.bind(target),
      ...change,
    }),
    topic: "t",
    input: (async function* () {
      for (const chunk of chunks)
        yield await Promise.resolve(
          chunk.map((text) => ({ key: null, value: encoder.encode(text), headers: [], timestamp: 5 })),
        );
    })(),
    state: path.join(home, "state"),
    expect,
    signal: new AbortController().signal,
  });
const stored = async (): Promise<string[]> => {
  const found: string[] = [];
  for await (const { valueBytes } of target.read("t", { from: 0 })) found.push(decoder.decode(valueBytes!));
  return found;
};
const pending = (): unknown =>
  existsSync(path.join(home, "state")) &&
  (JSON.parse(readFileSync(path.join(home, "state"), "utf8")) as { pending?: unknown }).pending;

/** So many other producers write that the log forgets the first. */
async function others(topic: string, count = 1_001): Promise<void> {
  const builder = new BatchBuilder(target.kernel);
  builder.tryAppend({ key: null, value: encoder.encode("other"), timestamp: 1 });
  const sending = { since: 0, isResent: false, makes: true };
  const batches = Array.from({ length: count }, (_, n) =>
    builder.build({ producerId: n + 1, producerEpoch: 0, baseSequence: 0 }).slice(),
  );
  await Promise.all(batches.map((batch) => target.append(topic, batch, sending)));
}

const lost = (): never => {
  throw new TidemarkError("TIMEOUT", "no answer");
};
/** The log has it, and the answer is lost. */
const unanswered: Change = { append: (...args) => target.append(...args).then(lost) };
const refusing = (code: "INVALID_ARGUMENT" | "SCHEMA_MISMATCH"): Change => ({
  append: () => Promise.reject(new TidemarkError(code, "refused", { status: 403, edge: "FORBIDDEN" })),
});

it("the largest record that is told of is taken, and one byte more is not", async () => {
  const said = await fed([["x".repeat(2_000_000)]]).catch(lineOf);
  const most = Number(/record 1 is too large: .* at most (\d+) bytes/.exec(String(said))![1]);
  // A record's frame around a value of this length.
  const value = "x".repeat(most - 11);
  await expect(fed([[`${value}x`]])).rejects.toThrow("record 1 is too large");
  expect(await fed([[value]])).toMatchObject({ appended: 1 });
});

describe("a batch that is refused for certain is not pending", () => {
  it("at another place: the next call may name the right one, or none", async () => {
    await fed([["a"]]);
    rmSync(path.join(home, "state"));
    await expect(fed([["b", "c"]], { expect: 5 })).rejects.toMatchObject({ code: "OFFSET_CONFLICT" });
    expect(pending()).toBeUndefined();
    await expect(fed([["b", "c"]], { expect: 4 })).rejects.toMatchObject({ code: "OFFSET_CONFLICT" });
    await fed([["b", "c"]], { expect: 1 });
    expect(await stored()).toEqual(["a", "b", "c"]);
  });

  it("for what it holds: the input may be mended behind what is appended", async () => {
    let calls = 0;
    const change: Change = {
      append: (...args) => (++calls === 2 ? refusing("SCHEMA_MISMATCH").append!(...args) : target.append(...args)),
    };
    await expect(fed([["a"], ["bad"], ["c"]], { change })).rejects.toMatchObject({ code: "SCHEMA_MISMATCH" });
    expect(pending()).toBeUndefined();
    expect(await fed([["a"], ["good"], ["c"]])).toMatchObject({ before: 1, appended: 2 });
    expect(await stored()).toEqual(["a", "good", "c"]);
  });

  it("but one that may be in the log stays, whatever is said later", async () => {
    await expect(fed([["a"]], { change: unanswered })).rejects.toMatchObject({ code: "TIMEOUT" });
    for (const code of ["INVALID_ARGUMENT", "SCHEMA_MISMATCH"] as const) {
      await expect(fed([["a"]], { change: refusing(code) })).rejects.toMatchObject({ code });
      expect(pending()).toMatchObject({ records: 1 });
    }
    await expect(fed([["other"]])).rejects.toThrow("another input");
    // A try within the target counts as well.
    await fed([["a"], ["b"]]);
    const doubted: Change = {
      append: async (topic, batch, sending) => {
        await target.append(topic, batch, sending);
        sending.onDoubt!();
        throw new TidemarkError("INVALID_ARGUMENT", "the token has ended", { status: 401 });
      },
    };
    await expect(fed([["a"], ["b"], ["c"]], { change: doubted })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    expect(pending()).toMatchObject({ records: 1 });
    await fed([["a"], ["b"], ["c"], ["d"]]);
    expect(await stored()).toEqual(["a", "b", "c", "d"]);
  });
});

describe("a producer that the log has forgotten", () => {
  it("goes on as another one, also where that is killed, and each record is there once", async () => {
    await fed([["a"], ["b"]]);
    await others("t");
    // Killed before and after the log has the first batch of the new producer.
    for (const isTaken of [false, true]) {
      let calls = 0;
      const change: Change = {
        append: async (...args) => {
          if (++calls === 1 && !isTaken) return target.append(...args);
          if (isTaken) await target.append(...args);
          return lost();
        },
      };
      await expect(fed([["a"], ["b"], ["c"]], { change })).rejects.toMatchObject({ code: "TIMEOUT" });
      expect(pending()).toMatchObject({ records: 1, since: 1_003 });
    }
    expect(await fed([["a"], ["b"], ["c"], ["d"]])).toMatchObject({ before: 2, appended: 2 });
    await others("t", 1_001);
    await fed([["a"], ["b"], ["c"], ["d"], ["e"]]);
    expect((await stored()).filter((text) => text !== "other")).toEqual(["a", "b", "c", "d", "e"]);
  });

  it("of a batch that may be in the log is no other one", async () => {
    await fed([["a"]]);
    await expect(fed([["a"], ["b"]], { change: unanswered })).rejects.toMatchObject({ code: "TIMEOUT" });
    await others("t");
    await expect(fed([["a"], ["b"]])).rejects.toMatchObject({ code: "OUT_OF_ORDER_SEQUENCE" });
    expect(pending()).toMatchObject({ records: 1 });
  });
});

describe("a topic that is gone, or was put back", () => {
  it("gets no rest of the input", async () => {
    await fed([["a"], ["b"]]);
    for (const end of [0, 1])
      await expect(fed([["a"], ["b"], ["c"]], { change: { end: async () => end } })).rejects.toThrow(
        `t ends at ${end}, and ${path.join(home, "state")} says that it has ended at 2`,
      );
    const gone: Change = { append: () => Promise.reject(new TidemarkError("UNKNOWN_TOPIC", "no such topic")) };
    await expect(fed([["a"], ["b"], ["c"]], { change: gone })).rejects.toThrow("it was deleted after 2 records");
    // A token that may only append is told nothing.
    expect(await fed([["a"], ["b"], ["c"]], { change: { end: async () => undefined } })).toMatchObject({ appended: 1 });
    expect(await stored()).toEqual(["a", "b", "c"]);
  });
});

describe("an input that can't be read to its end", () => {
  it("says how many records before that are appended, and a folder as stdin is refused", async () => {
    const lines = Array.from({ length: 2000 }, (_, i) => `{"value":${i}}\n`).join("");
    const file = path.join(home, "cut.gz");
    writeFileSync(file, gzipSync(lines).subarray(0, 300));
    await target.close();
    const { thrown } = await told(importCommand, [path.join(home, "data"), "t", file]);
    target = await openTarget(path.join(home, "data"), { access: "change" });
    const found = await stored();
    expect(found.length).toBeGreaterThan(1);
    expect(found.length).toBeLessThan(2000);
    expect(lineOf(thrown)).toBe(`${file}: unexpected end of file; the ${found.length} records before it are appended`);
    const folder = openSync(home, "r");
    expect(() => standardInput(folder)).toThrow(/^stdin is a folder/);
    closeSync(folder);
  });
});
