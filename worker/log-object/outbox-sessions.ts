/**
 * Joins, pushes and tides on the sockets of a log (src/sync/sync-frames.ts). A socket that has joined speaks for one
 * outbox; that is kept in its attachment, so an object that slept still knows it.
 *
 *   join   ──▶ joined, or an error with the same fields; either way the socket has joined
 *              other sockets of the same outbox with a lower (generation, term) end: FENCED_LEADER
 *   push   ──▶ ok behind the commit, or an error
 *   follow ──▶ tide: when it is level and the log's ends are others than it was told; and before the first batch of
 *              another life of the log, so that who stores it knows of which
 */
import { encodeFrame, type Frame, FrameType, jsonFrame, jsonOf } from "../../src/sync/frames.ts";
import { readJoin, readPush, tidePayload } from "../../src/sync/sync-frames.ts";
import { badRequest, EdgeError } from "../errors.ts";
import { askerOf } from "../rpc/join-prefix.ts";
import { joinOutbox } from "../stream/join.ts";
import { outboxRefusal } from "../stream/push.ts";
import type { Stream } from "../stream/stream.ts";
import type { EventFields } from "../telemetry/events.ts";
import { joined as joinTold, pushed as pushTold } from "../telemetry/socket-events.ts";
import { wireErrorOf } from "../wire/http.ts";
import type { Counters } from "../telemetry/counters.ts";

/** What a socket has said when it joined. Plain data: it is stored. */
export interface SyncState {
  readonly outbox: string | null;
  readonly generation: number;
  readonly term: number;
  readonly owner: string;
  /** The newest life of the log that it was told of. */
  readonly life: string;
}

/** A socket, as far as it is needed here. */
export interface SyncSession {
  readonly channel: number;
  /** Bytes of appends on their way. */
  pending: number;
  readonly follows: Map<number, unknown>;
  sync: SyncState | undefined;
}

export interface OutboxSessionsHost<Session extends SyncSession> {
  stream(): Promise<Stream>;
  sessions(): Iterable<Session>;
  send(session: Session, frame: Uint8Array): void;
  /** Writes the session down. */
  save(session: Session): void;
  event(name: "join" | "push", fields: EventFields): void;
  readonly counters: Counters;
}

interface Follow {
  readonly id: number;
  readonly next: number;
}

export class OutboxSessions<Session extends SyncSession> {
  readonly #host: OutboxSessionsHost<Session>;
  /** The log's ends as a follow was told them last. */
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
    session.sync = { outbox, generation, term, owner, life: joined.life };
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

  /** Whoever spoke for this outbox before ends here. */
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

  /** Resolves once the push stands in the log's queue, or is refused. */
  async push(session: Session, frame: Frame, refuse: (thrown: unknown) => void): Promise<void> {
    const push = readPush(frame.payload);
    if (!push) throw badRequest("the payload is not a push's");
    const { sync } = session;
    if (!sync || sync.outbox === null) throw badRequest("a push comes behind a join that named its outbox");
    if (push.readTo === undefined && push.at !== push.expected)
      throw badRequest("a push begins at the expected position; only a claim leaves positions out");
    const { outbox, generation, term, owner } = sync;
    const stream = await this.#host.stream();
    const started = Date.now();
    const checked = await stream.pushes.check(push);
    session.pending += frame.payload.length;
    // Not awaited: the next frame joins the same group commit.
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

  /** Before a follow is sent batches, and stands where they begin. */
  beforeBatches(session: Session, follow: Follow, stream: Stream): void {
    const { sync } = session;
    const { current } = stream.outboxes.lives;
    if (!sync || sync.life === current) return;
    session.sync = { ...sync, life: current };
    this.#host.save(session);
    this.#tide(session, follow, stream);
  }

  /** A follow has been sent what there is to be sent. */
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
