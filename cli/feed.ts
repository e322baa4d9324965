/**
 * Appends an input to a topic, each record once, also when the process is killed and started again (journal.ts).
 *
 *   input ─▶ chunks of records, as they come ─▶ one batch ─▶ journal ─▶ log ─▶ ack ─▶ the next batch
 */
import { createHash } from "node:crypto";
import { TidemarkError } from "../src/errors.ts";
import { BatchBuilder } from "../src/record/batch-builder.ts";
import { BATCH_HEADER_BYTES, readHeader } from "../src/record/format.ts";
import { producerIdOf } from "../src/topic/options.ts";
import { Failure } from "./failure.ts";
import { Journal, type PendingBatch } from "./journal.ts";
import type { LineInput } from "./lines.ts";
import type { LogTarget } from "./target.ts";
import { counted } from "./terminal.ts";

const BATCH_BYTES = 256 * 1024;
const RECORDS_MAX = 10_000;
const SEQUENCES = 2 ** 31;
/** A batch is sent this often to a log that fails. Its host opens the log again between two tries. */
const TRIES_MAX = 5;
const PAUSE_MS = 200;

export interface FeedOptions {
  readonly target: LogTarget;
  readonly topic: string;
  readonly input: AsyncIterable<readonly LineInput[]>;
  /** The state file. */
  readonly state?: string | undefined;
  /** The log must end there, or nothing is appended. */
  readonly expect?: number | undefined;
  readonly signal: AbortSignal;
  /** Records that are in the log, and its end. */
  readonly onAcked?: (records: number, end: number) => Promise<void> | void;
}

export interface Fed {
  /** Records that this process has appended, and those that an earlier one had. */
  readonly appended: number;
  readonly before: number;
  readonly end: number;
  /** The input's end was reached; else the signal was aborted. */
  readonly isWhole: boolean;
}

/** Takes records one by one from chunks. */
class Input {
  readonly #chunks: AsyncIterator<readonly LineInput[]>;
  #chunk: readonly LineInput[] = [];
  #at = 0;
  readonly #hash = createHash("sha256");
  /** The number of the next record, from 1. */
  number = 1;

  constructor(chunks: AsyncIterable<readonly LineInput[]>) {
    this.#chunks = chunks[Symbol.asyncIterator]();
  }

  /** True if there is a record; waits for one. */
  async more(): Promise<boolean> {
    while (this.#at >= this.#chunk.length) {
      const next = await this.#chunks.next();
      if (next.done) return false;
      this.#chunk = next.value;
      this.#at = 0;
    }
    return true;
  }

  /** The next record, if it is here already. */
  get head(): LineInput | undefined {
    return this.#chunk[this.#at];
  }

  /** The head is done with. */
  pass(): void {
    const { key, value, headers, timestamp } = this.#chunk[this.#at++]!;
    const part = (bytes: Uint8Array | null): void => {
      this.#hash.update(`${bytes?.length ?? -1};`);
      if (bytes) this.#hash.update(bytes);
    };
    part(key);
    part(value);
    for (const [name, text] of headers) {
      this.#hash.update(name);
      part(text);
    }
    this.#hash.update(`${timestamp ?? ""};`);
    this.number++;
  }

  get digest(): string {
    return this.#hash.copy().digest("hex").slice(0, 32);
  }

  async end(): Promise<void> {
    await this.#chunks.return?.();
  }
}

const newProducer = (): number => producerIdOf(crypto.getRandomValues(new BigUint64Array(1)));

export async function feed(options: FeedOptions): Promise<Fed> {
  const { target, topic, state, signal } = options;
  const journal = Journal.open(state, target.where, topic, newProducer());
  const input = new Input(options.input);
  const before = journal.state.appended;
  try {
    await skip(input, journal, state);
    await checkEnd(options, journal);
    let isWhole = false;
    const { pending } = journal.state;
    const told = async (): Promise<void> => options.onAcked?.(journal.state.appended, journal.state.end);
    if (pending) {
      await sendAgain(options, journal, input, pending);
      await told();
    }
    for (let isFirst = true; !signal.aborted; isFirst = false) {
      if (!(await orAborted(input.more(), signal))) {
        isWhole = !signal.aborted;
        break;
      }
      await sendNext(options, journal, input, isFirst);
      await told();
    }
    return { appended: journal.state.appended - before, before, end: journal.state.end, isWhole };
  } catch (thrown) {
    const appended = journal.state.appended - before;
    if (appended === 0 || !(thrown instanceof Failure || isOfSystem(thrown))) throw thrown;
    const those = appended === 1 ? "the record before it is" : `the ${appended} records before it are`;
    throw new Failure(`${thrown.message}; ${those} appended`, { cause: thrown });
  } finally {
    void input.end();
  }
}

