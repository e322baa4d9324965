/**
 * The Durable Object that leads one log. The router has checked who asks; here a request becomes work on the Stream,
 * and its outcome an answer. Everything in memory can be rebuilt from the tables, because an object may be evicted,
 * reset or moved between any two events.
 *
 *   append      a small POST, by an RPC call of the router (http-append.ts)
 *   fetch       PUT GET (http-read.ts) HEAD POST DELETE of the stream, and the upgrade of a watcher
 *   watchers    hibernating sockets of Workers; each gets a notice after a commit, behind the ack (telling.ts)
 *   sockets     of the WebSocket dialect: sockets.ts
 *   RPC         for other streams' objects: forkFrom, readSource, releaseFork
 *   alarm       expiry, telling a source that its fork is gone, and the work of alarm-work.ts
 */
import { DurableObject } from "cloudflare:workers";
import type { PackingKernel } from "../../src/kernel/types.ts";
import { textEncoder } from "../../src/record/bytes.ts";
import { Alarms } from "../store/alarms.ts";
import { Archive } from "../store/segment-archive.ts";
import { type Bucket, bucketSource } from "../store/bucket.ts";
import { appendAsked, appendTo, trimTo } from "./http-append.ts";
import { answerRead, readOrWatch, type ReadHost } from "./http-read.ts";
import { type AppendCall, answerInText, headersInText, textOfAnswer, textOfHeaders } from "../rpc/append-call.ts";
import type { Sql } from "../store/sql.ts";
import { lifeOf } from "./life.ts";
import { Lifecycle } from "./lifecycle.ts";
import { groupTurn, sqlOf } from "./platform.ts";
import { encodeInSlices, turn } from "../stream/body-encoder.ts";
import { checkBindings, wrongClass } from "../bindings.ts";
import { type Env, outboxMaxAgeMs } from "../env.ts";
import { streamObject } from "../rpc/stubs.ts";
import {
  FRAME_HEADER,
  IMPORT_HEADER,
  PATH_HEADER,
  SOCKET_HEADER,
  TENANT_HEADER,
  WAIT_HEADER,
} from "../rpc/internal-headers.ts";
import { Counters } from "../telemetry/counters.ts";
import { emit, type EventFields } from "../telemetry/events.ts";
import { EdgeError } from "../errors.ts";
import { type Answer, errorAnswer, errorResponse, responseOf } from "../wire/http.ts";
import { edgeKernel } from "../kernel.ts";
import { TokenBucket } from "./token-bucket.ts";
import { offerFork, readSource, sourceAnswer } from "./forks.ts";
import { answerImport } from "./import-requests.ts";
import type { ForkAnswer, Peer, SourceRange, SourceAnswer } from "../rpc/fork-peer.ts";
import { beginning, newConfig, createAsked, describe, existing } from "./create-and-describe.ts";
import { readBody } from "../wire/request-body.ts";
import { LogSockets, SOCKET_TAG } from "./sockets.ts";
import { answerFrame } from "./frame-answer.ts";
import { prometheus } from "./prometheus.ts";
import { mediaType } from "../stream/media-type.ts";
import { H, methodNotAllowed } from "../wire/durable-streams.ts";
import { withoutQuery } from "../wire/paths.ts";
import { numberedOffset } from "../wire/offsets.ts";
import { askedAgain } from "../rpc/lost.ts";
import type { StreamPeer, StreamTold } from "../rpc/stream-peer.ts";
import { subscriptionsOf, tellRemoved } from "../rpc/subscription-peer.ts";
import type { StreamJudge } from "../stream/batch-check.ts";
import { Stream, type StreamHost } from "../stream/stream.ts";
import { SubscriptionNotifier } from "./subscription-notifier.ts";
import { nothingAt, Telling } from "./telling.ts";
import { Watchers } from "./watchers.ts";
import { AlarmWork } from "./alarm-work.ts";

