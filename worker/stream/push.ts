/**
 * A push: batches of a device's outbox are taken whole or not at all, once, in the outbox's order.
 *
 *   every batch is checked ──▶ one turn: open? known? whose? leader or claim? position? room? ──▶ the log's queue
 *                                  └─ an exact repeat: answered after the commit of the first one
 *
 * Once the first batch is queued, no other can be refused. If one is nevertheless, or the commit fails, the stream is
 * opened anew, because its registry in memory is then ahead of the log.
 */
import type { PackingKernel } from "../../src/kernel/types.ts";
import type { Log } from "../../src/log/log.ts";
import { validate } from "../../src/log/validate.ts";
import { type BatchHeader, readHeader } from "../../src/record/format.ts";
import { splitBatches } from "../../src/record/record-batch.ts";
import type { Push, Pushed } from "../../src/sync/sync-frames.ts";
import { badRequest, EdgeError } from "../errors.ts";
import type { Appends } from "./appends.ts";
import { checkBatches, type CheckedStream } from "./batch-check.ts";
import type { OutboxEntry } from "../store/outbox-bytes.ts";
import type { Grant, Outboxes, PushAsked, Speaker } from "./outboxes.ts";
import { RecentPushes } from "./recent-pushes.ts";

export interface PushHost extends CheckedStream {
  readonly kernel: PackingKernel;
  readonly log: Log;
  readonly outboxes: Outboxes;
  readonly appends: Appends;
  /** The tables refused what memory counts as taken, so the registry in memory can no longer be trusted. */
  failed(thrown: unknown): void;
}

export interface CheckedPush {
  readonly batches: readonly Uint8Array[];
  readonly bytes: number;
  readonly asked: PushAsked;
  /** SCHEMA_MISMATCH, for a push that is not a repeat of one that was taken. */
  readonly mismatch: unknown;
}

export interface PushTaken extends Pushed {
  readonly isClaim: boolean;
}

export class Pushes {
  readonly recent = new RecentPushes();
  readonly #host: PushHost;
  /** By outbox: the newest push whose commit is not done. */
  readonly #underway = new Map<string, Promise<unknown>>();

  constructor(host: PushHost) {
    this.#host = host;
  }

  /** Resolves once everything that is queued for the outbox is in the log. Throws if it failed. */
  async settled(outbox: string): Promise<void> {
    while (this.#host.outboxes.queuedOf(outbox) > 0) {
      const work = this.#underway.get(outbox);
      const isThrough = await work?.then(
        () => true,
        () => false,
      );
      if (!isThrough)
        throw new EdgeError("CLOSED", "the log's object is restarting; send it again", { reason: "reset" });
    }
  }

  /**
   * Checks each batch. The error names the first bad one. Whether the schema refuses what it took once is not said yet:
   * a repeat of that is acknowledged.
   */
  async check(push: Push): Promise<CheckedPush> {
    const batches = splitBatches(push.batches);
    const { headers, mismatch } = await this.#checked(batches, push);
    const { expected, at, readTo, previous } = push;
    const records = headers.reduce((sum, { recordCount }) => sum + recordCount, 0);
    const asked = { expected, at, readTo, previous, records, lastCrc: headers.at(-1)!.crc };
    return { batches, bytes: push.batches.length, asked, mismatch };
  }

  /** Judges and queues the push in the turn of the call, unless the stream is being closed. */
  async take(speaker: Speaker, { batches, bytes, asked, mismatch }: CheckedPush): Promise<PushTaken> {
    const { outboxes, appends } = this.#host;
    let grant: Grant | undefined;
    try {
      return await appends.pushBatches(
        bytes,
        () => {
          const { highWatermark, logStartOffset } = this.#host.log;
          const verdict = outboxes.admit(speaker, asked, highWatermark, logStartOffset);
          if ("refusal" in verdict) throw outboxRefusal(verdict.refusal);
          if ("repeats" in verdict) return this.#repeated(speaker.outbox, verdict.repeats);
          if (mismatch !== undefined) throw mismatch;
          grant = verdict.grant;
          return undefined;
        },
        () => this.#queue(grant!, batches),
      );
    } catch (thrown) {
      throw await this.#told(thrown, speaker.outbox);
    }
  }

