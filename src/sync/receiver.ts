/**
 * Follows the edge's log into the replica: each frame is stored, flushed and counted before the edge may send as many
 * bytes again. A few frames are stored at a time, so that they share a flush.
 *
 *   follow ─▶ beginLife (another life of the edge's log) ─▶ receive ─▶ watermark ─▶ credits
 *       └─ tide: where the log begins and ends; level once the watermark is there
 */
import type { EdgeLog } from "./edge-socket.ts";
import type { TidePayload } from "./sync-frames.ts";
import type { TopicStore } from "./topic-store.ts";

export const FOLLOW_BYTES = 64 * 1024;
const FRAMES_AT_ONCE = 4;

export interface ReceiverHost {
  readonly store: TopicStore;
  readonly windowBytesMax: number;
  /** Of the newest join or tide. */
  life: string;
  /** What was received is stored, or a tide came. */
  advanced(tide: TidePayload | undefined): void;
}

/**
 * Resolves when the log is closed and all of it is here. Rejects with what ended the follow, or with the first frame
 * that could not be stored: whatever came behind it can't be, either.
 */
export async function receive(host: ReceiverHost, log: EdgeLog): Promise<void> {
  const { store } = host;
  const storing: Promise<void>[] = [];
  let failed: unknown;
  let from = store.watermark;
  const options = { windowBytes: FOLLOW_BYTES, windowBytesMax: host.windowBytesMax };
  for await (const { bytes, nextOffset, tide } of log.follow(from, options)) {
    if (failed !== undefined) break;
    if (tide) {
      // It is told before the first batch of its life: who stores that one must know.
      host.life = tide.life;
      await Promise.all(storing.splice(0));
      host.advanced(tide);
      continue;
    }
    const { life } = host;
    const frame = { bytes, from, nextOffset };
    from = nextOffset;
    const stored = store
      .beginLife(life)
      .then(() => store.receive(frame))
      .then(() => host.advanced(undefined));
    stored.catch((thrown: unknown) => (failed ??= thrown));
    storing.push(stored);
    if (storing.length >= FRAMES_AT_ONCE) await storing.shift();
  }
  await Promise.all(storing);
}
