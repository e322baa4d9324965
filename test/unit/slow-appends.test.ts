/** A worker that answers no append for three seconds is looked after, and one timer serves all appends of a topic. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { TidemarkError } from "../../src/errors.ts";
import { endPages, newPage } from "./page-fixtures.ts";

describe("appends without an answer", () => {
  beforeEach(() => void vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] }));
  afterEach(() => {
    vi.useRealTimers();
    endPages();
  });

  /** A topic whose worker answers when it is told to. */
  async function waiting() {
    const { tide, topic } = await newPage();
    const gather = vi.spyOn(tide, "gather");
    const answers: (() => void)[] = [];
    const born = { born: 1, baseOffset: 0, lastOffset: 0, duplicate: false, leaderEpoch: 1, acks: "flushed" };
    const connection = {
      call: async () => born,
      append: () => new Promise((resolve) => answers.push(() => resolve(born))),
    };
    Object.assign(tide, { connection });
    const orders = topic<string>("orders");
    const append = async (): Promise<void> => {
      orders.append({ value: "one" }).catch((thrown: TidemarkError) => thrown);
      await vi.advanceTimersByTimeAsync(0);
    };
    return { append, answers, gather };
  }

  it("are noticed after three seconds, and not before", async () => {
    const { append, gather } = await waiting();
    await append();
    await vi.advanceTimersByTimeAsync(2999);
    expect(gather).not.toHaveBeenCalled();
    await vi.advanceTimersByTimeAsync(1);
    expect(gather).toHaveBeenCalledTimes(1);
  });

  it("are noticed three seconds after the last answer", async () => {
    const { append, answers, gather } = await waiting();
    await append();
    await vi.advanceTimersByTimeAsync(1000);
    await append();
    answers[0]!();
    await vi.advanceTimersByTimeAsync(2999);
    expect(gather).toHaveBeenCalledTimes(0);
    await vi.advanceTimersByTimeAsync(1);
    expect(gather).toHaveBeenCalledTimes(1);
    // And again, as long as it hangs.
    await vi.advanceTimersByTimeAsync(3000);
    expect(gather).toHaveBeenCalledTimes(2);
  });

  it("have one timer together, and none once all are answered", async () => {
    const { append, answers, gather } = await waiting();
    for (let i = 0; i < 50; i++) {
      await append();
      expect(vi.getTimerCount()).toBe(1);
      answers[i]!();
      await vi.advanceTimersByTimeAsync(100);
    }
    await vi.advanceTimersByTimeAsync(6000);
    expect(vi.getTimerCount()).toBe(0);
    expect(gather).not.toHaveBeenCalled();
  });
});
