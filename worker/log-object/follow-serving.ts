/**
 * Serves the follows on a log's sockets (sockets.ts), as far as their credits go:
 *
 *   commit ──▶ moved() ──▶ each follow with credits: read from its own offset and send, until credits or log run out
 *
 * Followers at the same offset share one read: the newest one is kept until the commits behind it are reported.
 */
import { type Frame, FrameType, jsonFrame } from "../../src/sync/frames.ts";
import type { Stream } from "../stream/stream.ts";
import type { Counters } from "../telemetry/counters.ts";
import { starve } from "./follow-frames.ts";
import type { OutboxSessions } from "./outbox-sessions.ts";
import { type Follow, save, type SocketSession } from "./socket-session.ts";
import type { Found } from "./telling.ts";

/** Largest read. A follow with more credits gets several. */
const READ_BYTES = 256 * 1024;
/** This many follows are served before other work gets a turn. Credits that came back would go before the rest. */
const SERVED_AT_ONCE = 1_024;

type Read = Pick<Found, "bytes" | "nextOffset">;

export interface FollowHost {
  /** The stream that clients may see. Throws if there is none. */
  stream(): Promise<Stream>;
  sessions(): Iterable<SocketSession>;
  send(session: SocketSession, frame: Uint8Array): void;
  /** Ends the request with an error. */
  refuse(session: SocketSession, frame: Frame, thrown: unknown): void;
  readonly outboxes: Pick<OutboxSessions<SocketSession>, "framesOf" | "beforeBatches" | "level">;
  readonly counters: Counters;
}

export class FollowServing {
  readonly #host: FollowHost;
  /** The newest read, if it reached the log's end. It is kept until the commits behind it are reported. */
  #shared: { readonly stream: Stream; readonly from: number; readonly found: Promise<Read> } | undefined;

  constructor(host: FollowHost) {
    this.#host = host;
  }

  /** Commits are done: serves every follow that waited. Most are where these begin, and share one read. */
  async moved(stream: Stream, found: Found, turn: () => Promise<void>): Promise<void> {
    const shared = { stream, from: found.from, found: Promise.resolve(found) };
    if (found.bytes.length > 0) this.#shared = shared;
    let served = 0;
    for (const session of this.#host.sessions())
      for (const follow of session.follows.values()) {
        if (served++ % SERVED_AT_ONCE === SERVED_AT_ONCE - 1) await turn();
        void this.serve(session, follow, stream);
      }
    this.#shared = undefined;
  }

  async serve(session: SocketSession, follow: Follow, known?: Stream): Promise<void> {
    const { follows, busy, channel } = session;
    // The call that serves it already sees the new credits and the new end.
    if (busy.has(follow.id)) return;
    busy.add(follow.id);
    let stream = known;
    try {
      stream ??= await this.#host.stream();
      // Without any credits not even own batches are told, which cost none. No device hangs by it: it has been sent a
      // whole window then, its bytes are taken without what stands behind them, and so credits come back.
      while (follows.get(follow.id) === follow && follow.credits > 0 && !follow.starved && follow.next < stream.tail) {
        const found = await this.#read(stream, follow.next);
        if (follows.get(follow.id) !== follow) return;
        // Compaction removed all records here. The client must be told, because it may have caught up by that.
        if (found.bytes.length === 0 && found.nextOffset > follow.next) {
          follow.next = found.nextOffset;
          save(session);
          const passed = { nextOffset: follow.next, logEndOffset: stream.tail };
          this.#host.send(session, jsonFrame({ type: FrameType.PASSED, channel, id: follow.id }, passed));
          continue;
        }
        const sent = this.#host.outboxes.framesOf(session, follow, stream, found);
        if (typeof sent === "number") {
          follow.starved = true;
          save(session);
          return this.#host.send(session, starve(session, follow.id, sent));
        }
        this.#host.outboxes.beforeBatches(session, follow, stream);
        stream.touch();
        this.#host.counters.deliveredBytes += sent.bytes;
        follow.credits -= sent.bytes;
        follow.next = sent.nextOffset;
        save(session);
        for (const frame of sent.frames) this.#host.send(session, frame);
      }
      if (follows.get(follow.id) === follow) this.#host.outboxes.level(session, follow, stream);
      if (stream.closed && follow.next >= stream.log.logEndOffset && follows.delete(follow.id)) {
        save(session);
        this.#host.send(
          session,
          jsonFrame({ type: FrameType.END, channel, id: follow.id }, { logEndOffset: stream.tail }),
        );
      }
    } catch (thrown) {
      this.#host.refuse(
        session,
        { type: FrameType.FOLLOW, channel, id: follow.id, credits: 0, payload: new Uint8Array(0) },
        thrown,
      );
    } finally {
      busy.delete(follow.id);
      // The stream was opened anew meanwhile, and commits since then were told to a follow that was busy.
      if (stream?.store.isEnded && follows.get(follow.id) === follow) void this.serve(session, follow);
    }
  }

  /** A read from `from`. Follows at the same offset ask for it one after the other, and share one read. */
  #read(stream: Stream, from: number): Promise<Read> {
    const shared = this.#shared;
    if (shared?.stream === stream && shared.from === from) return shared.found;
    const { tail } = stream;
    const reading = { stream, from, found: stream.readBatches(from, tail, READ_BYTES) };
    this.#shared = reading;
    // Only a read up to the log's end is kept. A read that ends earlier or fails is of no use to other follows.
    const forget = (): void => {
      if (this.#shared === reading) this.#shared = undefined;
    };
    reading.found.then(({ nextOffset }) => (nextOffset < tail ? forget() : undefined), forget);
    return reading.found;
  }
}
