/**
 * The stream that one log object holds, from the first PUT to the last table. life.ts says which states it goes
 * through; this file does what each step needs. Creations and deletions take turns. Code that has awaited anything
 * compares streams before it ends one, because another stream may be here by then.
 */
import { EdgeError } from "../errors.ts";
import type { Retry } from "../store/retries.ts";
import type { Stream } from "../stream/stream.ts";
import { type LifeEvent, lifeAfter, lifeOf } from "./life.ts";

export interface LifecycleHost {
  now(): number;
  /** Opens the stream that the tables hold. */
  open(): Promise<Stream | undefined>;
  /** Called after a stream was opened; undefined if there is none. */
  opened(stream: Stream | undefined): void;
  /** True if there are live readers. They keep a stream with a TTL from expiring. */
  hasReaders(): boolean;
  /** From now on clients can't see the stream: its followers and subscriptions are told. */
  leaves(stream: Stream): void;
  /** Pauses for telling the source that its fork is gone. That is tried at once, and again by the alarm. */
  readonly releaseRetry: Retry;
  planRelease(at: number): void;
  tellSource(stream: Stream): Promise<void>;
  /** The stream's tables are gone. */
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

  /** The stream that the tables hold now, if it is loaded. */
  get current(): Stream | undefined {
    return this.#current;
  }

  load(): Promise<Stream | undefined> {
    // Memory and tables differ: an import changed the tables, or a full database refused a commit.
    if (this.#current?.store.isEnded) this.#stream = this.#current = undefined;
    return this.#stream ?? this.#held(this.#open());
  }

  async #open(): Promise<Stream | undefined> {
    const stream = (this.#current = await this.#host.open());
    // Nobody was told of a stream whose PUT ended before its records were stored. A fork's source was.
    if (stream) this.#go(stream, "cut short");
    this.#host.opened(this.#current);
    return this.#current;
  }

  /** A stream that could not be opened or made now may be later. */
  #held<S extends Stream | undefined>(opening: Promise<S>): Promise<S> {
    this.#stream = opening;
    opening.catch(() => {
      if (this.#stream === opening) this.#stream = undefined;
    });
    return opening;
  }

  /** Runs creations and deletions one after the other. */
  exclusive<T>(work: () => Promise<T>): Promise<T> {
    const run = this.#turn.then(work);
    this.#turn = run.catch(() => undefined);
    return run;
  }

  /** The stream. If its time is over, it is ended first. */
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
    if (life === "deleted")
      throw new EdgeError("GONE", "the stream was deleted, and its forks keep this path: use another one");
    if (stream && life !== "creating" && life !== "releasing") return stream;
    throw new EdgeError("NOT_FOUND", "there is no such stream: PUT creates it, with the Content-Type of its records");
  }

  /** The same where nothing has to be waited for; undefined: ask `visible`. */
  get visibleNow(): Stream | undefined {
    const stream = this.#current;
    if (!stream || stream.store.isEnded) return undefined;
    const life = lifeOf(stream, this.#host.now());
    return life === "open" || life === "closed" ? stream : undefined;
  }

  /** Makes a new stream where there is none. Must run in the caller's turn of `exclusive`. */
  async make(creating: Promise<Stream>): Promise<Stream> {
    return (this.#current = await this.#held(creating));
  }

  /** The same stream with what its tables hold now. What was in memory is used no more. */
  renewed(stream: Stream): Promise<Stream | undefined> {
    stream.store.end();
    return this.load();
  }

  /** Ends the stream. With forks it stays for them, unseen; otherwise its source is told and the tables are removed. */
  async remove(stream: Stream): Promise<void> {
    await stream.settled();
    // It may have been opened anew meanwhile.
    const present = await this.load();
    this.#go(present?.config.id === stream.config.id ? present : stream, "remove");
  }

  /** A fork of this stream is gone. It may have been the last reason to keep the stream. */
  forkGone(stream: Stream): void {
    this.#go(stream, "last fork gone");
  }

  #go(stream: Stream, event: LifeEvent): void {
    // Another request may have been quicker, and a new stream may be here already.
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

  /** Like `release`, but in a turn of its own, and not during a pause. Never throws: a failure sets the alarm. */
  async tryRelease(stream: Stream): Promise<void> {
    if (this.#host.now() < this.#host.releaseRetry.at) return;
    await this.exclusive(async () => (this.#current === stream ? this.release(stream) : undefined)).catch(
      () => undefined,
    );
  }

  /**
   * Tells the source that the stream, which is otherwise gone, has ended. Must run in the caller's turn of `exclusive`.
   */
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

  /** Removes everything in one turn, so that no other request meets half of it. */
  #purge(stream: Stream): void {
    const { tables } = stream;
    tables.transaction(() => {
      // Segments in object storage stay in the tables until they are deleted there.
      stream.store.forgetMoved();
      tables.drop();
    });
    // Code that still holds the stream can't write into what comes next.
    stream.store.end();
    this.#stream = undefined;
    this.#current = undefined;
    this.#host.gone();
  }
}
