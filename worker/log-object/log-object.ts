/**
 * The Durable Object that leads one log. The router in front of it has checked who asks; here the request becomes work on the
 * Stream, and its outcome an answer. Nothing is held in memory that the tables don't give back: an object may be evicted,
 * reset or moved between any two events.
 *
 *   append      a small POST, by a call of the router (http-append.ts)
 *   fetch       PUT GET HEAD POST DELETE of the stream, and the upgrade of a watcher
 *   watchers    hibernating sockets from the worker; each gets the log's new end after a commit, behind the output gate
 *   sockets     of the WebSocket dialect: sockets.ts
 *   RPC         for other streams' objects: forkFrom, readSource, releaseFork
 *   alarm       expiry, telling a source that its fork is gone, segments on their way to object storage (archiver.ts)
 */
import { DurableObject } from "cloudflare:workers";
import { TidemarkError } from "../../src/errors.ts";
import type { PackingKernel } from "../../src/kernel/types.ts";
import { Alarms } from "../store/alarms.ts";
import { Archive } from "../store/segment-archive.ts";
import { type Bucket, bucketSource } from "../store/bucket.ts";
import { appendAsked, appendTo } from "./http-append.ts";
import type { AppendCall } from "../rpc/append-call.ts";
import { dialectOf } from "../wire/accept.ts";
import { readBatches } from "./batches-dialect.ts";
import type { Sql, SqlRow } from "../store/sql.ts";
import { encodeInSlices, turn } from "../stream/body-encoder.ts";
import { Compaction } from "./compaction-schedule.ts";
import { compactionOf, retentionOf } from "../wire/policies.ts";
import type { Env } from "../env.ts";
import { objectName } from "../rpc/stubs.ts";
import {
  LEAD_HEADER,
  METRICS_HEADER,
  LONG_HEADER,
  PATH_HEADER,
  SOCKET_HEADER,
  TENANT_HEADER,
} from "../rpc/internal-headers.ts";
import { emit, type EventFields } from "../telemetry/events.ts";
import { badRequest, EdgeError } from "../errors.ts";
import { type Answer, errorAnswer, errorResponse, json, responseOf } from "../wire/http.ts";
import { edgeKernel } from "../kernel.ts";
import { TokenBucket } from "./token-bucket.ts";
import { HeldForks, offerFork, readSource } from "./forks.ts";
import type { ForkAnswer, Peer, SourceAnswer } from "../rpc/fork-peer.ts";
import { describe, existing } from "./create-and-describe.ts";
import { readBody } from "../wire/request-body.ts";
import { readAnswer } from "../wire/read-answer.ts";
import { longRead } from "../stream/streamed-read.ts";
import { type HibernatingSocket, LogSockets, SOCKET_TAG } from "./sockets.ts";
import { Counters, prometheus } from "./prometheus.ts";
import { mediaType } from "../stream/media-type.ts";
import {
  contentTypeOf,
  forkOf,
  H,
  isClosing,
  lifetimeOf,
  methodNotAllowed,
  readRequestOf,
} from "../wire/durable-streams.ts";
import { STREAM_PREFIX, withoutQuery } from "../wire/paths.ts";
import { numberedOffset } from "../wire/offsets.ts";
import { manifestOf } from "./manifest-of.ts";
import { MANIFEST_HEADER } from "../rpc/manifest.ts";
import { leadOf } from "../wire/sse-text.ts";
import { type StreamTold, subscriptionsOf } from "../rpc/subscription-peer.ts";
import { Stream, type StreamHost } from "../stream/stream.ts";
import type { StreamConfig } from "../stream/stream-config.ts";
import { Telling } from "./subscription-notifier.ts";
import { Watchers } from "./watchers.ts";
import { retentionDue, retire } from "./retention-schedule.ts";
import { archiverFor } from "./archiver.ts";

