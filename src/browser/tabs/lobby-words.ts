/**
 * The words: messages that the tabs of one tide send to each other in the lobby. membership.ts has a drawing of them.
 */
import type { JoinRequest } from "../port/protocol.ts";

/** By these fields tabs of different versions learn that they can't read each other's messages. */
interface Versioned {
  readonly version: number;
  /** Id of the sender's broker; undefined if it has none. */
  readonly broker: string | undefined;
}
export interface Announcement extends Versioned {
  /** Life lock of the leader's worker. */
  readonly leader: string;
  readonly epoch: number;
}
/** The sender's worker lives and is about to open the volume. A tab that joins now is let in once that worker leads. */
export interface Coming extends Versioned {
  readonly coming: string;
}
export interface Join {
  readonly to: string;
  readonly version: number;
  readonly join: JoinRequest;
}
export type Word = "hail" | "destroyed" | "opening" | "away" | "here" | Announcement | Coming | Join;