/** An error of a file or of its gzip. The library's errors have a code as well, and say themselves what they mean. */
const isOfSystem = (thrown: unknown): thrown is NodeJS.ErrnoException =>
  thrown instanceof Error && "code" in thrown && !(thrown instanceof TidemarkError);

/** What the work says, or false once the signal is aborted. */
function orAborted(work: Promise<boolean>, signal: AbortSignal): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const leave = (): void => resolve(false);
    signal.addEventListener("abort", leave, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", leave));
  });
}

/** Passes over what an earlier process has appended. */
async function skip(input: Input, { state }: Journal, file: string | undefined): Promise<void> {
  for (let left = state.appended; left > 0; left--) {
    if (!(await input.more()))
      throw new Failure(`the input ends before record ${state.appended}, up to which ${file} says it was appended`);
    input.pass();
  }
  if (state.appended > 0 && input.digest !== state.digest)
    throw new Failure(
      `this is another input: up to record ${state.appended} it is not what ${file} says was appended; ` +
        `give the same input; ${ANEW}`,
    );
}

const ANEW = "with another --state all of it is appended anew";

/** What was appended is not there any more: what follows would be a part of the input, and nobody would see it. */
async function checkEnd({ target, topic, state: file }: FeedOptions, { state }: Journal): Promise<void> {
  const end = state.appended > 0 ? await target.end(topic) : undefined;
  if (end === undefined || end >= state.end) return;
  throw new Failure(
    `${topic} ends at ${end}, and ${file} says that it has ended at ${state.end}: it was deleted or put back; remove ` +
      `the file to append all of the input anew`,
  );
}

const timed = ({ key, value, headers, timestamp }: LineInput, now: number) => ({
  key,
  value,
  ...(headers.length > 0 && { headers }),
  timestamp: timestamp ?? now,
});

/** `isFirst`: of this process, which asks where the log ends by now. */
async function sendNext(options: FeedOptions, journal: Journal, input: Input, isFirst: boolean): Promise<void> {
  const { target, topic, expect } = options;
  const { kernel, batchBytesMax } = target;
  const now = Date.now();
  let builder = new BatchBuilder(kernel, { bytesMax: Math.min(BATCH_BYTES, batchBytesMax) });
  const first = input.number;
  while (input.head && builder.count < RECORDS_MAX && builder.tryAppend(timed(input.head, now))) input.pass();
  if (builder.count === 0) {
    builder = new BatchBuilder(kernel, { bytesMax: batchBytesMax });
    if (!builder.tryAppend(timed(input.head!, now)))
      throw new Failure(
        `record ${first} is too large: a record, encoded, has at most ${batchBytesMax - BATCH_HEADER_BYTES} bytes`,
      );
    input.pass();
  }
  const { appended } = journal.state;
  const batch = built(builder, journal);
  const since = Math.max(journal.state.end, isFirst ? ((await target.end(topic)) ?? 0) : 0);
  const ifEnd = appended === 0 ? expect : undefined;
  const pending = { records: builder.count, timestamp: now, since, crc: readHeader(batch).crc, ifEnd };
  journal.save({ ...journal.state, pending });
  await send(options, journal, { input, builder, batch, wasSent: false });
}

function built(builder: BatchBuilder, { state: { producerId, producerFrom = 0, appended } }: Journal): Uint8Array {
  return builder.build({ producerId, producerEpoch: 0, baseSequence: (appended - producerFrom) % SEQUENCES });
}

