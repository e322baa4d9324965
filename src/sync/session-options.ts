/** What a session is given, and what it tells. */
import type { ErrorCode, ErrorDetails, TidemarkError } from "../errors.ts";
import type { AdoptedLook } from "./adopted.ts";
import type { Block } from "./pump.ts";
import type { ReplicaStart } from "./replica-start.ts";
import type { SyncHost } from "./sync-host.ts";
import type { TopicStore } from "./topic-store.ts";

export interface SessionOptions {
  readonly host: SyncHost;
  readonly store: TopicStore;
  readonly path: string;
  /** The volume's leader epoch at its opening. */
  readonly term: number;
  readonly from: ReplicaStart;
  /** Makes the log at the edge. false: the session waits until somebody does. */
  create(): Promise<void> | false;
  readonly onTrimmed: "skip" | "stop";
  /** True if a log of this content type takes this topic's batches. */
  readonly fits: (contentType: string) => boolean;
  /** What the edge would refuse of the records that were here before the topic became synced. */
  readonly refused: AdoptedLook;
  changed(): void;
  tell(event: SessionNews): void;
  /** The edge wants another token. */
  unauthorized(): void;
  /** The topic has become level: this connection was of use. */
  served(): void;
  /** The volume must be opened again. */
  failed(error: TidemarkError): void;
}

export type SessionNews =
  | { readonly type: "blocked"; readonly block: Block }
  | { readonly type: "stopped"; readonly code: ErrorCode; readonly details: ErrorDetails }
  | { readonly type: "gap"; readonly from: number; readonly to: number }
  | { readonly type: "claimed"; readonly generation: number; readonly found: number }
  | { readonly type: "offered"; readonly records: number; readonly left: number }
  | { readonly type: "quota"; readonly where: "device" | "edge" };

/** For the status: what failed, and when by the wall clock. */
export interface Failure {
  readonly code: ErrorCode;
  readonly message: string;
  readonly at: number;
}
