/**
 * What a log object does by its alarm for the stream that it holds: it asks forks whether they exist, applies
 * retention, compacts, moves segments to object storage, and removes what an import brought that was given up. Each
 * part says itself when it is due. This file has the order, and sets the alarm.
 *
 *   alarm ──▶ held forks ──▶ retention ──▶ compaction ──▶ archiver ──▶ next alarm set
 *
 * A part that failed waits, longer after each failure. The pause is kept in the tables (store/retries.ts).
 */
import { TidemarkError } from "../../src/errors.ts";
import type { BackOff } from "../../src/log/back-off.ts";
import { EdgeError } from "../errors.ts";
import { edgeKernel } from "../kernel.ts";
import type { Peer } from "../rpc/fork-peer.ts";
import type { Alarms } from "../store/alarms.ts";
import type { Bucket } from "../store/bucket.ts";
import { type Retry, Retries } from "../store/retries.ts";
import type { Sql } from "../store/sql.ts";
import { dropIdle } from "../stream/segment-imports.ts";
import type { Stream } from "../stream/stream.ts";
import type { Counters } from "../telemetry/counters.ts";
import type { EventFields } from "../telemetry/events.ts";
import { type Archiver, archiverFor } from "./archiver.ts";
import { Compaction } from "./compaction-schedule.ts";
import { HeldForks } from "./forks.ts";
import { RetentionSchedule } from "./retention-schedule.ts";

const BACK_OFF = {
  archive: { minMs: 2_000, maxMs: 600_000 },
  compaction: { minMs: 2_000, maxMs: 600_000 },
  retention: { minMs: 60_000, maxMs: 600_000 },
  tell: { minMs: 5_000, maxMs: 600_000 },
  release: { minMs: 10_000, maxMs: 600_000 },
} satisfies Record<string, BackOff>;

interface AlarmWorkHost {
  readonly sql: Sql;
  readonly alarms: Alarms;
  readonly counters: Counters;
  bucket(): Bucket | undefined;
  stream(): Stream | undefined;
  peer(path: string): Peer;
  releaseFork(child: string): Promise<void>;
  event(name: string, fields: EventFields): void;
  /** Retention has removed records, and devices in sync are told of it. */
  trimmed(stream: Stream): void;
  /** Restarts the object, because the log's memory can no longer be trusted. */
  abort(reason: string): void;
}

export class AlarmWork {
  readonly #host: AlarmWorkHost;
  readonly #retries: Retries;
  readonly #archiver: Archiver;
  readonly #compaction: Compaction;
  readonly #retention: RetentionSchedule;
  readonly #heldForks: HeldForks;

  constructor(host: AlarmWorkHost) {
    this.#host = host;
    const now = (): number => Date.now();
    this.#retries = new Retries({ sql: host.sql, now, random: () => Math.random() });
    const event = (name: string, fields: EventFields): void => this.#told(name, fields);
    const shared = { stream: () => host.stream(), now, event, abort: (reason: string) => host.abort(reason) };
    this.#archiver = archiverFor({
      ...shared,
      sql: host.sql,
      bucket: () => host.bucket(),
      retry: this.retry("archive"),
    });
    this.#compaction = new Compaction({
      ...shared,
      kernel: edgeKernel,
      hasBucket: () => host.bucket() !== undefined,
      retry: this.retry("compaction"),
    });
    this.#retention = new RetentionSchedule({ ...shared, retry: this.retry("retention") });
    this.#heldForks = new HeldForks({
      ...shared,
      peer: (path) => host.peer(path),
      release: (child) => host.releaseFork(child),
    });
  }

  retry(name: keyof typeof BACK_OFF): Retry {
    return this.#retries.of(name, BACK_OFF[name]);
  }

  #told(name: string, fields: EventFields): void {
    const { counters } = this.#host;
    if (name === "archive") counters.archived++;
    if (name === "archive_failed") counters.archiveFailures++;
    if (name === "compaction") counters.compactedRecords += Number(fields["records"] ?? 0);
    this.#host.event(name, fields);
  }

  /** Sets the alarm again after any change of what is due. */
  plan(): void {
    const { alarms, stream } = this.#host;
    alarms.plan("archive", this.#archiver.due);
    alarms.plan("compaction", this.#compaction.due);
    alarms.plan("forks", this.#heldForks.plan());
    const held = stream();
    alarms.plan("import", held && !held.store.isEnded ? dropIdle(held) : undefined);
    if (held?.config.releasing) alarms.plan("release", this.retry("release").next);
    this.planRetention();
  }

  planRetention(): void {
    this.#host.alarms.plan("retention", this.#retention.due);
  }

  /** Runs when the alarm fires. `stream` is the one that was there then. */
  async run(stream: Stream | undefined): Promise<void> {
    await this.#heldForks.run();
    if (stream && this.#host.stream() === stream) {
      const { start } = stream;
      await this.#retention.run();
      if (stream.start > start) this.#host.trimmed(stream);
    }
    await this.#compaction.run();
    await this.#archiver.run();
    this.plan();
  }

  /** Removes all records before this offset. As with retention, devices are told, and nothing goes while forks read. */
  async trim(stream: Stream, offset: number): Promise<void> {
    if (stream.isHeld) {
      this.#heldForks.refused(stream);
      this.plan();
      throw new EdgeError("CONFLICT", "forks read from this stream, so all of it stays until they are deleted", {
        reason: "held",
      });
    }
    stream.checkTrim(offset);
    const { start } = stream;
    try {
      await stream.trim(offset);
    } catch (thrown) {
      if (TidemarkError.from(thrown).details["poisoned"]) this.#host.abort(String(thrown));
      throw thrown;
    }
    if (stream.start === start) return;
    this.#told("trim", { start: stream.start, records: stream.start - start });
    this.#host.trimmed(stream);
    this.plan();
  }

  /** Resolves once nothing of an earlier stream here is left in object storage. Throws if that can't be ensured. */
  clear(): Promise<void> {
    return this.#archiver.clear();
  }

  /** The stream is gone, but its segments in object storage are not yet. */
  streamGone(): void {
    this.#retries.forgetAllBut("archive");
    this.plan();
  }
}
