/** When the link rests because nobody looks, and what wakes it (H26), in virtual time. */
import { describe, expect, it } from "vitest";
import { Background } from "../../src/browser/sync/background.ts";
import { type LinkEvent, linkNext, type LinkState } from "../../src/sync/link-state.ts";

const MINUTE = 60_000;

class Scene {
  now = 0;
  #timers: { at: number; work: () => void }[] = [];
  state: LinkState = { at: "live", tries: 0, token: undefined };
  readonly steps: string[] = [];
  readonly hints: string[] = [];
  isSeen = false;
  hasWork = false;
  keeps = false;
  readonly background = new Background({
    after: (ms, work) => {
      const timer = { at: this.now + ms, work };
      this.#timers.push(timer);
      return () => (this.#timers = this.#timers.filter((each) => each !== timer));
    },
    monotonic: () => this.now,
    link: this,
    isSeen: async () => this.isSeen,
    hasWork: () => this.hasWork,
    keeps: () => this.keeps,
  });

  hint(on?: "returned"): void {
    this.hints.push(on ?? "hint");
  }

  step(event: LinkEvent): void {
    this.steps.push(event.on);
    ({ state: this.state } = linkNext(this.state, event, 0.5));
  }

  async pass(ms: number): Promise<void> {
    const end = this.now + ms;
    for (;;) {
      const next = this.#timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
      if (!next) break;
      this.#timers.splice(this.#timers.indexOf(next), 1);
      this.now = next.at;
      next.work();
      for (let i = 0; i < 5; i++) await Promise.resolve();
    }
    this.now = end;
  }

  async rest(): Promise<this> {
    this.background.hidden();
    await this.pass(MINUTE);
    expect(this.state).toMatchObject({ at: "paused", why: "hidden" });
    return this;
  }
}

describe("with all tabs hidden", () => {
  it("the link rests after a minute, not before, and a tab that is seen wakes it at once", async () => {
    const scene = new Scene();
    scene.background.hidden();
    await scene.pass(MINUTE - 1);
    expect(scene.state.at).toBe("live");
    await scene.pass(1);
    expect(scene.state).toMatchObject({ at: "paused", why: "hidden" });
    await scene.pass(10 * MINUTE);
    expect(scene.steps).toEqual(["pause"]);
    scene.background.seen();
    expect(scene.hints).toEqual(["returned"]);
  });

  it("a tab that is seen within the minute, or one that says so when asked, keeps it", async () => {
    const back = new Scene();
    back.background.hidden();
    await back.pass(MINUTE - 1);
    back.background.seen();
    await back.pass(10 * MINUTE);
    expect(back.state.at).toBe("live");
    const other = new Scene();
    other.isSeen = true;
    other.background.hidden();
    await other.pass(10 * MINUTE);
    expect(other.steps).toEqual([]);
  });

  it("it stays for what is to be sent while it is connected, and a minute more", async () => {
    const scene = new Scene();
    scene.hasWork = true;
    scene.background.hidden();
    await scene.pass(5 * MINUTE);
    expect(scene.state.at).toBe("live");
    scene.hasWork = false;
    await scene.pass(MINUTE);
    expect(scene.state.at).toBe("paused");
  });

  it("it rests without a connection, also with something to send", async () => {
    const scene = new Scene();
    scene.state = { at: "backoff", tries: 9, ms: 30_000 };
    scene.hasWork = true;
    await scene.rest();
  });

  it("what is appended while it rests goes out after a quarter of an hour, and at most each quarter", async () => {
    const scene = await new Scene().rest();
    scene.hasWork = true;
    scene.background.appended();
    scene.background.online();
    await scene.pass(15 * MINUTE - 1);
    expect(scene.steps).toEqual(["pause"]);
    await scene.pass(1);
    expect(scene.steps).toEqual(["pause", "timer"]);
    expect(scene.state.at).toBe("token");
    await scene.pass(MINUTE);
    expect(scene.steps).toEqual(["pause", "timer", "pause"]);
    await scene.pass(15 * MINUTE);
    expect(scene.steps).toEqual(["pause", "timer", "pause", "timer"]);
    expect(scene.hints).toEqual([]);
  });

  it("a link without a token hears of a page that is seen or online as such, and of appends", () => {
    const scene = new Scene();
    scene.state = { at: "paused", why: "signed-out" };
    scene.background.appended();
    scene.background.online();
    scene.background.seen();
    expect(scene.hints).toEqual(["hint", "returned", "returned"]);
  });

  it("\"keep\" keeps it, and a person's pause stays a person's", async () => {
    const kept = new Scene();
    kept.keeps = true;
    kept.background.hidden();
    await kept.pass(10 * MINUTE);
    expect(kept.steps).toEqual([]);
    const paused = new Scene();
    paused.step({ on: "pause", why: "user" });
    paused.background.hidden();
    await paused.pass(30 * MINUTE);
    expect(paused.state).toMatchObject({ at: "paused", why: "user" });
  });
});