  /** Checks each batch by itself. The error names the first bad one. */
  async #checked(
    batches: readonly Uint8Array[],
    { at }: Push,
  ): Promise<{ readonly headers: BatchHeader[]; readonly mismatch?: unknown }> {
    const { kernel, log } = this.#host;
    const headers: BatchHeader[] = [];
    let bad: unknown;
    try {
      let position = at;
      for (const batch of batches) {
        const header = validate(kernel, batch, log.limits);
        if (header.baseOffset !== position)
          throw badRequest(`a batch begins at position ${header.baseOffset}, and ${position} is next`);
        position += header.recordCount;
        if (!Number.isSafeInteger(position)) throw badRequest("the outbox has used up all its positions");
        headers.push(header);
      }
    } catch (thrown) {
      bad = withIndex(thrown, headers.length);
    }
    // The error must name the first bad batch: an earlier one may fail a check that is made only now.
    let mismatch: unknown;
    if (headers.length > 0 || !bad)
      await checkBatches(kernel, batches.slice(0, bad ? headers.length : undefined), this.#host).catch(
        (thrown: unknown) => {
          const { code, details } = EdgeError.from(thrown);
          const { batch } = details;
          if (!bad && code === "SCHEMA_MISMATCH") return void (mismatch = withIndex(thrown, Number(batch)));
          throw batch === undefined ? thrown : withIndex(thrown, Number(batch));
        },
      );
    if (bad) throw bad;
    return { headers, mismatch };
  }

  async #repeated(outbox: string, { generation, next, lastOffset }: OutboxEntry): Promise<PushTaken> {
    await this.settled(outbox);
    return { generation, next, appended: [], duplicate: true, lastOffset, isClaim: false };
  }

  #queue(grant: Grant, batches: readonly Uint8Array[]): Promise<PushTaken> {
    const { log, outboxes, failed } = this.#host;
    // Read before the log writes offsets over the positions.
    const pushed = batches
      .map((batch) => readHeader(batch))
      .map(({ baseOffset: position, crc }) => ({ outbox: grant.id, position, crc }));
    // Any batch may still be refused; nothing has changed until then.
    const offered = log.allOrNone(() => batches.map((batch) => log.offer(batch, { isCounted: true })));
    const results = Promise.all(offered.map(({ done }) => done));
    // Nobody waits for them if their outbox can't be noted.
    results.catch(() => undefined);
    const commit = (async () => {
      const lastOffset = offered[0]!.baseOffset + grant.records - 1;
      const { entry, through } = outboxes.take(grant, lastOffset);
      const appended = (await results).map(({ baseOffset, lastOffset: last }) => ({ baseOffset, lastOffset: last }));
      appended.forEach(({ baseOffset }, i) => this.recent.add(baseOffset, pushed[i]!));
      through();
      const { generation, next } = entry;
      return { generation, next, appended, duplicate: false, lastOffset, isClaim: grant.isClaim };
    })().catch((thrown: unknown) => {
      failed(thrown);
      throw thrown;
    });
    this.#underway.set(grant.id, commit);
    const over = (): void => {
      if (this.#underway.get(grant.id) === commit) this.#underway.delete(grant.id);
    };
    commit.then(over, over);
    return commit;
  }

  /**
   * A refusal also says where the outbox is. That is read after the commit, so that a device that waits for it sees
   * what was queued.
   */
  async #told(thrown: unknown, outbox: string): Promise<unknown> {
    if (!(thrown instanceof EdgeError) || !POSITIONED.has(thrown.code)) return thrown;
    await this.settled(outbox);
    const { log, outboxes } = this.#host;
    const entry = outboxes.entryOf(outbox);
    const { next, lastOffset, lastCrc, generation, term } = entry ?? NOBODY;
    const { highWatermark: logEndOffset, logStartOffset } = log;
    const { forgottenAt } = outboxes;
    const details = { next, lastOffset, lastCrc, generation, term, logStartOffset, logEndOffset, forgottenAt };
    return new EdgeError(thrown.code, thrown.message, details);
  }
}

const NOBODY = { next: null, lastOffset: -1, lastCrc: 0, generation: null, term: null };
const POSITIONED: ReadonlySet<string> = new Set(["UNKNOWN_OUTBOX", "FENCED_LEADER", "OUTBOX_CONFLICT"]);

const MESSAGES = {
  UNKNOWN_OUTBOX: "this log does not know the outbox: join it, or claim",
  FENCED_LEADER: "a newer leader, or a copy of this profile, has taken over the outbox",
  OUTBOX_CONFLICT: "the outbox is at another position at this log: join again",
  FORBIDDEN: "the outbox belongs to another owner",
} as const;

export const outboxRefusal = (code: keyof typeof MESSAGES): EdgeError => new EdgeError(code, MESSAGES[code]);

const withIndex = (thrown: unknown, index: number): EdgeError => {
  const { code, message, details } = EdgeError.from(thrown);
  const { batch: _, ...rest } = details;
  return new EdgeError(code, message, { ...rest, index }, { cause: thrown });
};
