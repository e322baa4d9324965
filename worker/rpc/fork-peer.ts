/**
 * What an object of one stream offers to that of another, by RPC; log-object/forks.ts does it. An error crosses as
 * data.
 */
import type { EdgeWireError } from "../errors.ts";
import type { StreamConfig } from "../stream/stream-config.ts";

export interface ForkAnswer {
  readonly error?: EdgeWireError;
  /** Of the source: another stream that is made at its path later is none. */
  readonly id?: string;
  readonly offset: number;
  readonly start?: number;
  readonly prefix: Uint8Array | undefined;
  readonly config: Pick<StreamConfig, "contentType" | "ttl" | "expiresAt">;
}

/** Batches of a source, or why there are none. */
export type SourceAnswer =
  | { readonly bytes: Uint8Array; readonly nextOffset: number; readonly error?: undefined }
  | { readonly error: EdgeWireError };

/** RPC makes it asynchronous. */
export interface Peer {
  forkFrom(
    child: string,
    requested: number | undefined,
    subOffset: number,
    contentType: string | undefined,
    childId: string,
  ): Promise<ForkAnswer>;
  /** Undefined where the source is not there any more. */
  readSource(id: string | undefined, from: number, limit: number, maxBytes: number): Promise<SourceAnswer | undefined>;
  releaseFork(child: string, childId: string): Promise<void>;
  /** The stream there reads from `source`; one that is just being made is waited for. */
  isForkOf(source: string, id: string): Promise<boolean>;
}