/** A group commit follows the one before it by at least so much; what arrives meanwhile shares it. */
const GROUP_MS = 4;
/** Of one read's answer. A larger backlog comes in several. */
const READ_BYTES = 1024 * 1024;
const RETENTION_RETRY_MS = 600_000;
const RELEASE_RETRY_MS = 10_000;

export class LogObject extends DurableObject<Env> implements Peer, AppendCall {
  #stream: Promise<Stream | undefined> | undefined;
  /** The stream that the tables hold now; whoever awaited anything compares before it ends one. */
  #current: Stream | undefined;
  #tenant = "";
  /** Retention was held up and is not tried before. */
  #retireAt = 0;
  /** Creation and deletion take turns. */
  #turn: Promise<unknown> = Promise.resolve();
  readonly #counters = new Counters();
  readonly #tokens = TokenBucket.of(this.env, Date.now());
  readonly #alarms = new Alarms(this.ctx.storage);
  readonly #archiver = archiverFor({
    sql: this.#sql(),
    bucket: () => this.#bucket,
    stream: () => this.#current,
    abort: (reason) => this.ctx.abort(reason),
    event: (event, fields) => {
      if (event === "archive") this.#counters.archived++;
      if (event === "archive_failed") this.#counters.archiveFailures++;
      this.#emit(event, fields);
    },
  });
  readonly #compaction = new Compaction({
    stream: () => this.#current,
    kernel: edgeKernel,
    now: () => Date.now(),
    hasBucket: () => this.#bucket !== undefined,
    abort: (reason) => this.ctx.abort(reason),
    event: (event, fields) => {
      this.#counters.compactedRecords += Number(fields["records"] ?? 0);
      this.#emit(event, fields);
    },
  });
  readonly #heldForks = new HeldForks({
    stream: () => this.#current,
    now: () => Date.now(),
    peer: (path) => this.#peer(path),
    release: (child) => this.releaseFork(child, undefined),
  });
  readonly #telling = new Telling({
    env: this.env,
    stream: () => this.#load(),
    retryAt: (at) => this.#alarms.plan("tell", at),
    waitUntil: (work) => this.ctx.waitUntil(work),
  });
  readonly #watchers = new Watchers(this.ctx);
  readonly #sockets = new LogSockets({
    ctx: this.ctx,
    stream: () => this.#visible(),
    begin: () => this.#begin(),
    counters: this.#counters,
    event: (name, fields) => this.#emit(name, fields),
  });

  #load(): Promise<Stream | undefined> {
    return (this.#stream ??= edgeKernel()
      .then(async (kernel) => {
        await this.#alarms.load();
        return Stream.load(this.#host(kernel));
      })
      .then((stream) => {
        this.#current = stream;
        this.#planUpkeep();
        if (stream) this.#tenant = stream.config.tenant;
        // What was told before the object slept is not kept: told again, it changes nothing.
        if (stream?.config.watched) this.#telling.start(0);
        return stream;
      }));
  }

  #sql(): Sql {
    const { storage } = this.ctx;
    return {
      exec: (query, ...bindings) => storage.sql.exec(query, ...bindings) as Iterable<SqlRow>,
      transaction: (work) => storage.transactionSync(work),
    };
  }

  #host(kernel: PackingKernel): StreamHost {
    return {
      sql: this.#sql(),
      kernel,
      archive: new Archive(bucketSource(this.#bucket), kernel),
      now: () => Date.now(),
      breathe: () => new Promise((resolve) => setTimeout(resolve, GROUP_MS)),
      readSource: (source, ...range) => readSource(this.#peer(source.path), source, ...range),
      onChange: (end, closed) => this.#notify(end, closed),
      // Behind the transaction that seals.
      onSealed: (nextOffset) =>
        queueMicrotask(() => {
          this.#counters.seals++;
          this.#emit("seal", { nextOffset });
          this.#planUpkeep();
        }),
      abort: (reason) => this.ctx.abort(reason),
    };
  }

  // --- object storage ----------------------------------------------------------------------------------------------

  get #bucket(): Bucket | undefined {
    return this.env.SEGMENTS as unknown as Bucket | undefined;
  }

  #planUpkeep(): void {
    this.#alarms.plan("archive", this.#archiver.due);
    this.#alarms.plan("compaction", this.#compaction.due);
    this.#alarms.plan("forks", this.#heldForks.plan());
    if (this.#current?.config.releasing) this.#alarms.plan("release", Date.now() + RELEASE_RETRY_MS);
    this.#planRetention();
  }

  #planRetention(): void {
    const due = this.#current && retentionDue(this.#current, Date.now());
    this.#alarms.plan("retention", due === undefined ? undefined : Math.max(due, this.#retireAt));
  }

  async #retire(stream: Stream): Promise<void> {
    if (stream.config.retention === undefined) return;
    this.#retireAt = (await retire(stream, {
      abort: (reason) => this.ctx.abort(reason),
      event: (name, fields) => this.#emit(name, fields),
    }))
      ? 0
      : Date.now() + RETENTION_RETRY_MS;
  }

  #peer(path: string): Peer {
    const namespace = this.env.LOGS;
    return namespace.get(namespace.idFromName(objectName(this.#tenant, path))) as unknown as Peer;
  }

  // --- requests ----------------------------------------------------------------------------------------------------

  override async fetch(request: Request): Promise<Response> {
    try {
      const path = request.headers.get(PATH_HEADER);
      this.#tenant = decodeURIComponent(request.headers.get(TENANT_HEADER) ?? "");
      if (path === null) throw badRequest("no path");
      return await this.#route(request, decodeURIComponent(path));
    } catch (thrown) {
      this.#counters.rejections++;
      return errorResponse(thrown);
    }
  }

  /** A request, by whatever way it came. */
  #begin(): void {
    this.#tokens?.take(Date.now());
    this.#counters.requests++;
  }

  async #route(request: Request, path: string): Promise<Response> {
    this.#begin();
    if (request.headers.has(SOCKET_HEADER)) return this.#sockets.accept(Number(request.headers.get(SOCKET_HEADER)));
    if (request.headers.get("upgrade") === "websocket") return this.#watchers.accept(request, await this.#visible());
    switch (request.method) {
      case "PUT": {
        // Before its turn: a slow body must not hold up the others.
        const body = await readBody(request);
        return this.#exclusive(() => this.#create(request, path, body));
      }
      case "POST":
        return this.#append(request);
      case "GET":
        return this.#read(request);
      case "HEAD":
        return this.#head();
      case "DELETE":
        return this.#exclusive(() => this.#delete());
      default:
        throw methodNotAllowed();
    }
  }

  #exclusive<T>(work: () => Promise<T>): Promise<T> {
    const run = this.#turn.then(work);
    this.#turn = run.catch(() => undefined);
    return run;
  }

  /** The stream that clients may see. */
  async #visible(): Promise<Stream> {
    const stream = await this.#alive();
    if (!stream || stream.config.releasing)
      throw new EdgeError("NOT_FOUND", "there is no such stream: PUT creates it, with the Content-Type of its records");
    if (stream.config.deleted) throw new EdgeError("GONE", "the stream was deleted");
    return stream;
  }

  /** The stream, after its expiry has been seen to. */
  async #alive(): Promise<Stream | undefined> {
    const stream = await this.#load();
    const { deadline = Infinity, config } = stream ?? {};
    if (stream && config && !config.deleted && !config.releasing && Date.now() >= deadline) {
      if (config.ttl !== undefined && (this.#watchers.count > 0 || this.#sockets.hasFollows)) {
        stream.touch();
        return stream;
      }
      await this.#remove(stream);
      return this.#load();
    }
    return stream;
  }

  async #create(request: Request, path: string, body: Uint8Array): Promise<Response> {
    const { headers } = request;
    const lifetime = lifetimeOf(headers);
    const fork = forkOf(headers, STREAM_PREFIX);
    const contentType = contentTypeOf(headers);
    const closed = isClosing(headers);
    const retention = retentionOf(headers);
    const compaction = compactionOf(headers);
    const known = await this.#alive();
    if (known?.config.releasing) await this.#release(known);
    else if (known) return existing(known, { contentType, ...lifetime, closed, fork, retention, compaction });
    // Workers may remember segments of the stream that was here.
    await this.#archiver.clear();
    const id = crypto.randomUUID().slice(0, 8);
    const kernel = await edgeKernel();
    const peer = fork && this.#peer(fork.path);
    const point =
      fork &&
      (await peer?.forkFrom(
        path,
        fork.offset === undefined ? undefined : numberedOffset(fork.offset, H.forkOffset),
        fork.subOffset,
        contentType,
        id,
      ));
    if (point?.error) throw EdgeError.fromWire(point.error);
    const inherits = lifetime.ttl === undefined && lifetime.expiresAt === undefined ? point?.config : undefined;
    const config: StreamConfig = {
      id,
      path,
      tenant: this.#tenant,
      watched: false,
      contentType: contentType ?? point?.config.contentType ?? "application/octet-stream",
      ttl: lifetime.ttl ?? inherits?.ttl,
      expiresAt: lifetime.expiresAt ?? inherits?.expiresAt,
      fork: fork &&
        point && {
          path: fork.path,
          id: point.id,
          offset: point.offset,
          requested: fork.offset,
          subOffset: fork.subOffset,
          start: point.start ?? 0,
        },
      closed: false,
      closedBy: undefined,
      deleted: false,
      releasing: false,
      touchedAt: Date.now(),
      ...(retention && { retention }),
      ...(compaction && { compaction }),
    };
    let batches: Uint8Array[];
    try {
      // Before anything is written: a body that is no JSON creates nothing.
      const asked = { body, mediaType: mediaType(config.contentType), timestamp: Date.now(), prefix: point?.prefix };
      batches = await encodeInSlices(kernel, asked, turn);
    } catch (thrown) {
      await peer?.releaseFork(path, id);
      throw thrown;
    }
    const creating = Stream.create(this.#host(kernel), config);
    this.#stream = creating;
    const stream = (this.#current = await creating);
    await stream.begin(batches, closed);
    await this.#tellCreated(stream);
    this.#schedule(stream);
    return new Response(null, {
      status: 201,
      headers: { location: withoutQuery(request.url), "content-type": config.contentType, ...describe(stream) },
    });
  }

  /** Too large to be handed over by a call. */
  async #append(request: Request): Promise<Response> {
    const asked = appendAsked(request.headers);
    const body = await readBody(request);
    return responseOf(await appendTo(await this.#visible(), asked, body, this.#counters));
  }

  async append(tenant: string, passed: Readonly<Record<string, string>>, body: Uint8Array): Promise<Answer> {
    this.#tenant = tenant;
    try {
      this.#begin();
      const asked = appendAsked({ get: (name) => passed[name.toLowerCase()] ?? null });
      return await appendTo(await this.#visible(), asked, body, this.#counters);
    } catch (thrown) {
      this.#counters.rejections++;
      return errorAnswer(thrown);
    }
  }

  async #read(request: Request): Promise<Response> {
    const url = new URL(request.url);
    const stream = await this.#visible();
    if (request.headers.get(METRICS_HEADER) !== null) return this.#metrics(stream);
    this.#counters.reads++;
    const manifest = request.headers.get(MANIFEST_HEADER) === null ? undefined : manifestOf(stream, url);
    if (manifest) return json(200, manifest, { [MANIFEST_HEADER]: "1" });
    if (dialectOf(request.headers.get("accept"), stream.config.contentType) === "batches")
      return readBatches(stream, url);
    const { offset } = readRequestOf(url);
    const found =
      (request.headers.has(LONG_HEADER) && longRead(stream, await edgeKernel(), offset)) ||
      (await stream.read(offset, READ_BYTES));
    const answer = readAnswer(
      { id: stream.version, contentType: stream.config.contentType },
      found,
      request.headers,
      offset === "now",
    );
    if (request.headers.has(LEAD_HEADER) && stream.isText)
      answer.headers.set(LEAD_HEADER, await leadOf(await edgeKernel(), stream, found.from));
    return answer;
  }

  #metrics(stream: Stream): Response {
    const gauges = {
      databaseBytes: this.ctx.storage.sql.databaseSize,
      watchers: this.#watchers.count,
      sockets: this.ctx.getWebSockets(SOCKET_TAG).length,
    };
    const text = prometheus(stream, this.#counters, this.#sql(), gauges);
    return new Response(text, {
      headers: { "content-type": "text/plain; version=0.0.4; charset=utf-8", "cache-control": "no-store" },
    });
  }

  #emit(event: string, fields: EventFields): void {
    emit(this.env, event, { tenant: this.#tenant, path: this.#current?.config.path, ...fields });
  }

  async #head(): Promise<Response> {
    const stream = await this.#visible();
    return new Response(null, {
      status: 200,
      headers: { "content-type": stream.config.contentType, "cache-control": "no-store", ...describe(stream) },
    });
  }

  // --- end of life -------------------------------------------------------------------------------------------------

  async #delete(): Promise<Response> {
    await this.#remove(await this.#visible());
    return new Response(null, { status: 204 });
  }

  /** With forks it stays for them, unseen; without, its source is told and the tables go. */
  async #remove(stream: Stream): Promise<void> {
    await stream.settled();
    // Another request may have been quicker, and a new stream may stand here already.
    if (this.#current !== stream || stream.config.deleted || stream.config.releasing) return;
    this.#watchers.closeAll(4404, "deleted");
    this.#sockets.closeAll(4404, "deleted");
    this.ctx.waitUntil(subscriptionsOf(this.env, this.#tenant).removed(stream.config.path, stream.config.id));
    if (stream.forks.length > 0) stream.save({ deleted: true });
    else this.#end(stream);
  }

  #end(stream: Stream): void {
    if (!stream.config.fork) return this.#purge(stream);
    stream.save({ releasing: true });
    this.#alarms.plan("release", Date.now() + RELEASE_RETRY_MS);
    this.ctx.waitUntil(
      this.#exclusive(async () => {
        if (this.#current === stream) await this.#release(stream);
      }),
    );
  }

  async #release(stream: Stream): Promise<void> {
    await this.#peer(stream.config.fork!.path).releaseFork(stream.config.path, stream.config.id);
    this.#purge(stream);
  }

  /** In one turn, so that no other request meets half of it. */
  #purge(stream: Stream): void {
    if (this.#current !== stream) return;
    const { sql } = this.ctx.storage;
    this.ctx.storage.transactionSync(() => {
      // What lies in object storage stays noted until it is gone from there.
      stream.store.forgetMoved();
      for (const table of ["chunk", "segment", "damage", "meta"]) sql.exec(`DROP TABLE IF EXISTS ${table}`);
    });
    // Whoever still holds it writes nothing into what comes next.
    stream.store.end();
    this.#alarms.clear();
    this.#stream = undefined;
    this.#current = undefined;
    this.#telling.stop();
    this.#planUpkeep();
  }

  #schedule(stream: Stream): void {
    const { deadline } = stream;
    this.#alarms.plan("expiry", deadline === undefined ? undefined : deadline + 1);
  }

  override async alarm(): Promise<void> {
    // A woken object plans the work of this very alarm while it loads; what is planned below takes its place.
    await this.#load();
    this.#alarms.fired();
    const stream = await this.#alive();
    await this.#heldForks.run();
    if (stream && this.#current === stream) await this.#retire(stream);
    await this.#compaction.run();
    await this.#archiver.run();
    this.#planUpkeep();
    if (!stream || this.#current !== stream || stream.config.deleted) return;
    await this.#telling.all();
    if (stream.config.releasing)
      await this.#exclusive(async () => (this.#current === stream ? this.#release(stream) : undefined));
    else this.#schedule(stream);
  }

  // --- for the worker and other objects ----------------------------------------------------------------------------

  #notify(end: number, closed: boolean): void {
    this.#counters.commits++;
    this.#emit("commit", { end, closed });
    if (this.#current) this.#sockets.moved(this.#current);
    this.#watchers.tell(end, closed);
    this.#telling.moved(end);
    if (this.#current?.config.retention?.maxAgeMs !== undefined) this.#planRetention();
  }

  // --- subscriptions -----------------------------------------------------------------------------------------------

  async #tellCreated(stream: Stream): Promise<void> {
    const { path, id, tenant } = stream.config;
    const isWatched = await subscriptionsOf(this.env, tenant)
      .created(tenant, { path, id, tail: stream.tail })
      .catch(() => undefined);
    if (isWatched !== false) this.#setWatched(stream);
    // Not told: the alarm tells it.
    if (isWatched === undefined) this.#telling.start(-1);
    this.#telling.moved(stream.tail);
  }

  /** Somebody subscribes: appends are told. Undefined when there is no stream yet. */
  async watched(): Promise<StreamTold | undefined> {
    const stream = await this.#alive();
    if (!stream || stream.config.deleted || stream.config.releasing) return undefined;
    this.#setWatched(stream);
    const {
      config: { path, id },
      tail,
    } = stream;
    return { path, id, tail };
  }

  #setWatched(stream: Stream): void {
    if (!stream.config.watched) stream.save({ watched: true });
    this.#telling.start(stream.tail);
  }

  /** One message on a wake stream. */
  async appendJson(text: string): Promise<void> {
    const stream = await this.#visible();
    await stream.append({
      body: new TextEncoder().encode(text),
      contentType: "application/json",
      closing: false,
      producer: undefined,
      seq: undefined,
      ifEnd: undefined,
    });
  }

  override async webSocketMessage(socket: WebSocket, message: unknown): Promise<void> {
    await this.#sockets.message(socket as unknown as HibernatingSocket, message);
  }

  override async webSocketError(socket: WebSocket): Promise<void> {
    const isTimed = this.#watchers.isTimed(socket) || this.#sockets.isTimed(socket as unknown as HibernatingSocket);
    this.#sockets.closed(socket as unknown as HibernatingSocket);
    if (isTimed) (await this.#load())?.touch();
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
    const answer = await offerFork(await this.#alive(), { child, childId, requested, subOffset, contentType }, () =>
      this.releaseFork(child, childId),
    );
    this.#planUpkeep();
    return answer;
  }

  async readSource(
    id: string | undefined,
    from: number,
    limit: number,
    maxBytes: number,
  ): Promise<SourceAnswer | undefined> {
    const stream = await this.#load();
    if (!stream || (id ?? stream.config.id) !== stream.config.id) return undefined;
    try {
      const { bytes, nextOffset } = await stream.readBatches(from, limit, maxBytes);
      return { bytes, nextOffset };
    } catch (thrown) {
      if (EdgeError.isOne(thrown)) return { error: EdgeError.from(thrown).toWire() };
      throw thrown;
    }
  }

  isForkOf(source: string, id: string): Promise<boolean> {
    return this.#exclusive(async () => {
      const { fork } = (await this.#load())?.config ?? {};
      return fork?.path === source && (fork.id ?? id) === id;
    });
  }

  async releaseFork(child: string, childId: string | undefined): Promise<void> {
    const stream = await this.#load();
    stream?.removeFork(child, childId);
    if (stream?.isHeld !== false) return;
    if (stream.config.deleted) return this.#end(stream);
    // What it held may go now.
    this.#retireAt = 0;
    this.#planUpkeep();
  }
}
