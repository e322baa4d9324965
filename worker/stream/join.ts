/**
 * A join: a device's outbox and replica are compared with the log. First everything that is queued for the outbox must
 * be in the log. Then, in one turn, the registry changes and the answer is made.
 */
import type { OutboxJoin, Joined, Sample } from "../../src/sync/sync-frames.ts";
import { FRAME_BYTES_MAX } from "../../src/sync/frames.ts";
import { nextOffsetOf, readHeader } from "../../src/record/format.ts";
import { EdgeError } from "../errors.ts";
import { isFull, quotaExceeded } from "../store/sql.ts";
import { BATCHES_MAX } from "./batch-check.ts";
import { RECORDS_MAX } from "./body-limits.ts";
import type { JoinRefusal, JoinVerdict, Outboxes } from "./outboxes.ts";
import type { Pushes } from "./push.ts";
import type { Stream } from "./stream.ts";
import { tombstonesTo } from "./tombstones.ts";

export interface JoinAnswer {
  readonly refusal: JoinRefusal | undefined;
  readonly joined: Joined;
}

const NOTHING_KNOWN: JoinVerdict = { refusal: undefined, entry: undefined };

interface Compared {
  readonly agreedTo: number;
  readonly disagrees: boolean;
}

export async function joinOutbox(
  stream: Stream,
  books: { readonly outboxes: Outboxes; readonly pushes: Pushes; readonly nowMs: number },
  join: OutboxJoin,
  who: { readonly owner: string; readonly mayWrite: boolean },
): Promise<JoinAnswer> {
  const { outboxes, pushes, nowMs } = books;
  const compared = await compare(stream, join.samples);
  const { config, log } = stream;
  // Otherwise the outbox belongs to another log of this name, and nothing of it is recorded here.
  const isSame = join.stream === null || join.stream === config.id;
  if (join.outbox !== null && isSame) await pushes.settled(join.outbox);
  // From here on everything happens in one turn.
  if (stream.store.isEnded) throw new EdgeError("CLOSED", "the stream was deleted meanwhile", { reason: "deleted" });
  const verdict = isSame ? takeDown(outboxes, join, who, stream.tail) : NOTHING_KNOWN;
  const { entry, refusal } = verdict;
  const seen = Math.max(join.end, join.passed);
  const { forgottenAt, lives } = outboxes;
  const { tail: logEndOffset, start: logStartOffset } = stream;
  const agreedTo = isSame ? agreedBelow(compared.agreedTo, outboxes, join, verdict) : compared.agreedTo;
  const wentBack =
    compared.disagrees || logEndOffset < seen || (isSame && join.life !== null && lives.wentBack(join.life, seen));
  const joined: Joined = {
    stream: config.id,
    owner: who.owner,
    contentType: config.contentType,
    closed: stream.closed,
    logStartOffset,
    logEndOffset,
    lineage: wentBack ? "back" : "same",
    agreedTo,
    life: lives.current,
    forgottenAt,
    known: entry !== undefined,
    // The records of an outbox that was forgotten once may be anywhere.
    since: entry && forgottenAt === 0 ? entry.since : logStartOffset,
    generation: entry?.generation ?? 0,
    term: entry?.term ?? 0,
    next: entry?.next ?? 0,
    lastOffset: entry?.lastOffset ?? -1,
    lastCrc: entry?.lastCrc ?? 0,
    tombstonesTo: tombstonesTo(stream.tables),
    limits: {
      batchBytes: log.limits.batchBytesMax,
      recordBytes: log.limits.recordBytesMax,
      frameBytes: FRAME_BYTES_MAX,
      batches: BATCHES_MAX,
      records: RECORDS_MAX,
    },
    serverTimeMs: nowMs,
  };
  return { refusal, joined };
}

/**
 * The offset below which the log holds what the device has. Samples alone do not show it: what others have offered
 * again may stand where it stood before, and below it something else.
 */
function agreedBelow(sampled: number, { lives }: Outboxes, { life }: OutboxJoin, verdict: JoinVerdict): number {
  if (life === null) return sampled;
  const agreed = Math.min(sampled, lives.partsAt(life));
  if (lives.has(life)) return agreed;
  // The life is lost, and perhaps others before it. Only what the outbox had pushed as of its entry here is certain.
  const { entry, refusal } = verdict;
  if (!entry || refusal) return 0;
  return Math.min(agreed, entry.lastOffset < 0 ? entry.since : entry.lastOffset + 1);
}

/** Applies the join to the registry. */
function takeDown(
  outboxes: Outboxes,
  { outbox, generation, term, registered, first }: OutboxJoin,
  { owner, mayWrite: mayRegister }: { readonly owner: string; readonly mayWrite: boolean },
  logEndOffset: number,
): JoinVerdict {
  try {
    outboxes.start(logEndOffset);
    if (outbox === null) return NOTHING_KNOWN;
    return outboxes.join({ outbox, generation, term, registered, first, owner, mayRegister }, logEndOffset);
  } catch (thrown) {
    throw isFull(thrown) ? quotaExceeded(thrown) : thrown;
  }
}

/** Compares the samples with the log's own batches. Above one that is another batch none shows that both agree. */
async function compare(stream: Stream, samples: readonly Sample[]): Promise<Compared> {
  let agreedTo = 0;
  let disagrees = false;
  for (const sample of [...samples].sort(([a], [b]) => a - b)) {
    const is = await judge(stream, sample);
    disagrees ||= is === "other";
    if (typeof is === "number" && !disagrees) agreedTo = is;
  }
  return { agreedTo, disagrees };
}

/**
 * The end of the log's batch if it is the same one, or "other". Undefined if nothing can be said: below the start,
 * beyond the end, in damage, and where compaction has rewritten or removed batches. Below a fork's point the source may
 * have been compacted.
 */
async function judge(stream: Stream, [offset, crc]: Sample): Promise<number | "other" | undefined> {
  if (offset < stream.start || offset >= stream.tail || isRemade(stream, offset)) return undefined;
  const { fork } = stream.config;
  const { bytes } = await stream.readBatches(offset, stream.tail, 1).catch((thrown: unknown) => {
    if (EdgeError.isOne(thrown)) return { bytes: new Uint8Array(0) };
    throw thrown;
  });
  if (bytes.length === 0 || isRemade(stream, offset)) return undefined;
  const header = readHeader(bytes);
  if (header.baseOffset === offset && header.crc === crc) return nextOffsetOf(header);
  const isInherited = fork !== undefined && offset < fork.offset;
  const isHole = header.baseOffset > offset;
  return isInherited || (crc === null && isHole) ? undefined : "other";
}

/** A segment of which compaction left nothing is in no list any more: what lies in no segment was in such a one. */
function isRemade({ log, config: { fork } }: Stream, offset: number): boolean {
  if (fork !== undefined && offset < fork.offset) return false;
  const segment = log.segments().find(({ baseOffset, nextOffset }) => baseOffset <= offset && offset < nextOffset);
  return segment?.compacted ?? true;
}