export class LogObject extends DurableObject<Env> implements Peer, AppendCall, StreamPeer {
  #tenant = "";
  readonly #counters = new Counters();
  readonly #alarms = new Alarms(this.ctx.storage);
  readonly #work = new AlarmWork({
    sql: this.#sql(),
    alarms: this.#alarms,
    counters: this.#counters,
    bucket: () => this.#bucket,
    stream: () => this.#life.current,
    peer: (path) => this.#peer(path),
    releaseFork: (child) => this.releaseFork(child, undefined),
    event: (name, fields) => this.#emit(name, fields),
    trimmed: (stream) => void this.#sockets.moved(stream, nothingAt(stream.tail), turn),
    abort: (reason) => this.ctx.abort(reason),
  });
  readonly #life: Lifecycle = new Lifecycle({
    now: () => Date.now(),
    open: () => this.#open(),
    opened: (stream) => this.#opened(stream),
    hasReaders: () => this.#watchers.count > 0 || this.#sockets.hasFollows,
    leaves: (stream) => this.#leave(stream),
    releaseRetry: this.#work.retry("release"),
    planRelease: (at) => this.#alarms.plan("release", at),
    tellSource: ({ config: { fork, path, id } }) => askedAgain(() => this.#peer(fork!.path).releaseFork(path, id)),
    gone: () => {
      this.#alarms.clear();
      this.#subscribers.stop();
      this.#work.streamGone();
    },
    waitUntil: (work) => this.ctx.waitUntil(work),
  });
  readonly #tokens = TokenBucket.of(this.env, Date.now());
  readonly #subscribers = new SubscriptionNotifier({
    env: this.env,
    retry: this.#work.retry("tell"),
    stream: () => this.#life.load(),
    planAt: (at) => this.#alarms.plan("tell", at),
    event: (name, fields) => this.#emit(name, fields),
    waitUntil: (work) => this.ctx.waitUntil(work),
  });
  readonly #watchers = new Watchers(this.ctx);
  readonly #telling = new Telling({
    isHeard: () => this.#watchers.count > 0 || this.#sockets.count > 0,
    watchers: (form) => this.#watchers.of(form),
    follows: (stream, found) => this.#sockets.moved(stream, found, turn),
    turn,
  });
  readonly #reading: ReadHost = {
    counters: this.#counters,
    watchers: this.#watchers,
    kernel: edgeKernel,
    visible: () => this.#life.visible(),
    metrics: (stream) => this.#metrics(stream),
  };
  readonly #sockets = new LogSockets({
    ctx: this.ctx,
    stream: () => this.#life.visible(),
    begin: () => this.#begin(),
    counters: this.#counters,
    event: (name, fields) => this.#emit(name, fields),
    takesOutboxes: this.env.TIDEMARK_SYNC !== "off",
  });

  async #open(): Promise<Stream | undefined> {
    const kernel = await edgeKernel();
    await this.#alarms.load();
    return Stream.load(this.#host(kernel));
  }

  #opened(stream: Stream | undefined): void {
    this.#work.plan();
    if (stream) this.#tenant = stream.config.tenant;
    // What subscriptions were told before the object slept is not stored. Telling them again changes nothing.
    if (stream?.config.watched) this.#subscribers.start(0);
    // The object ended before the PUT was done. Its records are there, but subscriptions may not know of them.
    if (stream && this.#life.visibleNow === stream && stream.config.creating !== undefined)
      this.#made(stream, undefined);
  }

  #sql(): Sql {
    return sqlOf(this.ctx.storage, () => this.env.TIDEMARK_DATABASE_BYTES);
  }

  #host(kernel: PackingKernel): StreamHost {
    return {
      sql: this.#sql(),
      kernel,
      archive: new Archive(bucketSource(this.#bucket), kernel),
      now: () => Date.now(),
      breathe: groupTurn,
      outboxes: { maxAgeMs: outboxMaxAgeMs(this.env) },
      judgeOf: (path) => this.judgeOf(path),
      readSource: (source, ...range) => askedAgain(() => readSource(this.#peer(source.path), source, ...range)),
      onChange: (end, closed) => this.#notify(end, closed),
      // Runs after the transaction that seals.
      onSealed: (nextOffset) =>
        queueMicrotask(() => {
          this.#counters.seals++;
          this.#emit("seal", { nextOffset });
          this.#work.plan();
        }),
      abort: (reason) => this.ctx.abort(reason),
      renew: () => this.#renew(),
    };
  }

  /** Memory counts records that no table has. Their callers are told so, which a restart would not do. */
  #renew(): void {
    const { current } = this.#life;
    // Readers were perhaps not told yet of the commits before it.
    const tell = (renewed: Stream | undefined): void => renewed && this.#telling.moved(renewed);
    if (current) this.#life.renewed(current).then(tell, (thrown: unknown) => this.ctx.abort(String(thrown)));
  }

  /** The schema of the stream at this path; withSchemas() overrides this. Undefined: the stream has none. */
  protected judgeOf(_path: string): StreamJudge | undefined {
    return undefined;
  }

  /** A commit is on its way to the disk: withFlushTimes() measures that. */
  protected committed(_tenant: string, _path: string): void {}

  // --- object storage ----------------------------------------------------------------------------------------------

  get #bucket(): Bucket | undefined {
    return this.env.SEGMENTS;
  }

  #peer(path: string): Peer {
    return streamObject(this.env, this.#tenant, path);
  }

  // --- requests ----------------------------------------------------------------------------------------------------

  override async fetch(request: Request): Promise<Response> {
    try {
      const path = request.headers.get(PATH_HEADER);
      this.#tenant = decodeURIComponent(request.headers.get(TENANT_HEADER) ?? "");
      if (path === null) throw wrongClass("SUBSCRIPTIONS");
      return await this.#route(request, decodeURIComponent(path));
    } catch (thrown) {
      this.#counters.rejections++;
      return errorResponse(thrown);
    }
  }

  /** Counts a request, whichever way it came. */
  #begin(): void {
    this.#tokens?.take(Date.now());
    this.#counters.requests++;
  }

  async #route(request: Request, path: string): Promise<Response> {
    this.#begin();
    if (request.headers.has(SOCKET_HEADER)) return this.#sockets.accept(Number(request.headers.get(SOCKET_HEADER)));
    if (request.headers.get("upgrade") === "websocket")
      return request.headers.has(WAIT_HEADER)
        ? readOrWatch(request, this.#reading)
        : this.#watchers.accept(request, await this.#life.visible());
    switch (request.method) {
      case "PUT": {
        // Read before its turn, so that a slow body does not hold up others.
        const body = await readBody(request);
        return this.#life.exclusive(() => this.#create(request, path, body));
      }
      case "POST":
        return this.#append(request);
      case "GET":
        return answerRead(request, this.#reading);
      case "HEAD":
        return this.#head();
      case "DELETE":
        return this.#life.exclusive(() => this.#delete());
      default:
        throw methodNotAllowed();
    }
  }

  async #create(request: Request, path: string, body: Uint8Array): Promise<Response> {
    // Nothing is made that could not be told to subscriptions, or moved.
    checkBindings(this.env);
    const asked = createAsked(request.headers);
    const known = await this.#life.alive();
    if (known?.config.releasing) await this.#life.release(known);
    else if (known) return existing(known, asked);
    // Workers may still have a manifest of the stream that was here before.
    await this.#work.clear();
    const id = crypto.randomUUID().slice(0, 8);
    const kernel = await edgeKernel();
    const { fork } = asked;
    const from = fork?.offset === undefined ? undefined : numberedOffset(fork.offset, H.forkOffset);
    const point =
      fork &&
      (await askedAgain(() => this.#peer(fork.path).forkFrom(path, from, fork.subOffset, asked.contentType, id)));
    if (point?.error) throw EdgeError.fromWire(point.error);
    const config = newConfig(asked, { id, path, tenant: this.#tenant, point, nowMs: Date.now() });
    let batches: readonly Uint8Array[];
    try {
      // Encoded before anything is written, so that a body that is not JSON creates nothing.
      const text = { body, mediaType: mediaType(config.contentType), timestamp: Date.now(), prefix: point?.prefix };
      if (body.length > 0) await this.judgeOf(path)?.body({ body, contentType: config.contentType });
      batches = await encodeInSlices(kernel, text, turn);
    } catch (thrown) {
      if (fork) await askedAgain(() => this.#peer(fork.path).releaseFork(path, id));
      throw thrown;
    }
    const described = beginning(config, batches, asked.closed);
    const stream = await this.#life.make(Stream.create(this.#host(kernel), described));
    this.#schedule(stream);
    await stream.begin(batches, asked.closed);
    await this.#tellCreated(stream);
    return new Response(null, {
      status: 201,
      headers: { location: withoutQuery(request.url), "content-type": config.contentType, ...describe(stream) },
    });
  }

  /** A POST that came by fetch: an append too large for a call, a frame, a trim, or a part of an import. */
  async #append(request: Request): Promise<Response> {
    if (request.headers.has(FRAME_HEADER)) return answerFrame(request, this.#sockets);
    if (request.headers.has(H.trim)) return trimTo(await this.#life.visible(), request, this.#work);
    if (request.headers.has(IMPORT_HEADER)) return this.#import(request);
    const asked = appendAsked(request.headers);
    const body = await readBody(request);
    return responseOf(await appendTo(await this.#life.visible(), asked, body, this.#counters));
  }

  #import(request: Request): Promise<Response> {
    const filled = (stream: Stream): void => {
      this.#schedule(stream);
      this.#notify(stream.tail, stream.closed);
    };
    const plan = (): void => {
      // Their alarm is set, whatever the import comes to.
      this.#subscribers.moved(Infinity);
      this.#work.plan();
    };
    return answerImport(request, { life: this.#life, filled, plan });
  }

  async appendByText(tenant: string, passed: string, body: Uint8Array): Promise<string> {
    this.#tenant = tenant;
    try {
      this.#begin();
      const headers = headersInText(passed);
      const asked = appendAsked({ get: (name) => headers[name.toLowerCase()] ?? null });
      const stream = this.#life.visibleNow ?? (await this.#life.visible());
      return textOfAnswer(await appendTo(stream, asked, body, this.#counters));
    } catch (thrown) {
      this.#counters.rejections++;
      return textOfAnswer(errorAnswer(thrown));
    }
  }

  /** Workers of versions before `appendByText` call this. */
  async append(tenant: string, passed: Readonly<Record<string, string>>, body: Uint8Array): Promise<Answer> {
    return answerInText(await this.appendByText(tenant, textOfHeaders(passed, Object.keys(passed)), body));
  }

  #metrics(stream: Stream): Response {
    return prometheus(stream, this.#counters, this.#sql(), {
      databaseBytes: this.ctx.storage.sql.databaseSize,
      watchers: this.#watchers.count,
      sockets: this.ctx.getWebSockets(SOCKET_TAG).length,
    });
  }

  #emit(event: string, fields: EventFields): void {
    emit(this.env, event, { tenant: this.#tenant, path: this.#life.current?.config.path, ...fields });
  }

  async #head(): Promise<Response> {
    const stream = await this.#life.visible();
    return new Response(null, {
      status: 200,
      headers: { "content-type": stream.config.contentType, "cache-control": "no-store", ...describe(stream) },
    });
  }

  // --- end of life -------------------------------------------------------------------------------------------------

  async #delete(): Promise<Response> {
    await this.#life.remove(await this.#life.visible());
    return new Response(null, { status: 204 });
  }

  #leave(stream: Stream): void {
    this.#watchers.closeAll(4404, "deleted");
    this.#sockets.closeAll(4404, "deleted");
    this.ctx.waitUntil(tellRemoved(this.env, stream.config));
  }

  #schedule(stream: Stream): void {
    const { deadline } = stream;
    this.#alarms.plan("expiry", deadline === undefined ? undefined : deadline + 1);
  }

  override async alarm(): Promise<void> {
    // When the object wakes, loading plans the work of this very alarm. The plans made below replace that one.
    await this.#life.load();
    this.#alarms.fired();
    const stream = await this.#life.alive();
    await this.#work.run(stream);
    if (!stream || this.#life.current !== stream) return;
    // It may be deleted as well: forks had kept it, and its source has not heard yet that they are gone.
    if (stream.config.releasing) return this.#life.tryRelease(stream);
    if (stream.config.deleted) return;
    await this.#subscribers.all();
    this.#schedule(stream);
  }

  // --- for the worker and other objects ----------------------------------------------------------------------------

  #notify(end: number, closed: boolean): void {
    this.#counters.commits++;
    this.#emit("commit", { end, closed });
    const { current } = this.#life;
    if (current) this.#telling.moved(current);
    if (current) this.committed(this.#tenant, current.config.path);
    this.#subscribers.moved(end);
    if (current?.config.retention?.maxAgeMs !== undefined) this.#work.planRetention();
  }

  // --- subscriptions -----------------------------------------------------------------------------------------------

  async #tellCreated(stream: Stream): Promise<void> {
    const { path, id, tenant } = stream.config;
    const isWatched = await subscriptionsOf(this.env, tenant)
      .created(tenant, { path, id, tail: stream.tail })
      .catch(() => undefined);
    this.#made(stream, isWatched);
  }

  /** `isWatched`: undefined if subscriptions could not be asked. */
  #made(stream: Stream, isWatched: boolean | undefined): void {
    // If a full database refuses the note, the object tries again when it wakes next.
    stream.note({ creating: undefined, ...(isWatched !== false && { watched: true }) });
    if (isWatched !== false) this.#subscribers.start(stream.tail);
    // If subscriptions could not be told now, the alarm tells them.
    if (isWatched === undefined) this.#subscribers.start(-1);
    this.#subscribers.moved(stream.tail);
  }

  /** Somebody subscribes: appends are reported from now on. Undefined if there is no stream yet. */
  async watched(): Promise<StreamTold | undefined> {
    const stream = await this.#life.alive();
    const life = lifeOf(stream, Date.now());
    if (!stream || life === "creating" || life === "deleted" || life === "releasing") return undefined;
    if (!stream.config.watched) stream.save({ watched: true });
    this.#subscribers.watched(stream.tail);
    const { path, id } = stream.config;
    return { path, id, tail: stream.tail };
  }

  /** Appends one message to a wake stream. */
  async appendJson(text: string): Promise<void> {
    const stream = await this.#life.visible();
    await stream.append({
      body: textEncoder.encode(text),
      contentType: "application/json",
      closing: false,
      producer: undefined,
      seq: undefined,
      ifEnd: undefined,
    });
  }

  override async webSocketMessage(socket: WebSocket, message: unknown): Promise<void> {
    await this.#sockets.message(socket, message);
  }

  override async webSocketError(socket: WebSocket): Promise<void> {
    const isTimed = this.#watchers.isTimed(socket) || this.#sockets.isTimed(socket);
    this.#sockets.closed(socket);
    if (isTimed) (await this.#life.load())?.touch();
  }
  override async webSocketClose(socket: WebSocket): Promise<void> {
    await this.webSocketError(socket);
    socket.close();
  }

  async forkFrom(
    child: string,
    requested: number | undefined,
    subOffset: number,
    contentType: string | undefined,
    childId: string,
  ): Promise<ForkAnswer> {
    const answer = await offerFork(
      await this.#life.alive(),
      { child, childId, requested, subOffset, contentType },
      () => this.releaseFork(child, childId),
    );
    this.#work.plan();
    return answer;
  }

  async readSource(id: string | undefined, ...range: SourceRange): Promise<SourceAnswer | undefined> {
    return sourceAnswer(await this.#life.load(), id, range);
  }

  isForkOf(source: string, id: string): Promise<boolean> {
    return this.#life.exclusive(async () => {
      const { fork } = (await this.#life.load())?.config ?? {};
      return fork?.path === source && (fork.id ?? id) === id;
    });
  }

  async releaseFork(child: string, childId: string | undefined): Promise<void> {
    const stream = await this.#life.load();
    stream?.forks.remove(child, childId);
    if (stream?.isHeld !== false) return;
    if (stream.config.deleted) return this.#life.forkGone(stream);
    // Records that the fork held may be removed now.
    this.#work.plan();
  }
}
