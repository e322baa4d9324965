/** The life of a stream in its object (worker/log-object/life.ts): every state with every event. */
import { describe, expect, it } from "vitest";
import { type Life, lifeAfter, type LifeEvent, lifeOf, type Living } from "../../worker/log-object/life.ts";

const STATES: readonly Life[] = ["absent", "creating", "open", "closed", "expired", "deleted", "releasing"];
const EVENTS: readonly LifeEvent[] = [
  "create",
  "made",
  "cut short",
  "close",
  "time over",
  "remove",
  "last fork gone",
  "source told",
];
const FREE = { isHeld: false, isFork: false };

const stream = (config: Partial<Living["config"]>, deadline?: number): Living => ({
  config: { deleted: false, releasing: false, closed: false, ...config },
  deadline,
  tail: 2,
});

describe("the life of a stream", () => {
  it("has the transitions of its table, and no others", () => {
    const found = STATES.flatMap((state) =>
      EVENTS.flatMap((event) => {
        const next = lifeAfter(state, event, FREE);
        return next === undefined ? [] : [`${state} ${event} → ${next}`];
      }),
    );
    expect(found).toEqual([
      "absent create → creating",
      "creating made → open",
      "creating cut short → absent",
      "open close → closed",
      "open time over → expired",
      "open remove → absent",
      "closed time over → expired",
      "closed remove → absent",
      "expired remove → absent",
      "deleted last fork gone → absent",
      "releasing source told → absent",
    ]);
  });

  it.each<[Life, LifeEvent, boolean, boolean, Life | undefined]>([
    ["open", "remove", true, false, "deleted"],
    ["closed", "remove", true, true, "deleted"],
    ["expired", "remove", false, true, "releasing"],
    ["creating", "cut short", false, true, "releasing"],
    ["deleted", "last fork gone", true, true, undefined],
    ["deleted", "last fork gone", false, true, "releasing"],
    ["releasing", "remove", false, true, undefined],
  ])("%s, %s (held by forks %s, a fork %s): %s", (life, event, isHeld, isFork, next) => {
    expect(lifeAfter(life, event, { isHeld, isFork })).toBe(next);
  });

  it("is read from the description and the time", () => {
    expect(lifeOf(undefined, 5)).toBe("absent");
    expect(lifeOf(stream({}), 5)).toBe("open");
    expect(lifeOf(stream({ creating: 2 }), 5)).toBe("open");
    expect(lifeOf(stream({ creating: 3 }, 5), 5)).toBe("creating");
    expect(lifeOf(stream({ creating: 3, releasing: true }), 5)).toBe("releasing");
    expect(lifeOf(stream({ closed: true }, 6), 5)).toBe("closed");
    expect(lifeOf(stream({ closed: true }, 5), 5)).toBe("expired");
    expect(lifeOf(stream({ deleted: true }, 5), 5)).toBe("deleted");
    expect(lifeOf(stream({ deleted: true, releasing: true }, 5), 5)).toBe("releasing");
  });
});
