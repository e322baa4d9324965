/**
 * What the object of one stream does for that of another, by RPC: a fork reads records below its offset from its
 * source, and the source keeps what its forks read.
 */
import type { ForkAnswer, Peer, SourceRange, SourceAnswer } from "../rpc/fork-peer.ts";
import { type EdgeCode, EdgeError } from "../errors.ts";
import { lifeOf } from "./life.ts";
import { mediaType } from "../stream/media-type.ts";
import type { Stream } from "../stream/stream.ts";
import type { Fork } from "../stream/stream-config.ts";
import { seekTime } from "../stream/seek-time.ts";
import { forkPointIn } from "../stream/fork-point.ts";

/**
 * Records of a fork that belong to its source. Undefined if the source is gone, whether or not another stream has its
 * path.
 */
export async function readSource(peer: Peer, { id }: Pick<Fork, "id">, ...range: SourceRange) {
  const found = await peer.readSource(id, ...range);
  if (found?.error) throw EdgeError.fromWire(found.error);
  return found;
}

interface Wanted {
  readonly child: string;
  readonly childId: string;
  readonly requested: number | undefined;
  readonly subOffset: number;
  readonly contentType: string | undefined;
}

export async function offerFork(
  stream: Stream | undefined,
  { child, childId, requested, subOffset, contentType }: Wanted,
  release: () => Promise<void>,
): Promise<ForkAnswer> {
  const none = { offset: 0, prefix: undefined, config: { contentType: "", ttl: undefined, expiresAt: undefined } };
  const refuse = (code: EdgeCode, message: string): ForkAnswer => ({
    ...none,
    error: new EdgeError(code, message).toWire(),
  });
  const life = lifeOf(stream, Date.now());
  if (!stream || life === "releasing" || life === "creating") return refuse("NOT_FOUND", "the source does not exist");
  if (life === "deleted") return refuse("CONFLICT", "the source was deleted");
  const { config } = stream;
  if (contentType !== undefined && mediaType(contentType) !== mediaType(config.contentType))
    return refuse("CONFLICT", `the source has the content type ${config.contentType}`);
  // The source notes its fork first, then the fork is made. A failure in between keeps data too long, but never loses
  // any. The note is made in the turn of the checks, before any await, because retention and compaction look at it in
  // the turn in which they remove records.
  const isKnown = stream.forks.paths.includes(child);
  try {
    stream.forks.add(child, childId);
    const point = await forkPointIn(stream, requested, subOffset);
    return {
      ...point,
      id: config.id,
      start: stream.start,
      config: { contentType: config.contentType, ttl: config.ttl, expiresAt: config.expiresAt },
    };
  } catch (thrown) {
    if (!isKnown) await release();
    if (EdgeError.isOne(thrown)) return { ...none, error: EdgeError.from(thrown).toWire() };
    throw thrown;
  }
}

const CHECK_MS = 10 * 60_000;
const CHECK_MS_MAX = 24 * 60 * 60_000;

export interface HeldHost {
  stream(): Stream | undefined;
  now(): number;
  peer(path: string): Peer;
  release(child: string): Promise<void>;
}

/**
 * A fork that was noted but never made (power lost in between) would hold its source for ever. So if something waits
 * for it, or was refused because of it, the forks are asked whether they exist: after ten minutes, and then after
 * pauses that double up to a day. The times are kept with the stream, so the object of an idle source can sleep in
 * between.
 */
export class HeldForks {
  readonly #host: HeldHost;

  constructor(host: HeldHost) {
    this.#host = host;
  }

  /** When the forks are asked next; undefined if nothing waits for them. Written only when it changes. */
  plan(): number | undefined {
    const stream = this.#host.stream();
    if (!stream) return undefined;
    const { retention, compaction, deleted, releasing, forkCheck } = stream.config;
    if (stream.isHeld && !releasing && (retention ?? compaction ?? forkCheck ?? deleted))
      return forkCheck?.at ?? this.#next(stream, CHECK_MS);
    if (forkCheck) stream.note({ forkCheck: undefined });
    return undefined;
  }

  /** A trim was refused because of the forks. */
  refused(stream: Stream): void {
    if (!stream.config.forkCheck) this.#next(stream, CHECK_MS);
  }

  #next(stream: Stream, pauseMs: number): number {
    const at = this.#host.now() + pauseMs;
    stream.note({ forkCheck: { at, pauseMs } });
    return at;
  }

  async run(): Promise<void> {
    const due = this.plan();
    const stream = this.#host.stream();
    if (!stream || due === undefined || due > this.#host.now()) return;
    // Written before any fork is asked, so that an object that is reset meanwhile goes on with the next time.
    this.#next(stream, Math.min(stream.config.forkCheck!.pauseMs * 2, CHECK_MS_MAX));
    for (const child of stream.forks.paths) {
      // A fork that does not answer may exist, so it counts as existing.
      const isOne = await this.#host
        .peer(child)
        .isForkOf(stream.config.path, stream.config.id)
        .catch(() => true);
      if (this.#host.stream() !== stream) return;
      if (!isOne) await this.#host.release(child);
    }
  }
}

/** The answer to a fork that asks for records of this stream. Undefined if its source is not here any more. */
export async function sourceAnswer(
  stream: Stream | undefined,
  id: string | undefined,
  [from, limit, maxBytes, since]: SourceRange,
): Promise<SourceAnswer | undefined> {
  if (!stream || (id ?? stream.config.id) !== stream.config.id) return undefined;
  try {
    const at = Math.max(from, since === undefined ? 0 : Math.min(await seekTime(stream, since), limit - 1));
    const { bytes, nextOffset } = await stream.readBatches(at, limit, maxBytes);
    return { bytes, nextOffset };
  } catch (thrown) {
    if (EdgeError.isOne(thrown)) return { error: EdgeError.from(thrown).toWire() };
    throw thrown;
  }
}
