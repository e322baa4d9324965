/**
 * A topic that had records before it became synced: once in each opening, and before anything of them is pushed, it is
 * looked for what the edge would refuse (adopted-look.ts). Later records were checked as they were appended.
 */
import type { Kernel } from "../kernel/types.ts";
import type { Block } from "./pump.ts";
import type { Joined } from "./sync-frames.ts";
import type { TopicStorage } from "./topic-storage.ts";

/** What is given to a session as `refused`. */
export function adoptedLook(
  storage: TopicStorage,
  kernel: Kernel,
): (limits: Joined["limits"]) => Promise<Block | undefined> {
  let fine: string | undefined;
  return async (limits) => {
    const asked = JSON.stringify(limits);
    if (fine === asked || (storage.outboxNote.adopted ?? 0) <= storage.firstUnsettled) return undefined;
    const { refusedOf } = await import("./adopted-look.ts");
    const block = await refusedOf(storage, kernel, limits);
    if (!block) fine = asked;
    return block;
  };
}
