/**
 * A topic may have had records before it became synced. They are looked through once in each opening, before any of
 * them is pushed, for what the edge would refuse (adopted-look.ts). Later records were checked as they were appended.
 */
import type { Kernel } from "../kernel/types.ts";
import type { Block } from "./pump.ts";
import type { Joined } from "./sync-frames.ts";
import type { TopicStorage } from "./topic-storage.ts";

type Limits = Joined["limits"];

/**
 * Looks with the edge's limits, from the position that the edge expects next. Resolves with the block for what would be
 * refused. Once `isLeft` says that nobody waits for the answer any more, it ends early, without one.
 */
export type AdoptedLook = (limits: Limits, next: number, isLeft: () => boolean) => Promise<Block | undefined>;

/** What is given to a session as `refused`. */
export function adoptedLook(storage: TopicStorage, kernel: Kernel): AdoptedLook {
  /** With these limits nothing is refused of these positions. */
  let fine = { asked: "", from: 0, to: 0 };
  let turn: Promise<unknown> = Promise.resolve();
  const look: AdoptedLook = async (limits, next, isLeft) => {
    const asked = JSON.stringify(limits);
    const from = Math.max(storage.firstUnsettled, next);
    if (fine.asked !== asked || from < fine.from || from > fine.to) fine = { asked, from, to: from };
    if (isLeft() || fine.to >= (storage.outboxNote.adopted ?? 0)) return undefined;
    const { refusedOf } = await import("./adopted-look.ts");
    const { block, fineTo } = await refusedOf(storage, kernel, { limits, from: fine.to, isLeft });
    fine = { ...fine, to: fineTo };
    return block;
  };
  // One look runs at a time. A look that nobody waits for any more ends at its next batch, and the next look continues
  // from there.
  return (...asked) => {
    const found = turn.then(() => look(...asked));
    turn = found.catch(() => undefined);
    return found;
  };
}
