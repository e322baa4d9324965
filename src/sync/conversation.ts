/** What a session keeps of one channel, and of one join on it. */
import type { EdgeLog } from "./edge-socket.ts";

/** One channel, from its opening to its end. */
export interface Conversation {
  readonly log: EdgeLog;
  isOver: boolean;
  isFollowing: boolean;
  /** Rises with each join: answers to what was asked before the newest join do not count. */
  joins: number;
}

/** One join. It is over when its channel ends, when the next join begins, or when another id is drawn. */
export interface JoinUnderWay {
  readonly talk: Conversation;
  readonly isLeft: () => boolean;
}
