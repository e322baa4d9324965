/**
 * A topic's changes in a page: cuts are fetched from the worker that leads, decoded once, and told as changes.
 *
 *   changes(), views ─▶ ChangeReader of each ─▶ SharedFetches ── one request for all that stand at one place ─▶ worker
 *
 * Nothing is fetched ahead of what a reader asks for. So a slow reader holds up no other one, and no queue grows. The
 * first call loads this file.
 */
import { TidemarkError } from "../../errors.ts";
import { decodeAll, type ReadSource } from "../../delivery/reader.ts";
import { type Deserializer, type PlainRecord, ReadBatch } from "../../delivery/read-record.ts";
import type { Kernel } from "../../kernel/types.ts";
import { PROVISIONAL_FROM } from "../../log/provisional-layout.ts";
import type { ChangesPlace, Fetched, StartPosition } from "../../log/types.ts";
import { ChangeReader, type DecodedCut, type TopicChange } from "../../sync/change-reader.ts";
import type { TopicCut } from "../../sync/topic-cut.ts";
import type { ChangesOptions, Tide } from "../api.ts";
import { refused } from "../../topic/check.ts";

/** What is needed of a topic. */
export interface ChangingTopic<V> extends ReadSource {
  readonly name: string;
  readonly tide: Pick<Tide, "name" | "topic"> & { readonly opened: { readonly batchBytesMax: number } | undefined };
  /** When the topic was made; undefined while that is not known. */
  born(): number | undefined;
  readonly kernel: Kernel;
  readonly serializer: Deserializer<V>;
}

/** The name of the copy, for a log that is not synced. */
const LOCAL = "local";
type Cut<V> = DecodedCut<PlainRecord<V>>;
/** Most bytes of one answer. More records would hold up the page too long when they are made. */
const MAX_BYTES = 256 * 1024;

/** Records of batches from `from` on. */
async function recordsOf<V>(
  { serializer, typed }: ChangingTopic<V>,
  batches: Awaited<ReturnType<typeof decodeAll>>["batches"],
  from: number,
) {
  const records: PlainRecord<V>[] = [];
  for (const batch of batches) {
    if (batch.isControl) continue;
    const stored = new ReadBatch<V>(batch, from, Infinity, serializer);
    const part = typed && stored.count > 0 ? await typed(stored) : stored;
    for (let n = 0; n < part.count; n++) records.push(part.plain(n));
  }
  return records;
}

/** A cut of a log whose records keep their place from the start. */
const plainCut = (fetched: Fetched): TopicCut => ({
  ...fetched,
  committedBytes: fetched.bytes.length,
  nextProvisional: 0,
  firstUnsettled: 0,
  retracted: [],
  level: fetched.nextOffset >= fetched.highWatermark,
  live: true,
  told: "local",
  stream: LOCAL,
});

/** What became of a reader whose offset is not in the log. */
function cutWithout(from: number, error: TidemarkError): TopicCut {
  const { reason, logStartOffset: start, logEndOffset: end } = error.details;
  if (error.code !== "OFFSET_OUT_OF_RANGE") throw error;
  const logStartOffset = Number(start ?? 0);
  const logEndOffset = Number(end ?? 0);
  const isBehind = reason !== "synced" && from < logStartOffset;
  return {
    ...plainCut({
      bytes: new Uint8Array(0),
      nextOffset: logStartOffset,
      logStartOffset,
      highWatermark: logEndOffset,
      logEndOffset,
    }),
    level: false,
    // The topic has become a synced one, and has no log at the edge yet.
    ...(reason === "synced" && { stream: null }),
    ...(isBehind ? { gap: [from, logStartOffset] } : { reset: logStartOffset }),
  };
}

/** Requests that are under way for a topic, by the place they ask from. */
class SharedFetches<V> {
  readonly #topic: ChangingTopic<V>;
  readonly #running = new Map<
    string,
    { readonly cut: Promise<Cut<V>>; readonly stop: AbortController; readers: number }
  >();

  constructor(topic: ChangingTopic<V>) {
    this.#topic = topic;
  }