/** The batch that an earlier process had begun to send: made again of the same records, and sent again. */
async function sendAgain(options: FeedOptions, journal: Journal, input: Input, pending: PendingBatch): Promise<void> {
  const { kernel, batchBytesMax } = options.target;
  const builder = new BatchBuilder(kernel, { bytesMax: batchBytesMax });
  while (builder.count < pending.records) {
    const isThere = await input.more();
    if (!isThere || !builder.tryAppend(timed(input.head!, pending.timestamp))) throw otherInput(input, options.state);
    input.pass();
  }
  const batch = built(builder, journal);
  if (readHeader(batch).crc !== pending.crc) throw otherInput(input, options.state);
  await send(options, journal, { input, builder, batch, wasSent: true });
}

const otherInput = (input: Input, file: string | undefined): Failure =>
  new Failure(
    `this is another input: record ${input.number} or one just before it is not what ${file} says was sent, and may ` +
      `be in the log; give the same input; ${ANEW}`,
  );

interface Outgoing {
  /** Stands behind the batch's records. */
  readonly input: Input;
  readonly builder: BatchBuilder;
  readonly batch: Uint8Array;
  readonly wasSent: boolean;
}

/** Sends the pending batch until it is in the log, or is refused. */
async function send(options: FeedOptions, journal: Journal, outgoing: Outgoing): Promise<void> {
  const { target, topic } = options;
  const { builder, input } = outgoing;
  const { appended } = journal.state;
  let { batch, wasSent: isResent } = outgoing;
  const onDoubt = (): void => void (isResent = true);
  for (let tries = 1; ; tries++) {
    const { since, ifEnd } = journal.state.pending!;
    try {
      const sending = { ifEnd, since, isResent, makes: appended === 0, onDoubt };
      const { lastOffset } = await target.append(topic, batch.slice(), sending);
      const { pending: _, ...state } = journal.state;
      const now = { appended: appended + builder.count, end: lastOffset + 1, digest: input.digest };
      return journal.save({ ...state, ...now });
    } catch (thrown) {
      if (!(thrown instanceof TidemarkError)) throw thrown;
      if (isUnknownProducer(thrown) && appended > (journal.state.producerFrom ?? 0)) {
        batch = await beginAnew(options, journal, builder);
        isResent = false;
        continue;
      }
      if (isRefused(thrown, isResent)) settle(journal);
      if (thrown.kind !== "reopen" || isFinal(thrown) || tries >= TRIES_MAX) throw goneOr(thrown, options, appended);
      // Whether the log has it is not known.
      isResent = true;
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS * tries));
    }
  }
}

/** The error if the topic was deleted after the first batches. A new topic would hold only the rest of the input. */
function goneOr(thrown: TidemarkError, { topic, state: file }: FeedOptions, appended: number): Error {
  if (thrown.code !== "UNKNOWN_TOPIC" || appended === 0) return thrown;
  const hint = file === undefined ? "" : `; remove ${file} to append all of the input anew`;
  return new Failure(`${topic} is gone: it was deleted after ${counted(appended, "record")} of this input${hint}`);
}

/**
 * The log has forgotten this producer, and surely has not this batch (docs/decisions/0012): the batch goes under a new
 * one, from sequence 0.
 */
async function beginAnew({ target, topic }: FeedOptions, journal: Journal, builder: BatchBuilder): Promise<Uint8Array> {
  const { pending, appended, ...state } = journal.state;
  const since = Math.max(pending!.since, (await target.end(topic)) ?? 0);
  journal.state = { ...state, appended, producerId: newProducer(), producerFrom: appended };
  const batch = built(builder, journal);
  journal.save({ ...journal.state, pending: { ...pending!, since, crc: readHeader(batch).crc } });
  return batch;
}

const isUnknownProducer = ({ code, details }: TidemarkError): boolean =>
  code === "OUT_OF_ORDER_SEQUENCE" && details["unknownProducer"] === true && details["forgotten"] === undefined;

/** The stream is closed, and stays so. */
const isFinal = ({ details }: TidemarkError): boolean => details["edge"] === "STREAM_CLOSED";

/**
 * The batch is not in the log for certain. Of one that was sent before only its place says so: it is looked at after
 * the producer's memory, which would know the batch.
 */
const isRefused = (error: TidemarkError, isResent: boolean): boolean =>
  error.code === "OFFSET_CONFLICT" || (!isResent && (error.kind === "fix" || isFinal(error)));

/** Nothing is pending any more, so the next call may bring other records. */
function settle(journal: Journal): void {
  const { pending: _, ...state } = journal.state;
  journal.save(state);
}
