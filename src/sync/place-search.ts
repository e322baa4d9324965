/**
 * Where own records are at the edge, for a tab that was not there when it was told: it hung, its leader died, or its
 * record was settled as the volume opened. What is un-settled is left out: that will be told.
 *
 *   positions   ──trimmed─┬─settled, place known─┬─settled, place unknown─┬─un-settled──
 *                search   │ told at once         │ search                 │ nothing
 *
 * The search goes through the replica's headers by identity, because a position means nothing there.
 */
import { ATTRIBUTE_CONTROL } from "../record/format.ts";
import { recordId, type RecordOwner } from "../record/record-id.ts";
import type { Outbox } from "./outbox.ts";
import type { Replica } from "./replica.ts";
import type { Range } from "./topic-store.ts";

/** Records [position, position + count) of the outbox, all of the batch that is named. The first is its record `at`. */
export interface WantedRun extends RecordOwner {
  readonly position: number;
  readonly count: number;
  readonly at: number;
}

export interface FoundPlaces {
  /** `offset` -1: the run is not in this device's copy. Compaction took it at the edge, or it lies below the copy. */
  readonly runs: readonly { readonly from: number; readonly to: number; readonly offset: number }[];
  readonly retracted: readonly Range[];
}

export interface PlacesStorage {
  readonly outbox: Outbox;
  readonly replica: Replica | undefined;
  readonly start: number;
}

const UNSETTLED = -2;
const UNKNOWN = -1;
const RETRACTED = -3;

/** The run's records: an offset each, or what else is known of them. */
function knownOf({ outbox, start }: PlacesStorage, { position, count }: WantedRun): Float64Array {
  const places = new Float64Array(count).fill(UNSETTLED);
  places.fill(UNKNOWN, 0, Math.max(0, Math.min(count, start - position)));
  const { all } = outbox.batches;
  for (let at = outbox.batches.placeOf(Math.max(position, start)); at < all.length; at++) {
    const batch = all[at]!;
    if (batch.at >= position + count) break;
    if (!batch.isSettled) continue;
    for (let each = Math.max(batch.at, position); each < Math.min(batch.next, position + count); each++) {
      const offset = batch.offset < 0 ? UNKNOWN : batch.offset + each - batch.at;
      places[each - position] = batch.isRetracted ? RETRACTED : offset;
    }
  }
  return places;
}

/** `since`: no wanted record has a place below this offset. `retracted`: what was retracted and may be trimmed. */
export async function placesOf(
  storage: PlacesStorage,
  since: number,
  wanted: readonly WantedRun[],
  retracted: readonly Range[],
): Promise<FoundPlaces> {
  const searched = wanted.map((run) => ({ ...run, places: knownOf(storage, run) }));
  for (const { position, places } of searched)
    for (const [from, to] of retracted)
      places.fill(RETRACTED, Math.max(0, from - position), Math.max(0, to - position));
  const left = new Map<string, (typeof searched)[number][]>();
  for (const run of searched) {
    if (!run.places.includes(UNKNOWN)) continue;
    const id = recordId(run, 0);
    left.set(id, [...(left.get(id) ?? []), run]);
  }
  const { replica } = storage;
  if (replica && left.size > 0) {
    const from = since < replica.watermark ? since : 0;
    for await (const header of replica.log.headers(from)) {
      if ((header.attributes & ATTRIBUTE_CONTROL) !== 0) continue;
      for (const { at, places } of left.get(recordId(header, 0)) ?? [])
        for (const [i, known] of places.entries()) if (known === UNKNOWN) places[i] = header.baseOffset + at + i;
    }
  }
  return joinedPlaces(searched);
}

function joinedPlaces(searched: readonly { readonly position: number; readonly places: Float64Array }[]): FoundPlaces {
  const runs: { from: number; to: number; offset: number }[] = [];
  const retracted: [number, number][] = [];
  for (const { position, places } of searched)
    for (const [at, offset] of places.entries()) {
      const [from, to] = [position + at, position + at + 1];
      if (offset === RETRACTED) retracted.push([from, to]);
      if (offset < UNKNOWN) continue;
      const last = runs.at(-1);
      const isNext = last?.to === from && offset === (last.offset < 0 ? UNKNOWN : last.offset + from - last.from);
      if (isNext) last.to = to;
      else runs.push({ from, to, offset });
    }
  return { runs, retracted };
}
