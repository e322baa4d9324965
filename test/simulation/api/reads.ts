/** Reads of every form, compared with the model. */
import type { StartPosition, TopicRecord } from "./api.ts";
import type { Random } from "../prng.ts";
import { check, equal, type TopicModel } from "./model.ts";

export interface ReadForm {
  readonly from?: StartPosition;
  readonly to?: number;
  readonly maxBytes?: number;
  readonly isolation?: "committed" | "provisional";
  readonly follow?: boolean;
}

/** Reads to the end in one of the ways. */
export async function readOut(model: TopicModel, random: Random, form: ReadForm, most = Infinity) {
  const found: TopicRecord[] = [];
  if (most <= 0) return found;
  if (random.chance(0.5)) {
    for await (const record of model.topic.read(form)) if (found.push(record) >= most) break;
    return found;
  }
  for await (const batch of model.topic.readBatches(form)) {
    const own = [...batch];
    equal(own.length, batch.count, `${model.name}: count of a batch`);
    if (own.length > 0)
      check(
        batch.baseOffset <= own[0]!.offset && batch.nextOffset > own.at(-1)!.offset,
        () => `${model.name}: a batch ${batch.baseOffset}-${batch.nextOffset} with ${own[0]!.offset}`,
      );
    found.push(...own);
    if (found.length >= most) break;
  }
  return found;
}

const aSize = (random: Random): number | undefined =>
  random.chance(0.5) ? undefined : random.pick([1, 100, 5_000, 70_000, 2 ** 40]);

export async function readAll(model: TopicModel, random: Random): Promise<number[]> {
  const isolation = random.pick(["committed", "provisional"] as const);
  const maxBytes = random.chance(0.9) ? undefined : aSize(random);
  const records = await readOut(model, random, { isolation, ...(maxBytes !== undefined && { maxBytes }) });
  let before = -1;
  for (const record of records) {
    check(record.offset > before, () => `${model.name}: ${record.offset} behind ${before}`);
    before = record.offset;
    model.same(record, "read");
  }
  return records.map(({ offset }) => offset);
}

/** Where this position is, by the model. */
export function placeOf(model: TopicModel, from: StartPosition): number | undefined {
  if (from === "earliest") return model.start;
  if (from === "latest") return model.end;
  if (typeof from === "number") return from >= model.start && from <= model.end ? from : undefined;
  if ("last" in from) return Math.max(model.start, model.end - from.last);
  return model.offsets().find((offset) => model.records.get(offset)!.timestamp! >= from.timestamp) ?? model.end;
}

export function aPosition(model: TopicModel, random: Random): StartPosition {
  return random.pick<() => StartPosition>([
    () => "earliest",
    () => "latest",
    () => random.between(model.start, model.end),
    () => random.between(0, model.end + 2),
    () => ({ last: random.between(0, model.end + 2) }),
    () => ({ last: 2 ** 53 - 1 }),
    () => aTime(model, random),
    () => aTime(model, random),
  ])();
}

function aTime(model: TopicModel, random: Random): { readonly timestamp: number } {
  const known = random.pick(model.offsets());
  const time = known === undefined ? 0 : model.records.get(known)!.timestamp!;
  const timestamp = random.pick([time, time + 1, time - 1, time + 0.5, 0, Date.now(), 2 ** 53 - 1, -(2 ** 53) + 1]);
  return { timestamp: Math.max(-(2 ** 53) + 1, Math.min(2 ** 53 - 1, timestamp)) };
}

/** One read of any form. */
export async function someRead(model: TopicModel, random: Random): Promise<string> {
  const from = aPosition(model, random);
  const to = random.chance(0.5) ? random.between(0, model.end + 3) : undefined;
  const maxBytes = aSize(random);
  const follow = random.chance(0.3);
  const form: ReadForm = {
    ...(random.chance(0.9) || from !== "earliest" ? { from } : {}),
    ...(to !== undefined && { to }),
    ...(maxBytes !== undefined && { maxBytes }),
    ...(random.chance(0.5) && { isolation: random.pick(["committed", "provisional"]) }),
    ...(random.chance(0.7) ? (follow ? { follow } : {}) : { follow }),
  };
  const what = `read(${JSON.stringify(form)}) of ${model.name} ${model.start}-${model.end}`;
  const place = placeOf(model, from);
  if (place === undefined) {
    // Nothing is asked of the log where nothing is wanted.
    const error = await readOut(model, random, form).then(
      () => undefined,
      (thrown: unknown) => thrown as { code?: string },
    );
    equal(error?.code, "OFFSET_OUT_OF_RANGE", what);
    return "read out of range";
  }
  const expected = model.offsets(place, to ?? Infinity);
  // A follow that has no end is left after what is there.
  const most = follow && (to === undefined || to > model.end) ? expected.length : Infinity;
  const records = await readOut(model, random, form, most);
  equal(
    records.slice(0, most).map(({ offset }) => offset),
    expected,
    what,
  );
  for (const record of records) model.same(record, what);
  return `read ${typeof from === "object" ? Object.keys(from)[0]! : typeof from === "number" ? "offset" : from}`;
}
