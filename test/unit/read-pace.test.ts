/** How the edge finds out whether a socket's client reads (worker/front/read-pace.ts). */
import { describe, expect, it } from "vitest";
import { ReadPace } from "../../worker/front/read-pace.ts";

describe("the pace of a client", () => {
  it("is asked for after 512 frames or a MiB of batches, and again after as many more", () => {
    const pace = new ReadPace();
    const ask = (): number => {
      for (let frames = 1; ; frames++) if (pace.sent(0) === "ask") return frames;
    };
    expect(ask()).toBe(512);
    pace.asked();
    expect(ask()).toBe(512);
    pace.asked();
    expect([pace.sent(1024 * 1024 - 1), pace.sent(1)]).toEqual(["go on", "ask"]);
  });

  it("is known by pongs: each answers the oldest ping, and one too many is ignored", () => {
    const pace = new ReadPace();
    for (const bytes of [10, 20]) {
      pace.sent(bytes);
      pace.asked();
    }
    expect([pace.read(), pace.read(), pace.read()]).toEqual([10, 20, 0]);
  });

  it("is too slow with 4,096 frames unread; a client that answers is never given up", () => {
    const slow = new ReadPace();
    for (let i = 0; i < 4096; i++) if (slow.sent(0) === "ask") slow.asked();
    expect(slow.sent(0)).toBe("give up");
    const fast = new ReadPace();
    for (let i = 0; i < 10_000; i++) {
      const next = fast.sent(0);
      expect(next).not.toBe("give up");
      if (next === "ask") fast.asked();
      if (next === "ask") fast.read();
    }
  });
});
