/**
 * The life of the stream in one log object: its states, and what leads from one to the next. This file has no effects;
 * lifecycle.ts has them. Of a state two flags and a time are stored, in the stream's description.
 *
 *   absent      nothing is here
 *   creating    a PUT is under way, or its object ended in the middle of it: the stream's tables exist, not all of its
 *               first records do
 *   open        it takes appends
 *   closed      it can only be read
 *   expired     its time is over, but it has not been removed yet
 *   deleted     clients can't see it any more; it stays for its forks, which read from it
 *   releasing   clients can't see it any more; its source must still be told that its fork is gone
 *
 *   state                   event            next
 *   absent                  create           creating
 *   creating                made             open
 *   creating                cut short        releasing if it is a fork, else absent: the PUT was not answered
 *   open                    close            closed
 *   open, closed            time over        expired
 *   open, closed, expired   remove           deleted while forks read from it; else releasing if it is a fork; else
 *                                            absent
 *   deleted                 last fork gone   releasing if it is a fork, else absent
 *   releasing               source told      absent
 *
 * Any other pair changes nothing.
 */
import type { StreamConfig } from "../stream/stream-config.ts";

export type Life = "absent" | "creating" | "open" | "closed" | "expired" | "deleted" | "releasing";
export type LifeEvent =
  "create" | "made" | "cut short" | "close" | "time over" | "remove" | "last fork gone" | "source told";

/** What decides how a stream ends. */
export interface Ties {
  /** Forks read from it. */
  readonly isHeld: boolean;
  /** It reads from a source itself. */
  readonly isFork: boolean;
}

const PRESENT: ReadonlySet<Life> = new Set(["open", "closed", "expired"]);

/** The next state. Undefined if the event means nothing in this state. */
export function lifeAfter(life: Life, event: LifeEvent, { isHeld, isFork }: Ties): Life | undefined {
  const end = isFork ? "releasing" : "absent";
  switch (event) {
    case "create":
      return life === "absent" ? "creating" : undefined;
    case "made":
      return life === "creating" ? "open" : undefined;
    case "cut short":
      return life === "creating" ? end : undefined;
    case "close":
      return life === "open" ? "closed" : undefined;
    case "time over":
      return life === "open" || life === "closed" ? "expired" : undefined;
    case "remove":
      return PRESENT.has(life) ? (isHeld ? "deleted" : end) : undefined;
    case "last fork gone":
      return life === "deleted" && !isHeld ? end : undefined;
    case "source told":
      return life === "releasing" ? "absent" : undefined;
  }
}

export interface Living {
  readonly config: Pick<StreamConfig, "deleted" | "releasing" | "closed" | "creating">;
  /** Offset behind its last record. */
  readonly tail: number;
  /** When its time is over, in milliseconds since 1970; undefined means never. */
  readonly deadline: number | undefined;
}

/** The state of a stream that an object holds. */
export function lifeOf(stream: Living | undefined, nowMs: number): Life {
  if (!stream) return "absent";
  const { config, deadline = Infinity, tail } = stream;
  if (config.releasing) return "releasing";
  if (config.deleted) return "deleted";
  if (tail < (config.creating ?? 0)) return "creating";
  if (nowMs >= deadline) return "expired";
  return config.closed ? "closed" : "open";
}
