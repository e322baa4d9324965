/** Commands to a tab, and its answers. Histories go to the crash test's ledger, which outlives every tab. */
import type { Engine } from "../crash/events.ts";

export interface TabConfig {
  /** Unique in the run. */
  readonly tab: number;
  readonly name: string;
  readonly engine: Engine | "auto";
  /** True: the tab hides SharedWorker from the library. */
  readonly noSharedWorker: boolean;
  /** Pause between two appends; 0 appends as fast as possible. */
  readonly pauseMs: number;
  /** Position at which the follower begins; default "earliest". */
  readonly followFrom?: "earliest" | { readonly last: number };
  readonly leaderTimeoutMs?: number;
}

/** A tab's note of its first append that was acked by a new leader. Times are of the machine's clock. */
export interface Term {
  readonly tab: number;
  readonly epoch: number;
  readonly role: "leader" | "follower";
  readonly lostAt: number;
  readonly changedAt: number;
  readonly ackedAt: number;
}

/** A page's note when it is told that it goes, for good or not. */
export interface Left {
  readonly left: number;
  readonly at: number;
}

export interface TabState {
  readonly role: "leader" | "follower";
  readonly via: string;
  readonly epoch: number | undefined;
  /** Type and time of each event of the tide. */
  readonly events: readonly (readonly [type: string, at: number])[];
  readonly acked: number;
  readonly polled: number;
  readonly storage: string;
  readonly durability: string;
  readonly failures: readonly string[];
  /** Pairs of versions from events about a tab of another version. */
  readonly versions: readonly (readonly [ours: number, theirs: number])[];
  /** The longest time that an append took. */
  readonly ackMsMax: number;
  /** Why the tide was closed; undefined while it is open. */
  readonly closed: string | undefined;
}

export interface TabBrief extends Pick<TabState, "role" | "epoch" | "acked" | "failures" | "ackMsMax" | "closed"> {
  /** How often the page came back from the back-forward cache. */
  readonly restored: number;
  readonly froze: number;
  readonly visible: boolean;
}

/** The functions that the runner calls in the page, as `window.tab`. */
export interface TabPage {
  open(config: TabConfig): Promise<void>;
  /** Starts a writer that appends until it is stopped, and a follower that reads every record. */
  work(): void;
  /** Starts the writer again. */
  write(): void;
  state(): TabState;
  /** Stops the writer; resolves when each of its calls has been answered. */
  rest(): Promise<void>;
  /** Reads the whole log and reports it to the ledger. */
  readAll(): Promise<number>;
  /** Resolves when this tab has read up to the log's present end. */
  caughtUp(): Promise<void>;
  close(): Promise<void>;
  /** Ends the leading worker and the standby worker. */
  killWorkers(): void;
  append(value: number): Promise<number>;
  /** Fills a topic of its own with this many segments of the volume, and keeps them as Kafka's files. */
  makeSegments(count: number): Promise<void>;
  /** Begins to import them into another topic. */
  beginImport(): void;
  /** What that call gave: records, or its error. */
  importEnded(): Promise<number | string>;
  /** Files of the tide in OPFS: one more for each segment that is written. */
  slots(): Promise<number>;
  /** Offsets of what the import has brought, and the names of all topics. */
  imported(): Promise<{ readonly offsets: readonly number[]; readonly topics: readonly string[] }>;
  brief(): TabBrief;
  /** The first ack after this time, and after this tab became the leader; by the clock that all tabs share. */
  ackAsLeader(after: number): number | undefined;
  now(): number;
}
