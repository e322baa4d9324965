/** What a tab is told to do, and what it answers. Histories go to the crash test's ledger, which outlives every tab. */
import type { Engine } from "../crash/events.ts";

export interface TabConfig {
  /** Unique in the run. */
  readonly tab: number;
  readonly name: string;
  readonly engine: Engine | "auto";
  /** As if this engine had no SharedWorker. */
  readonly noSharedWorker: boolean;
  /** Between two appends; 0: as fast as it can. */
  readonly pauseMs: number;
  /** Where the follower begins; default "earliest". */
  readonly followFrom?: "earliest" | { readonly last: number };
  readonly leaderTimeoutMs?: number;
}

/** What a tab notes when its first append was acked by another leader than before. Times are of the machine's clock. */
export interface Term {
  readonly tab: number;
  readonly epoch: number;
  readonly role: "leader" | "follower";
  readonly lostAt: number;
  readonly changedAt: number;
  readonly ackedAt: number;
}

/** What a page notes when it is told that it goes, for good or not. */
export interface Left {
  readonly left: number;
  readonly at: number;
}

export interface TabState {
  readonly role: "leader" | "follower";
  readonly via: string;
  readonly epoch: number | undefined;
  /** Of each event of the tide, its type, and when it was told. */
  readonly events: readonly (readonly [type: string, at: number])[];
  /** When the tide was last acked an append: the clock that all tabs share. */
  readonly ackedAt: readonly number[];
  readonly acked: number;
  readonly polled: number;
  readonly storage: string;
  readonly durability: string;
  readonly failures: readonly string[];
  /** Other versions that were met. */
  readonly versions: readonly (readonly [ours: number, theirs: number])[];
  /** The longest that an append has taken. */
  readonly ackMsMax: number;
  /** Why the tide ended, if it did. */
  readonly closed: string | undefined;
}

export interface TabBrief extends Pick<TabState, "role" | "epoch" | "acked" | "failures" | "ackMsMax" | "closed"> {
  /** How often the page came back as it had been left, and how often it was frozen. */
  readonly restored: number;
  readonly froze: number;
  readonly visible: boolean;
}

/** What the runner calls in the page, as `window.tab`. */
export interface TabPage {
  open(config: TabConfig): Promise<void>;
  /** A writer that appends until it is stopped, and a follower that reads all that comes. */
  work(): void;
  /** The writer goes on. */
  write(): void;
  state(): TabState;
  /** The writer ends; resolves when each of its calls has been answered. */
  rest(): Promise<void>;
  /** Reads the whole log, and tells it. */
  readAll(): Promise<number>;
  /** Resolves when this tab has read as far as the log goes now. */
  caughtUp(): Promise<void>;
  close(): Promise<void>;
  /** Ends the worker that leads, and the one that is kept ready. */
  killWorkers(): void;
  append(value: number): Promise<number>;
  brief(): TabBrief;
  now(): number;
}
