/**
 * Appends an input to a topic, each record once, also when the process is killed and started again (journal.ts).
 *
 *   input ─▶ chunks of records, as they come ─▶ one batch ─▶ journal ─▶ log ─▶ ack ─▶ the next batch
 */
import { createHash, randomBytes } from "node:crypto";
import { TidemarkError } from "../src/errors.ts";
import { BatchBuilder } from "../src/record/batch-builder.ts";
import { readHeader } from "../src/record/format.ts";
import { producerIdOf } from "../src/topic/options.ts";
import { Failure } from "./failure.ts";
import { Journal, type PendingBatch } from "./journal.ts";
import type { LineInput } from "./lines.ts";
import type { LogTarget } from "./target.ts";

const BATCH_BYTES = 256 * 1024;
const RECORDS_MAX = 10_000;
const SEQUENCES = 2 ** 31;
/** A log that failed is opened again by its host; so often a batch is sent to it. */
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

export async function feed(options: FeedOptions): Promise<Fed> {
  const { target, topic, state, signal } = options;
  const id = producerIdOf(new BigUint64Array(randomBytes(8).buffer.slice(0, 8)));
  const journal = Journal.open(state, target.where, topic, id);
  const input = new Input(options.input);
  const before = journal.state.appended;
  try {
    await skip(input, journal, state);
    let isWhole = false;
    const { pending } = journal.state;
    const told = async (): Promise<void> => options.onAcked?.(journal.state.appended, journal.state.end);
    if (pending) {
      await sendAgain(options, journal, input, pending);
      await told();
    }
    while (!signal.aborted) {
      if (!(await orAborted(input.more(), signal))) {
        isWhole = !signal.aborted;
        break;
      }
      await sendNext(options, journal, input);
      await told();
    }
    return { appended: journal.state.appended - before, before, end: journal.state.end, isWhole };
  } catch (thrown) {
    const appended = journal.state.appended - before;
    if (!(thrown instanceof Failure) || appended === 0) throw thrown;
    throw new Failure(`${thrown.message}; the ${appended} records before it are appended`, { cause: thrown });
  } finally {
    void input.end();
  }
}

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
      `this is another input: its first ${state.appended} records are not those that ${file} says were appended; ` +
        `give the same input, or another --state`,
    );
}

const timed = ({ key, value, headers, timestamp }: LineInput, now: number) => ({
  key,
  value,
  ...(headers.length > 0 && { headers }),
  timestamp: timestamp ?? now,
});

async function sendNext(options: FeedOptions, journal: Journal, input: Input): Promise<void> {
  const { target, expect } = options;
  const { kernel, batchBytesMax } = target;
  const now = Date.now();
  let builder = new BatchBuilder(kernel, { bytesMax: Math.min(BATCH_BYTES, batchBytesMax) });
  const first = input.number;
  while (input.head && builder.count < RECORDS_MAX && builder.tryAppend(timed(input.head, now))) input.pass();
  if (builder.count === 0) {
    builder = new BatchBuilder(kernel, { bytesMax: batchBytesMax });
    if (!builder.tryAppend(timed(input.head!, now)))
      throw new Failure(`record ${first} is too large: a record, encoded, has at most ${batchBytesMax} bytes`);
    input.pass();
  }
  const { appended } = journal.state;
  const batch = built(builder, journal);
  const since = appended > 0 ? journal.state.end : ((await target.place(options.topic))?.end ?? 0);
  const ifEnd = appended === 0 ? expect : undefined;
  const pending = { records: builder.count, timestamp: now, since, crc: readHeader(batch).crc, ifEnd };
  journal.save({ ...journal.state, pending });
  await send(options, journal, input, batch, { ifEnd, resentSince: undefined });
}

function built(builder: BatchBuilder, { state: { producerId, appended } }: Journal): Uint8Array {
  return builder.build({ producerId, producerEpoch: 0, baseSequence: appended % SEQUENCES });
}

/** The batch that an earlier process had begun to send: made again of the same records, and sent again. */
async function sendAgain(options: FeedOptions, journal: Journal, input: Input, pending: PendingBatch): Promise<void> {
  const { target, state } = options;
  const builder = new BatchBuilder(target.kernel, { bytesMax: target.batchBytesMax });
  while (builder.count < pending.records) {
    const isThere = await input.more();
    if (!isThere || !builder.tryAppend(timed(input.head!, pending.timestamp))) throw otherInput(input, state);
    input.pass();
  }
  const batch = built(builder, journal);
  if (readHeader(batch).crc !== pending.crc) throw otherInput(input, state);
  await send(options, journal, input, batch, { ifEnd: pending.ifEnd, resentSince: pending.since });
}

const otherInput = (input: Input, file: string | undefined): Failure =>
  new Failure(
    `this is another input: record ${input.number} or one just before it is not what ${file} says was sent; give the ` +
      `same input, or another --state`,
  );

async function send(
  { target, topic }: FeedOptions,
  journal: Journal,
  input: Input,
  batch: Uint8Array,
  sending: { ifEnd: number | undefined; resentSince: number | undefined },
): Promise<void> {
  const { recordCount: records } = readHeader(batch);
  const since = journal.state.pending!.since;
  for (let tries = 1; ; tries++) {
    try {
      const { lastOffset } = await target.append(topic, batch.slice(), sending);
      const { appended, pending: _, ...state } = journal.state;
      return journal.save({ ...state, appended: appended + records, end: lastOffset + 1, digest: input.digest });
    } catch (thrown) {
      if (!(thrown instanceof TidemarkError) || thrown.kind !== "reopen" || tries >= TRIES_MAX) throw thrown;
      // Whether the log has it is not known.
      sending = { ...sending, resentSince: since };
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS * tries));
    }
  }
}
