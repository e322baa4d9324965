/** The words that tabs of one tide say to each other in the lobby (the drawing stands in membership.ts). */
import type { JoinRequest } from "../port/protocol.ts";

/** Tabs that can't read each other's messages must know it. */
interface Versioned {
  readonly version: number;
  /** The broker that its sender knows. */
  readonly broker: string | undefined;
}
export interface Announcement extends Versioned {
  /** Its worker's life lock. */
  readonly leader: string;
  readonly epoch: number;
}
/** Its worker lives, and is about to open: whoever joins now is let in when it leads. */
export interface Coming extends Versioned {
  readonly coming: string;
}
export interface Join {
  readonly to: string;
  readonly version: number;
  readonly join: JoinRequest;
}
export type Word = "hail" | "destroyed" | "opening" | "away" | "here" | Announcement | Coming | Join;
