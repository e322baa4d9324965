/**
 * Joins, pushes and tides on the sockets of a log (src/sync/sync-frames.ts). A socket that has joined speaks for one
 * outbox. That is stored in the socket's attachment, so an object that slept still knows it.
 *
 *   join   ──▶ joined, or an error with the same fields; in both cases the socket has joined
 *              other sockets of the same outbox with a lower (generation, term) are ended: FENCED_LEADER
 *   push   ──▶ ok after the commit, or an error
 *   follow ──▶ tide: when it has caught up and the log's ends have changed since its last tide; and before the first
 *              batch of another life of the log, so that a device that stores the batch knows its life
 */
import { encodeFrame, type Frame, FrameType, jsonFrame, jsonOf } from "../../src/sync/frames.ts";
import { ownPayload, readJoin, readPush, tidePayload } from "../../src/sync/sync-frames.ts";
import { badRequest, EdgeError } from "../errors.ts";
import { askerOf } from "../rpc/join-prefix.ts";
import { joinOutbox } from "../stream/join.ts";
import { outboxRefusal } from "../stream/push.ts";
import type { Stream } from "../stream/stream.ts";
import type { EventFields } from "../telemetry/events.ts";
import { joined as joinTold, pushed as pushTold } from "../telemetry/socket-events.ts";
import { wireErrorOf } from "../wire/http.ts";
import type { Counters } from "../telemetry/counters.ts";
import { endOfPart, partsWithin, sentTo } from "./own-runs.ts";

/** What a socket said when it joined. Plain data, because it is stored. */
export interface SyncState {
  readonly outbox: string | null;
  readonly generation: number;
  readonly term: number;
  readonly owner: string;
  /** The newest life of the log that the socket was told of. */
  readonly life: string;
  /** True if own batches are told by where they stand. */
  readonly skipsOwn?: boolean;
}

/** The part of a socket that is needed here. */
export interface SyncSession {
  readonly channel: number;
  /** Bytes of unanswered appends. */
  pending: number;
  readonly follows: Map<number, unknown>;
  sync: SyncState | undefined;
}

export interface OutboxSessionsHost<Session extends SyncSession> {
  stream(): Promise<Stream>;
  sessions(): Iterable<Session>;
  send(session: Session, frame: Uint8Array): void;
  /** Stores the session in the socket's attachment. */
  save(session: Session): void;
  event(name: "join" | "push", fields: EventFields): void;
  readonly counters: Counters;
}

interface Follow {
  readonly id: number;
  readonly next: number;
}

interface CreditedFollow extends Follow {
  readonly credits: number;
}

interface FoundBatches {
  readonly bytes: Uint8Array;
  /** Where a follow is that was sent all of them. */
  readonly nextOffset: number;
}

export class OutboxSessions<Session extends SyncSession> {
  readonly #host: OutboxSessionsHost<Session>;
  /** By follow: the log's ends in its last tide. */
  readonly #told = new WeakMap<object, string>();

  constructor(host: OutboxSessionsHost<Session>) {
    this.#host = host;
  }

  async join(session: Session, prefixed: Frame): Promise<void> {
    const { frame, owner, mayWrite } = askerOf(prefixed);
    const fields = jsonOf(frame);
    const join = fields && readJoin(fields);
    if (!join) throw badRequest("the payload is not a JSON object");
    if ("wrong" in join) throw badRequest(join.wrong);
    const stream = await this.#host.stream();
    stream.touch();
    const { outboxes, pushes } = stream;
    const books = { outboxes, pushes, nowMs: Date.now() };
    const { refusal, joined } = await joinOutbox(stream, books, join, { owner, mayWrite });
    const { outbox, generation, term } = join;
    const skipsOwn = join.echo === false;
    session.sync = { outbox, generation, term, owner, life: joined.life, ...(skipsOwn && { skipsOwn }) };
    this.#host.save(session);
    const { channel } = session;
    this.#host.counters.joins++;
    this.#host.event("join", joinTold(outbox, refusal));
    if (refusal) {
      const error = { ...wireErrorOf(outboxRefusal(refusal)), details: joined };
      return this.#host.send(session, jsonFrame({ type: FrameType.ERROR, channel, id: frame.id }, error));
    }
    if (outbox !== null) this.#fence(session, outbox);
    this.#host.send(session, jsonFrame({ type: FrameType.JOINED, channel, id: frame.id }, joined));
  }

