/**
 * What a log knows of its producers when it is opened: the newest snapshot, the headers behind it, and the offsets for
 * which neither can tell.
 */
import type { LogStore } from "../store/log-store.ts";
import { loadSnapshot } from "./producer-snapshot.ts";
import type { ProducerState } from "./producer-state.ts";
import { RECORD_COST_BYTES, Slices } from "./slices.ts";
import type { LogOptions } from "./types.ts";

/** Reading one header costs about as much as 16 records: it is one hop in storage. */
const HEADER_COST_BYTES = 16 * RECORD_COST_BYTES;

/** Writes nothing. Without a usable snapshot it walks all headers of the log, in slices. */
export async function rememberProducers(
  producers: ProducerState,
  { store, kernel, breathe }: Pick<LogOptions, "store" | "kernel" | "breathe">,
): Promise<void> {
  const snapshot = await store.producerSnapshot();
  const usable = snapshot !== undefined && loadSnapshot(producers, kernel, snapshot.bytes, snapshot.offset);
  const from = usable ? snapshot.offset : 0;
  const slices = new Slices(breathe);
  let first: number | undefined;
  for await (const header of store.headers(from)) {
    first ??= header.baseOffset;
    if (header.producerId >= 0) producers.record(header, header.baseOffset);
    await slices.spent(HEADER_COST_BYTES);
  }
  for (const unseen of unseenFrom(store, from, first ?? store.logEndOffset)) producers.forget(unseen);
}

/**
 * Offsets below which unknown producers may have written: the ends of damaged ranges and, without a snapshot, those of
 * compacted parts and of what was trimmed and is gone. What was trimmed and is still held was looked at: `first` is
 * the first offset of it.
 */
function unseenFrom(store: LogStore, from: number, first: number): number[] {
  const damaged = store.quarantined.filter(({ to }) => to > from).map(({ to }) => to - 1);
  if (from > 0) return damaged;
  const compacted = store
    .segments()
    .filter((segment) => segment.compacted)
    .map(({ nextOffset }) => nextOffset - 1);
  return [...damaged, ...compacted, first - 1];
}