  /** The next cut for a reader that stands there. */
  async next({ committed, provisional, told }: ChangeReader<PlainRecord<V>>, signal: AbortSignal): Promise<Cut<V>> {
    signal.throwIfAborted();
    const place = `${committed}/${provisional}/${told}`;
    let shared = this.#running.get(place);
    if (!shared) {
      const stop = new AbortController();
      shared = { stop, readers: 0, cut: this.#fetch(committed, { provisional, told }, stop.signal) };
      this.#running.set(place, shared);
      const over = (): unknown => this.#running.get(place) === shared && this.#running.delete(place);
      shared.cut.then(over, over);
    }
    const mine = shared;
    mine.readers++;
    let left = (): void => undefined;
    try {
      return await new Promise((resolve, reject) => {
        left = () => reject(signal.reason);
        signal.addEventListener("abort", left);
        mine.cut.then(resolve, reject);
      });
    } finally {
      signal.removeEventListener("abort", left);
      if (--mine.readers === 0) {
        if (this.#running.get(place) === mine) this.#running.delete(place);
        mine.stop.abort(new TidemarkError("CLOSED", "nobody reads any more"));
      }
    }
  }

  async #fetch(from: number, changes: ChangesPlace, signal: AbortSignal): Promise<Cut<V>> {
    const topic = this.#topic;
    const { kernel } = topic;
    const options = { maxBytes: MAX_BYTES, signal };
    const fetched = await topic
      .fetch(from, { ...options, wait: changes.told !== undefined, changes })
      .catch((thrown: unknown) => cutWithout(from, TidemarkError.from(thrown)));
    const cut = "told" in fetched ? (fetched as TopicCut) : plainCut(fetched);
    const { bytes, committedBytes, nextProvisional } = cut;
    const ownFrom = PROVISIONAL_FROM + changes.provisional;
    const decode = (part: Uint8Array, at: number, nextOffset: number) =>
      decodeAll(topic, kernel, { ...cut, bytes: part, nextOffset }, at, options);
    const committed = await decode(bytes.subarray(0, committedBytes), from, cut.nextOffset);
    const own = await decode(bytes.subarray(committedBytes), ownFrom, PROVISIONAL_FROM + nextProvisional);
    // What was damaged on its way was fetched anew, up to the damage only. Nothing behind it counts.
    const isWhole = committed.nextOffset === cut.nextOffset;
    return {
      ...cut,
      committed: await recordsOf(topic, committed.batches, from),
      nextOffset: committed.nextOffset,
      provisional: isWhole ? await recordsOf(topic, own.batches, ownFrom) : [],
      nextProvisional: isWhole ? own.nextOffset - PROVISIONAL_FROM : changes.provisional,
      level: cut.level && isWhole && own.nextOffset === PROVISIONAL_FROM + nextProvisional,
    };
  }
}

const fetchesOf = new WeakMap<ReadSource, SharedFetches<never>>();

/** A place is an offset that a reader was at before. It may lie below the log's start by now: that is told as a gap. */
export type ChangesFrom = StartPosition | { readonly place: number };

interface ChangesOfCopy {
  /** The copy that the place belongs to. If another copy is here, a reset comes first. */
  readonly copy?: string | null | undefined;
  /** Called with the name of the copy before the changes of each answer. */
  readonly named?: (stream: string | null) => void;
}

/** Changes by answers of the worker: after the last of each the reader has seen one state of the topic. */
export async function* changesByCut<V>(
  topic: ChangingTopic<V>,
  from: ChangesFrom,
  signal: AbortSignal,
  { copy, named }: ChangesOfCopy = {},
): AsyncGenerator<TopicChange<PlainRecord<V>>[], void> {
  if (typeof from === "number" && from >= PROVISIONAL_FROM)
    throw refused("from", from, "an offset of a record that has its place");
  const fetches = (fetchesOf.get(topic) as SharedFetches<V> | undefined) ?? new SharedFetches(topic);
  fetchesOf.set(topic, fetches as SharedFetches<never>);
  const isPlace = typeof from === "object" && "place" in from;
  const reader = new ChangeReader<PlainRecord<V>>(isPlace ? from.place : await topic.resolve(from, "committed"), copy);
  for (;;) {
    const cut = await fetches.next(reader, signal);
    // Where the offset is not in the log, the answer does not say when the topic was made.
    if (cut.stream === LOCAL && topic.born() === undefined) await topic.resolve("earliest", "committed");
    const stream = nameOf(topic, cut.stream);
    named?.(stream);
    yield reader.take({ ...cut, stream });
  }
}

/** A local log is named by its birth, so that one that was deleted and made again is another. */
function nameOf<V>(topic: ChangingTopic<V>, stream: string | null): string | null {
  if (stream !== LOCAL) return stream;
  const since = topic.born();
  return since === undefined ? null : `${LOCAL}/${since}`;
}

export async function* changesOf<V>(
  topic: ChangingTopic<V>,
  { from = "earliest", copy }: Omit<ChangesOptions, "signal">,
  signal: AbortSignal,
): AsyncGenerator<TopicChange<PlainRecord<V>>, void> {
  if (copy != null && typeof copy !== "string") throw refused("copy", copy, "that of a change of type level");
  if (copy != null && typeof from !== "number")
    throw refused("from", from, "the offset that was stored with copy; leave copy out for another position");
  const place = copy != null && typeof from === "number" && from < PROVISIONAL_FROM ? { place: from } : from;
  for await (const changes of changesByCut(topic, place, signal, { copy })) yield* changes;
}
