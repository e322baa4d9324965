/**
 * What an object of one stream offers to that of another, by RPC: a fork reads below its offset from its source, and the source keeps
 * what its forks read.
 */
import { HttpError } from "./http.ts";
import { mediaType } from "./protocol.ts";
import type { Stream, StreamConfig } from "./stream.ts";

export interface ForkAnswer {
  readonly error?: { readonly status: number; readonly message: string };
  readonly offset: number;
  readonly start?: number;
  readonly prefix: Uint8Array | undefined;
  readonly config: Pick<StreamConfig, "contentType" | "ttl" | "expiresAt">;
}

/** RPC makes it asynchronous. */
export interface Peer {
  forkFrom(child: string, requested: number | undefined, subOffset: number, contentType: string | undefined): Promise<ForkAnswer>;
  readSource(from: number, limit: number, maxBytes: number): Promise<{ bytes: Uint8Array; nextOffset: number }>;
  releaseFork(child: string): Promise<void>;
}

interface Wanted {
  readonly child: string;
  readonly requested: number | undefined;
  readonly subOffset: number;
  readonly contentType: string | undefined;
}

export async function offerFork(stream: Stream | undefined, { child, requested, subOffset, contentType }: Wanted, release: () => Promise<void>): Promise<ForkAnswer> {
  const none = { offset: 0, prefix: undefined, config: { contentType: "", ttl: undefined, expiresAt: undefined } };
  const refuse = (status: number, message: string): ForkAnswer => ({ ...none, error: { status, message } });
  if (!stream || stream.config.releasing) return refuse(404, "the source does not exist");
  if (stream.config.deleted) return refuse(409, "the source was deleted");
  const { config } = stream;
  if (contentType !== undefined && mediaType(contentType) !== mediaType(config.contentType)) return refuse(409, `the source is ${config.contentType}`);
  // First the source knows of its fork, then the fork is made: what fails in between keeps data, and never loses any. In the turn of the
  // checks, before anything is awaited: retention and compaction look at it in the turn in which they take.
  const isKnown = stream.forks.includes(child);
  stream.addFork(child);
  try {
    const point = await stream.forkPoint(requested, subOffset);
    return { ...point, start: stream.start, config: { contentType: config.contentType, ttl: config.ttl, expiresAt: config.expiresAt } };
  } catch (thrown) {
    if (!isKnown) await release();
    if (thrown instanceof HttpError) return refuse(thrown.status, thrown.message);
    throw thrown;
  }
}
