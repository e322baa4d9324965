/** Changes of a local topic from a stored offset, before the page knows when the topic was made. */
import { describe, expect, it } from "vitest";
import { TidemarkError } from "../../src/errors.ts";
import { changesOf, type ChangingTopic } from "../../src/browser/page/topic-changes.ts";

/** A topic that was made in epoch 3 and begins at 5 by now. */
function trimmed(): ChangingTopic<string> {
  let born: number | undefined;
  const topic: Partial<ChangingTopic<string>> = {
    born: () => born,
    resolve: () => Promise.resolve(((born = 3), 5)),
    fetch: (offset) =>
      Promise.reject(
        new TidemarkError("OFFSET_OUT_OF_RANGE", "trimmed", { offset, logStartOffset: 5, logEndOffset: 9 }),
      ),
  };
  return topic as ChangingTopic<string>;
}

async function firstOf(copy: string): Promise<unknown> {
  const changes = changesOf(trimmed(), { from: 2, copy }, new AbortController().signal);
  const { value } = await changes.next();
  await changes.return();
  return value;
}

describe("an offset that was trimmed meanwhile", () => {
  it("is told as a gap in the topic of which it was stored", async () => {
    expect(await firstOf("local/3")).toEqual({ type: "gap", from: 2, to: 5 });
  });

  it("is told as a reset where the topic is another one of that name", async () => {
    expect(await firstOf("local/2")).toEqual({ type: "reset", logStartOffset: 5 });
  });
});
