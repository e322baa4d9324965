/**
 * The edge of a simulation of sync: one log with the Worker's own code behind its sockets (LogSockets, Stream, the
 * registry) over Node's SQLite. Its object restarts, sleeps, loses power, is full, and is put back; its log is trimmed,
 * compacted, closed, deleted and made anew. Logs of one edge share its front (front.ts).
 *
 *   SimSocket (network.ts) ── SimFront ── LogSockets ── Stream ── SimSql
 *                                                         └ every commit ─▶ Ledger
 */
import { Compactor } from "../../../src/log/compaction.ts";
import { concat } from "../../../src/record/bytes.ts";
import { readHeader } from "../../../src/record/format.ts";
import { decodeFrame, type Frame, FrameType } from "../../../src/sync/frames.ts";
import { EdgeError } from "../../../worker/errors.ts";
import { LogSockets, type SocketHost } from "../../../worker/log-object/sockets.ts";
import type { SyncState } from "../../../worker/log-object/outbox-sessions.ts";
import { nothingAt, Telling } from "../../../worker/log-object/telling.ts";
import { Archive } from "../../../worker/store/segment-archive.ts";
import type { OutboxBounds } from "../../../worker/stream/outboxes.ts";
import type { StreamJudge } from "../../../worker/stream/batch-check.ts";
import { Stream, type StreamHost } from "../../../worker/stream/stream.ts";
import { forgetTombstones } from "../../../worker/stream/tombstones.ts";
import { Counters } from "../../../worker/telemetry/counters.ts";
import { kernel } from "../../unit/outbox-edge.ts";
import { STREAM_CONFIG } from "../../support/stream-config.ts";
import { Ledger } from "./ledger.ts";
import { SimFront } from "./front.ts";
import type { HttpLog } from "./http-way.ts";
import type { DeviceEnd, Joiner, LogDoor, ObjectSocket, SimSocket } from "./network.ts";
import { batchOf, judgeBatch, namesIn, type NamedRecord } from "./records.ts";
import { type DatabaseState, SimSql } from "./sim-sql.ts";
import { StandingJudge } from "./standing-judge.ts";
import type { Time } from "./time.ts";

export const PATH = "t";
const READ_BYTES = 1 << 20;
const DAY_MS = 86_400_000;
/** A group commit takes less than so long. */
const COMMIT_MS = 4;
const RETRY_MS = 10;

const SCHEMA: StreamJudge = { batch: judgeBatch, body: () => undefined, append: (_, append) => append() };

export interface EdgeSettings {
  readonly outboxes: OutboxBounds;
}

/** A moment that the edge may be put back to. */
export interface EdgeBackup {
  readonly state: DatabaseState;
  readonly names: readonly string[];
}

export class SimEdge implements LogDoor, HttpLog {
  readonly time: Time;
  readonly path: string;
  readonly front: SimFront;
  readonly ledger: Ledger;
  readonly #settings: EdgeSettings;
  readonly #sql = new SimSql();
  readonly #standing: StandingJudge;
  #sockets!: LogSockets;
  #telling!: Telling;
  #stream: Promise<Stream | undefined> = Promise.resolve(undefined);
  #opened: Stream | undefined;
  #made = 0;
  #draws = 0;
  readonly #lookers = new Set<() => void>();
  /** From its waking on the object needs up to so long until it is open. */
  wakesWithin = 0;
  #wakes: Promise<void> | undefined;
  /** Refuses requests with this code. */
  refuses: "TOO_MANY_REQUESTS" | "BACKPRESSURE" | "INTERNAL" | undefined;
  /** At the next push the log is sealed, and the power is cut after so many writes. */
  sealsAtPush: number | undefined;
  /** What has begun since the ledger looked; the power may have been cut in the middle of it. */
  #mayHaveLost: "nothing" | "trimmed" | "more" = "nothing";
  /** Commits that wait, and messages that are being taken. */
  #busy = 0;
  /** Called when a fault that waited for its moment strikes, and when an entry leaves the registry's memory. */
  onStruck: (name: string) => void = () => undefined;
  /** Called with each push that passes, before it is taken. */
  onPush: (socket: object, owner: string) => void = () => undefined;

  constructor(
    time: Time,
    settings: EdgeSettings,
    fail: (why: string) => void,
    { front = new SimFront(time), path = PATH }: { readonly front?: SimFront; readonly path?: string } = {},
  ) {
    this.time = time;
    this.front = front;
    this.path = path;
    front.add(this);
    this.#settings = settings;
    this.ledger = new Ledger(fail);
    this.#standing = new StandingJudge(fail);
    this.#sql.onWritten = (query, values) => {
      if (this.#standing.wrote(query, values)) this.onStruck("spill");
    };
  }

