/**
 * What the object of one stream offers to that of another, by RPC. log-object/forks.ts implements it. An error crosses
 * as data.
 */
import type { EdgeWireError } from "../errors.ts";
import type { StreamConfig } from "../stream/stream-config.ts";

export interface ForkAnswer {
  readonly error?: EdgeWireError;
  /** Id of the source. A stream that is made at its path later has another. */
  readonly id?: string;
  readonly offset: number;
  readonly start?: number;
  readonly prefix: Uint8Array | undefined;
  readonly config: Pick<StreamConfig, "contentType" | "ttl" | "expiresAt">;
}

/** Batches of a source, or the reason why there are none. */
export type SourceAnswer =
  | { readonly bytes: Uint8Array; readonly nextOffset: number; readonly error?: undefined }
  | { readonly error: EdgeWireError };

/** A fork's read of its source. `since`: from the first record on that is not older; objects before ignore it. */
export type SourceRange = [from: number, limit: number, maxBytes: number, since?: number];

/** All methods are asynchronous because of RPC. */
export interface Peer {
  forkFrom(
    child: string,
    requested: number | undefined,
    subOffset: number,
    contentType: string | undefined,
    childId: string,
  ): Promise<ForkAnswer>;
  /** Undefined if the source does not exist any more. */
  readSource(id: string | undefined, ...range: SourceRange): Promise<SourceAnswer | undefined>;
  releaseFork(child: string, childId: string): Promise<void>;
  /** True if the stream there is a fork of `source`. If it is just being made, the call waits for that. */
  isForkOf(source: string, id: string): Promise<boolean>;
}
