/**
 * The stream that one log object holds, from the first PUT to the last table: life.ts says which states it goes
 * through, here is what each step does. Creation and deletion take turns, and whoever has awaited anything compares
 * before it ends a stream: another may stand here by then.
 */
import { EdgeError } from "../errors.ts";
import type { Retry } from "../store/retries.ts";
import type { Sql } from "../store/sql.ts";
import type { Stream } from "../stream/stream.ts";
import { type LifeEvent, lifeAfter, lifeOf } from "./life.ts";

const TABLES = ["chunk", "segment", "damage", "meta", "outbox"];

export interface LifecycleHost {
  readonly sql: () => Sql;
  now(): number;
  /** Opens what the tables hold. */
  open(): Promise<Stream | undefined>;
  /** It was opened; undefined where there is none. */
  opened(stream: Stream | undefined): void;
  /** Live readers, who keep a stream with a TTL from expiring. */
  hasReaders(): boolean;
  /** From now on nobody sees the stream: those who follow it, or subscribe to it, are told. */
  leaves(stream: Stream): void;
  /** Of telling its source. It is tried at once, and again by the alarm. */
  readonly releaseRetry: Retry;
  planRelease(at: number): void;
  tellSource(stream: Stream): Promise<void>;
  /** Its tables are gone. */
  gone(): void;
  waitUntil(work: Promise<unknown>): void;
}

export class Lifecycle {
  readonly #host: LifecycleHost;
  #stream: Promise<Stream | undefined> | undefined;
  #current: Stream | undefined;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(host: LifecycleHost) {
    this.#host = host;
  }

  /** The stream that the tables hold now, as far as it is loaded. */
  get current(): Stream | undefined {
    return this.#current;
  }

  load(): Promise<Stream | undefined> {
    return (this.#stream ??= this.#host.open().then((stream) => {
      this.#current = stream;
      this.#host.opened(stream);
      return stream;
    }));
  }

  /** Creation and deletion take turns. */
  exclusive<T>(work: () => Promise<T>): Promise<T> {
    const run = this.#turn.then(work);
    this.#turn = run.catch(() => undefined);
    return run;
  }

  /** The stream, after its expiry has been seen to. */
  async alive(): Promise<Stream | undefined> {
    const stream = await this.load();
    if (!stream || lifeOf(stream, this.#host.now()) !== "expired") return stream;
    if (stream.config.ttl !== undefined && this.#host.hasReaders()) {
      stream.touch();
      return stream;
    }
    await this.remove(stream);
    return this.load();
  }

  /** The stream that clients may see. */
  async visible(): Promise<Stream> {
    const stream = await this.alive();
    const life = lifeOf(stream, this.#host.now());
    if (life === "deleted") throw new EdgeError("GONE", "the stream was deleted");
    if (stream && life !== "releasing") return stream;
    throw new EdgeError("NOT_FOUND", "there is no such stream: PUT creates it, with the Content-Type of its records");
  }

  /** A new stream takes the place of none. In the caller's turn. */
  async make(creating: Promise<Stream>): Promise<Stream> {
    this.#stream = creating;
    return (this.#current = await creating);
  }

  /** With forks it stays for them, unseen; without, its source is told and the tables go. */
  async remove(stream: Stream): Promise<void> {
    await stream.settled();
    this.#go(stream, "remove");
  }

  /** A fork of this stream is gone; it may have been the last thing that kept it. */
  forkGone(stream: Stream): void {
    this.#go(stream, "last fork gone");
  }

  #go(stream: Stream, event: LifeEvent): void {
    // Another request may have been quicker, and a new stream may stand here already.
    if (this.#current !== stream) return;
    const { isHeld, config } = stream;
    const next = lifeAfter(lifeOf(stream, this.#host.now()), event, { isHeld, isFork: config.fork !== undefined });
    if (next === undefined) return;
    if (event === "remove") this.#host.leaves(stream);
    if (next === "deleted") stream.save({ deleted: true });
    else if (next === "releasing") this.#beginRelease(stream);
    else this.#purge(stream);
  }

  #beginRelease(stream: Stream): void {
    stream.save({ releasing: true });
    this.#host.planRelease(this.#host.releaseRetry.next);
    this.#host.waitUntil(this.tryRelease(stream));
  }

  /** As `release`, in a turn of its own, and not before a pause is over. Never throws: what failed is planned. */
  async tryRelease(stream: Stream): Promise<void> {
    if (this.#host.now() < this.#host.releaseRetry.at) return;
    await this.exclusive(async () => (this.#current === stream ? this.release(stream) : undefined)).catch(
      () => undefined,
    );
  }

  /** Tells the source of a stream that is gone but for that. In the caller's turn. */
  async release(stream: Stream): Promise<void> {
    const { releaseRetry } = this.#host;
    try {
      await this.#host.tellSource(stream);
    } catch (thrown) {
      releaseRetry.failed();
      this.#host.planRelease(releaseRetry.at);
      throw thrown;
    }
    this.#go(stream, "source told");
  }

  /** In one turn, so that no other request meets half of it. */
  #purge(stream: Stream): void {
    const sql = this.#host.sql();
    sql.transaction(() => {
      // What lies in object storage stays noted until it is gone from there.
      stream.store.forgetMoved();
      for (const table of TABLES) void [...sql.exec(`DROP TABLE IF EXISTS ${table}`)];
    });
    // Whoever still holds it writes nothing into what comes next.
    stream.store.end();
    this.#stream = undefined;
    this.#current = undefined;
    this.#host.gone();
  }
}