  /** Ends other sockets that spoke for this outbox before. */
  #fence(session: Session, outbox: string): void {
    const { generation, term } = session.sync!;
    for (const other of this.#host.sessions()) {
      if (other === session || other.sync?.outbox !== outbox) continue;
      if ((other.sync.generation - generation || other.sync.term - term) >= 0) continue;
      other.sync = undefined;
      other.follows.clear();
      this.#host.save(other);
      const error = new EdgeError("FENCED_LEADER", outboxRefusal("FENCED_LEADER").message, { generation, term });
      this.#host.send(other, jsonFrame({ type: FrameType.ERROR, channel: other.channel, id: 0 }, wireErrorOf(error)));
    }
  }

  /** Resolves once the push is in the log's queue, or was refused. */
  async push(session: Session, frame: Frame, refuse: (thrown: unknown) => void): Promise<void> {
    const push = readPush(frame.payload);
    if (!push) throw badRequest("the payload is not that of a push");
    const { sync } = session;
    if (!sync || sync.outbox === null) throw badRequest("join with the outbox's id before you push");
    if (push.readTo === undefined && push.at !== push.expected)
      throw badRequest("a push must begin at the expected position; only a claim may leave positions out");
    const { outbox, generation, term, owner } = sync;
    const stream = await this.#host.stream();
    const started = Date.now();
    const checked = await stream.pushes.check(push);
    session.pending += frame.payload.length;
    // Not awaited, so that the next frame can join the same group commit.
    void stream.pushes
      .take({ outbox, generation, term, owner }, checked)
      .then(({ isClaim, ...answer }) => {
        if (isClaim && session.sync?.outbox === outbox) {
          session.sync = { ...session.sync, generation: answer.generation };
          this.#host.save(session);
        }
        this.#host.counters.push(frame.payload.length, answer.duplicate, isClaim);
        this.#host.event("push", pushTold(started, frame.payload.length, outbox, answer, isClaim));
        const fields = { type: FrameType.OK, channel: session.channel, id: frame.id, credits: frame.payload.length };
        this.#host.send(session, jsonFrame(fields, answer));
      })
      .catch((thrown: unknown) => {
        this.#host.counters.pushConflicts++;
        refuse(thrown);
      })
      .finally(() => (session.pending -= frame.payload.length));
  }

  /** Called before a follow is sent batches, when it is at the offset where they begin. */
  beforeBatches(session: Session, follow: Follow, stream: Stream): void {
    const { sync } = session;
    const { current } = stream.outboxes.lives;
    if (!sync || sync.life === current) return;
    session.sync = { ...sync, life: current };
    this.#host.save(session);
    this.#tide(session, follow, stream);
  }

  /**
   * The frames that bring a follow these batches, as far as its credits go, and how many bytes of batches are in them.
   * If not even the first batch fits: its size.
   */
  framesOf(session: Session, { id, credits }: CreditedFollow, stream: Stream, found: FoundBatches) {
    const { sync, channel } = session;
    const skips = sync?.skipsOwn === true && sync.outbox !== null;
    const all = skips ? sentTo(sync.outbox, found.bytes, stream.pushes.recent) : [{ bytes: found.bytes }];
    const sent = partsWithin(all, credits);
    if (typeof sent === "number") return sent;
    const { parts, bytes } = sent;
    const frames = parts.map((each) =>
      "own" in each
        ? encodeFrame({ type: FrameType.OWN, channel, id, payload: ownPayload(each.own) })
        : encodeFrame({ type: FrameType.BATCHES, channel, id, payload: each.bytes }),
    );
    const end = endOfPart(parts.at(-1)!);
    return { frames, bytes, nextOffset: end === endOfPart(all.at(-1)!) ? found.nextOffset : end };
  }

  /** Called when a follow was sent everything that there is. */
  level(session: Session, follow: Follow, stream: Stream): void {
    if (!session.sync || follow.next < stream.tail) return;
    if (this.#told.get(follow) === endsOf(stream)) return;
    this.#told.set(follow, endsOf(stream));
    this.#tide(session, follow, stream);
  }

  #tide(session: Session, follow: Follow, stream: Stream): void {
    const { start: logStartOffset, tail: highWatermark } = stream;
    const { current: life } = stream.outboxes.lives;
    const payload = tidePayload({ logStartOffset, nextOffset: follow.next, highWatermark, life });
    this.#host.send(session, encodeFrame({ type: FrameType.TIDE, channel: session.channel, id: follow.id, payload }));
  }
}

const endsOf = ({ start, tail }: Stream): string => `${start}-${tail}`;
