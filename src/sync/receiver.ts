/**
 * Follows the edge's log into the replica. A few frames are stored at the same time, so that they share a flush. Only
 * when one of them is done is the next frame asked for, which gives the edge its credits back.
 *
 *   follow ─▶ beginLife (another life of the edge's log) ─▶ receive ─▶ watermark ─▶ credits
 *       ├─ own: where own batches stand; their bytes are taken from the outbox
 *       └─ tide: where the log begins and ends; level once the watermark is there
 */
import type { EdgeLog } from "./edge-socket.ts";
import type { LogAtEdge } from "./log-at-edge.ts";
import { fetchedParts } from "./own-echo.ts";
import { ownRunOf, restOf } from "./own-runs.ts";
import type { OwnRun, TidePayload } from "./sync-frames.ts";
import type { ReceivedFrame, TopicStore } from "./topic-store.ts";
import type { FollowedTo, WindowShare } from "./window-budget.ts";

const FRAMES_AT_ONCE = 4;

export interface ReceiverHost {
  readonly store: TopicStore;
  readonly atEdge: Pick<LogAtEdge, "end" | "life">;
  /** Called when a frame was stored, and when a tide came. */
  advanced(tide: TidePayload | undefined): void;
}

/**
 * Resolves when the log is closed and all of it is here. Rejects with what ended the follow, or with the error of the
 * first frame that could not be stored: later frames can't be stored then, either.
 */
export async function receive(host: ReceiverHost, log: EdgeLog): Promise<void> {
  const share = log.socket.windows.share(host.store.watermark, () => host.atEdge.end);
  await follow(host, log, share).finally(() => share.end());
}

async function follow(host: ReceiverHost, log: EdgeLog, share: WindowShare): Promise<void> {
  const { store } = host;
  const storing: Promise<void>[] = [];
  let from = store.watermark;
  for (;;) {
    const next = await followFrom(from, storing, host, log, share);
    if (next === undefined) break;
    // The edge can't be asked to give credits back, so a window that is too wide ends with its follow.
    share.restart((from = next));
  }
  await Promise.all(storing);
}

/** Where the next follow begins; undefined if there is none: the log is closed, or a frame could not be stored. */
async function followFrom(
  from: number,
  storing: Promise<void>[],
  host: ReceiverHost,
  log: EdgeLog,
  share: WindowShare,
): Promise<number | undefined> {
  const { store } = host;
  let failed: unknown;
  const resize = (has: number, least: number, to: FollowedTo): number => share.next(has, least, to);
  const options = { windowBytes: share.bytes, resize, ownRun: ownRunOf };
  for await (const { bytes: sent, nextOffset, tide, own } of log.follow(from, options)) {
    if (failed !== undefined) break;
    if (tide) {
      // A tide comes before the first batch of its life, so it is the newest when that batch is stored.
      host.atEdge.life = tide.life;
      await Promise.all(storing.splice(0));
      host.advanced(tide);
      if (share.isWide && tide.nextOffset >= tide.highWatermark) return from;
      continue;
    }
    const { life } = host.atEdge;
    for await (const part of own ? ownParts(store, log, own) : [{ bytes: sent, nextOffset }]) {
      const frame = { ...part, from };
      from = part.nextOffset;
      const stored = store
        .beginLife(life)
        .then(() => store.receive(frame))
        .then(() => host.advanced(undefined));
      stored.catch((thrown: unknown) => (failed ??= thrown));
      storing.push(stored);
      if (storing.length >= FRAMES_AT_ONCE) await storing.shift();
      if (own && share.isUnused(part.bytes.length)) return from;
    }
  }
  return undefined;
}

/** The bytes of own batches: those of the outbox, or of the edge where the outbox can't give them. */
async function* ownParts(
  store: TopicStore,
  log: EdgeLog,
  own: OwnRun,
): AsyncGenerator<Pick<ReceivedFrame, "bytes" | "nextOffset">> {
  const nextOffset = own.offset + own.next - own.position;
  for (let rest: OwnRun | undefined = own; rest;) {
    const bytes = await store.ownBytes(rest);
    if (!bytes) return yield* fetchedParts(log, rest.offset, nextOffset);
    rest = restOf(rest, bytes);
    yield { bytes, nextOffset: rest?.offset ?? nextOffset };
  }
}