  now(): number {
    return this.front.now();
  }
  get clockMs(): number {
    return this.front.clockMs;
  }
  set clockMs(ms: number) {
    this.front.clockMs = ms;
  }
  get isReachable(): boolean {
    return this.front.isReachable;
  }
  set isReachable(isSo: boolean) {
    this.front.isReachable = isSo;
  }
  get strikes() {
    return this.#sql.strikes;
  }
  get isIdle(): boolean {
    return this.#busy === 0;
  }

  /** The end of what is committed; as of the object's last opening, while it opens anew. */
  get committed(): number {
    return this.#opened?.tail ?? 0;
  }

  /** Where the log begins; as of the object's last opening, while it opens anew. */
  get start(): number {
    return this.#opened?.start ?? 0;
  }

  get isClosed(): boolean {
    return this.#opened?.closed === true;
  }

  // --- the object --------------------------------------------------------------------------------------------------

  /** The object wakes. Sockets stay as they are. */
  wake(): void {
    this.#wakes = this.wakesWithin > 0 ? this.time.sleep(this.time.random.int(this.wakesWithin)) : undefined;
    const host: SocketHost = {
      ctx: {
        acceptWebSocket: () => undefined,
        getWebSockets: () =>
          [...this.front.clients]
            .flatMap(({ channels }) => [...channels.values()])
            .filter(({ door, isAccepted }) => door === this && isAccepted),
      },
      stream: () => this.stream(),
      begin: () => this.begin(),
      counters: new Counters(),
      event: () => undefined,
      takesOutboxes: true,
    };
    const sockets = new LogSockets(host);
    this.#sockets = sockets;
    const turn = (): Promise<void> => this.time.sleep(0);
    this.#telling = new Telling({
      isHeard: () => true,
      watchers: () => [],
      follows: (stream, found) => sockets.moved(stream, found, turn),
      turn,
    });
    this.#become(Stream.load(this.#host()));
  }

  begin(): void {
    if (this.refuses) throw new EdgeError(this.refuses, "not now", { retryAfter: 1 });
  }

  async stream(): Promise<Stream> {
    await this.#wakes;
    const stream = await this.#stream.catch(() => {
      throw new EdgeError("CLOSED", "the object does not open now", { reason: "reset" });
    });
    if (!stream) throw new EdgeError("NOT_FOUND", "no such stream");
    return stream;
  }

  #become(opening: Promise<Stream | undefined>): void {
    const stream = opening.then((opened) => (this.#opened = opened));
    this.#stream = stream;
    // The power was cut meanwhile, or the database is full: the object tries again when it is asked next.
    stream.catch(() => this.time.after(RETRY_MS, () => this.#stream === stream && this.wake()));
  }

  #host(): StreamHost {
    const telling = this.#telling;
    let stream: Stream | undefined;
    return {
      sql: this.#sql.life(),
      kernel,
      archive: new Archive(undefined, kernel),
      now: () => this.now(),
      random: () => ++this.#draws,
      breathe: () => this.#commits(),
      readSource: () => Promise.reject(new Error("no source")),
      onChange: () => {
        for (const look of [...this.#lookers]) look();
        void this.#stream.then(
          (open) => {
            stream ??= open;
            if (stream && stream === open) telling.moved(stream);
          },
          () => undefined,
        );
      },
      onSealed: () => undefined,
      abort: () => this.time.after(0, () => this.reset(false)),
      renew: () => this.#renew(),
      outboxes: this.#settings.outboxes,
      judgeOf: () => SCHEMA,
    };
  }

  /** A full database refused what memory counts as taken. Sockets stay, as in log-object.ts. */
  #renew(): void {
    this.#opened?.store.end();
    this.#become(Stream.load(this.#host()));
    const telling = this.#telling;
    this.#stream.then(
      (stream) => stream && telling.moved(stream),
      () => undefined,
    );
  }

  async #commits(): Promise<void> {
    this.#busy++;
    await this.time.sleep(this.time.random.int(COMMIT_MS));
    this.#busy--;
  }

  /** Makes the log, if there is none. */
  async make(): Promise<void> {
    if (await this.#stream.catch(() => undefined)) return;
    const made = Stream.create(this.#host(), { ...STREAM_CONFIG, id: String(this.#made++) });
    this.#become(made);
    await made;
  }

  /** The object starts anew: memory is gone, rows stay. Channels end, or whole sockets do. */
  reset(withSockets: boolean): void {
    const clients = [...this.front.clients];
    this.wake();
    for (const client of clients) {
      if (!withSockets) this.#endChannels(client, "CLOSED");
      else if (this.front.isOnlyLog || this.#channelsOf(client).length > 0) this.front.cut(client, 1012);
    }
  }

  #channelsOf({ channels }: SimSocket): number[] {
    return [...channels].filter(([, { door }]) => door === this).map(([channel]) => channel);
  }
  #endChannels(client: SimSocket, code: "CLOSED" | "GONE"): void {
    for (const channel of this.#channelsOf(client)) client.endChannel(channel, code);
  }

  /** At the next write but so many the power is cut. */
  losePower(after: number): void {
    this.#sql.writesLeft = after;
    this.#sql.onCut = () => {
      for (const client of this.front.clients)
        for (const object of client.channels.values()) if (object.door === this) object.isOpen = false;
      this.time.after(0, () => this.reset(this.time.random.chance(0.5)));
    };
  }
  fill(isFull: boolean): void {
    this.#sql.isFull = isFull;
  }
  wholeAgain(): void {
    this.#sql.isFull = false;
    this.#sql.writesLeft = undefined;
    this.refuses = undefined;
    this.front.wholeAgain();
    this.sealsAtPush = undefined;
  }

  // --- the log -----------------------------------------------------------------------------------------------------

  /** Somebody appends by another way. */
  async append(record: NamedRecord): Promise<void> {
    const stream = await this.#stream;
    const batch = batchOf([record], { producerId: -1, producerEpoch: -1, baseSequence: -1 });
    // Refusals are the other one's own affair.
    await stream?.appendBatches([batch], undefined).catch(() => undefined);
  }

  async seal(): Promise<boolean> {
    const stream = await this.#stream;
    await stream?.log.roll();
    return stream !== undefined;
  }

  /** Retention: everything below goes. */
  async trim(part: number): Promise<boolean> {
    const stream = await this.#stream;
    if (!stream) return false;
    const { start, tail } = stream;
    const wanted = start + Math.floor((tail - start) * part);
    // As retention does: to where a batch begins.
    const to = wanted < tail ? readHeader((await stream.readBatches(wanted, tail, 1)).bytes).baseOffset : tail;
    if (to <= start) return false;
    if (this.#mayHaveLost === "nothing") this.#mayHaveLost = "trimmed";
    await stream.log.trim(to);
    // As the object does behind its retention (alarm-work.ts).
    await this.#sockets.moved(stream, nothingAt(stream.tail), () => this.time.sleep(0));
    return true;
  }

  /** Key compaction of what is sealed. True if it took something. */
  async compact(): Promise<boolean> {
    const stream = await this.#stream;
    if (!stream) return false;
    const { log, store } = stream;
    const settings = { ...log.settings, compaction: { minLagMs: 0 }, compactionKeysMax: 1_000 };
    const compactor = new Compactor({ store, kernel, settings, tombstonesLast: true });
    this.#mayHaveLost = "more";
    const { recordsRemoved } = await compactor.run(this.now(), log.highWatermark, (swap) => swap());
    return recordsRemoved > 0;
  }

  /** A day and more goes by: compaction takes deleted records, and in the next pass their tombstones. */
  async forgetDeletions(): Promise<void> {
    const stream = (await this.#stream)!;
    const { log, store, tables } = stream;
    const compaction = { minLagMs: 0, tombstoneRetentionMs: 0 };
    const settings = { ...log.settings, compaction, compactionKeysMax: 1_000 };
    const forgetting = (to: number): void => forgetTombstones(tables, to);
    const compactor = new Compactor({ store, kernel, settings, tombstonesLast: true, forgetting });
    this.#mayHaveLost = "more";
    for (let pass = 0; pass < 2; pass++) {
      this.clockMs += DAY_MS;
      await compactor.run(this.now(), log.highWatermark, (swap) => swap());
    }
  }

  async close(): Promise<boolean> {
    const stream = await this.#stream;
    if (!stream || stream.closed) return false;
    const nothing = { contentType: undefined, producer: undefined, seq: undefined, ifEnd: undefined };
    await stream.append({ body: new Uint8Array(0), closing: true, ...nothing });
    return stream.closed;
  }

  async backup(): Promise<EdgeBackup | undefined> {
    await this.catchUp();
    if (!(await this.#stream)) return undefined;
    return { state: this.#sql.state(), names: [...this.ledger.now.names] };
  }

  async putBack({ state, names }: EdgeBackup): Promise<void> {
    await this.catchUp();
    this.#sql.putBack(state);
    this.#standing.forget();
    this.reset(true);
    this.ledger.putBack(names, (await this.#stream)!.start, await this.#held());
  }

  /** The log is deleted. */
  async remove(): Promise<void> {
    await this.catchUp();
    this.#sql.putBack(undefined);
    this.#standing.forget();
    this.ledger.madeAnew();
    const clients = [...this.front.clients];
    this.wake();
    for (const client of clients) this.#endChannels(client, "GONE");
  }

  /** The ledger gets what was committed since, and learns what is gone. */
  async catchUp(): Promise<void> {
    await this.#catchUp().catch((thrown: unknown) => {
      // The power was cut meanwhile: later.
      if (EdgeError.from(thrown).code !== "CLOSED") throw thrown;
    });
  }

  async #catchUp(): Promise<void> {
    // While the object does not open there is nothing new.
    const stream = await this.#stream.catch(() => undefined);
    if (!stream) return;
    const { tail } = stream;
    while (this.ledger.end < tail) {
      const from = this.ledger.end;
      const { bytes } = await stream.readBatches(from, tail, READ_BYTES);
      for (const [offset, name] of namesIn(bytes)) if (offset >= from && offset < tail) this.ledger.add(offset, name);
      if (this.ledger.end === from) throw new Error(`the edge's log can't be read at ${from}`);
    }
    if (this.#mayHaveLost === "nothing") return;
    this.ledger.left(stream.start, await this.#held(), this.#mayHaveLost === "trimmed");
    this.#mayHaveLost = "nothing";
  }

  /** All batches that the log holds. */
  async held(): Promise<Uint8Array> {
    const stream = await this.#stream;
    const all: Uint8Array[] = [];
    for (let at = stream?.start ?? 0; stream && at < stream.tail;) {
      const { bytes, nextOffset } = await stream.readBatches(at, stream.tail, READ_BYTES);
      all.push(bytes);
      at = nextOffset;
    }
    return concat(all);
  }

  async #held(): Promise<Map<number, string>> {
    return new Map(namesIn(await this.held()));
  }

  // --- sockets -----------------------------------------------------------------------------------------------------

  /** Makes the log, or says whether there is one. */
  async http(method: "PUT" | "HEAD", text?: string): Promise<{ readonly status: number }> {
    return this.front.http(method, this.path, text);
  }
  async answerHttp(method: "PUT" | "HEAD"): Promise<{ readonly status: number }> {
    try {
      if (method === "PUT") await this.make();
      return { status: (await this.#stream) ? 200 : 404 };
    } catch {
      return { status: 507 };
    }
  }

  connect(device: DeviceEnd, text: string | undefined): SimSocket {
    return this.front.connect(device, text);
  }
  cutAll(): void {
    this.front.cutAll();
  }

  answerFrame(frame: Frame, sync: SyncState | undefined): Promise<Uint8Array> {
    return this.#sockets.answer(frame, sync);
  }

  onMove(look: () => void): () => void {
    this.#lookers.add(look);
    return () => this.#lookers.delete(look);
  }

  passed(socket: object, owner: string): void {
    this.onPush(socket, owner);
  }

  pushes(speaker: Joiner, { payload }: Frame): void {
    this.#standing.sent(speaker, payload);
  }

  async accept(channel: number, object: ObjectSocket): Promise<void> {
    class Pair {
      readonly 0 = {};
      readonly 1 = object;
    }
    Object.assign(globalThis, { WebSocketPair: Pair });
    await this.#sockets.accept(channel).catch((thrown: unknown) => {
      // Node's Response knows no status 101; all else has been done by then.
      if (!(thrown instanceof RangeError)) throw thrown;
    });
  }

  async message(object: ObjectSocket, data: Uint8Array<ArrayBuffer>): Promise<void> {
    this.#busy++;
    await this.#sockets.message(object, data).finally(() => this.#busy--);
    if (this.sealsAtPush !== undefined && decodeFrame(data)?.type === FrameType.PUSH) await this.#sealWithoutPower();
  }

  async #sealWithoutPower(): Promise<void> {
    this.losePower(this.sealsAtPush!);
    this.sealsAtPush = undefined;
    this.onStruck("power in seal");
    const stream = await this.#stream.catch(() => undefined);
    // The power may be gone by then.
    await stream?.log.roll().catch(() => undefined);
  }

  left(object: ObjectSocket): void {
    this.#sockets.closed(object);
  }

  end(): void {
    this.#sql.close();
  }
}
