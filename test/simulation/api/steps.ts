/** The steps of a history. */
import type { RetentionSettings, SegmentExport, TopicSettings } from "./api.ts";
import type { Random } from "../prng.ts";
import { begin, brokenBulk, bulk, isAcked, quiet, settle } from "./appends.ts";
import type { World } from "./history.ts";
import { check, equal, Failure, show, TopicModel } from "./model.ts";
import { draw } from "./records.ts";
import { refusals } from "./refusals.ts";
import { readOut, someRead } from "./reads.ts";

type StepRun = (world: World, model: TopicModel, random: Random) => Promise<void>;

export const codeOf = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => "no error",
    (thrown: unknown) => (thrown as { code?: string }).code ?? String(thrown),
  );

async function burst(world: World, model: TopicModel, random: Random): Promise<void> {
  const models = random.chance(0.3) ? world.topics : [model];
  const calls = begin(world, models, random, random.pick([1, 2, 5, 12, 40]));
  const reads = random.chance(0.3) ? [readOut(model, random, {})] : [];
  // It is awaited behind the appends.
  for (const read of reads) read.catch(() => undefined);
  const work = random.chance(0.2) ? [model.topic[random.pick(["roll", "clean"] as const)]()] : [];
  await settle(world, calls);
  await Promise.all(work);
  for (const read of reads) for (const record of await read) model.same(record, "a read beside appends");
  await quiet(model);
}

async function clean(world: World, model: TopicModel, random: Random): Promise<void> {
  for (let rolls = random.int(3); rolls > 0; rolls--) {
    await settle(world, begin(world, [model], random, 5));
    await quiet(model);
    await model.topic.roll();
    await world.compare(model, random);
  }
  const before = await model.topic.state();
  const kept = model.offsets(before.logStartOffset).length;
  const result = await model.topic.clean();
  const after = await model.topic.state();
  const { retention = {}, compaction } = model.settings;
  const sealed = after.segments.filter(({ state }) => state === "sealed");
  const what = `clean() of ${model.name} with ${JSON.stringify(model.settings)}: ${JSON.stringify(result)}`;
  const bytes = (list: readonly { readonly bytes: number }[]): number =>
    list.reduce((sum, each) => sum + each.bytes, 0);
  if (retention.maxBytes !== undefined && !compaction)
    check(
      bytes(after.segments) <= retention.maxBytes || sealed.length === 0,
      () => `${what}: ${bytes(after.segments)} bytes are left`,
    );
  if (retention.maxRecords !== undefined && !compaction) {
    const records = after.segments.reduce((sum, each) => sum + each.records, 0);
    check(
      sealed.length === 0 || records - sealed[0]!.records < retention.maxRecords,
      () => `${what}: ${records} are left`,
    );
    if (
      after.logStartOffset > before.logStartOffset &&
      retention.maxBytes === undefined &&
      retention.maxAgeMs === undefined
    )
      check(records >= Math.min(retention.maxRecords, kept), () => `${what}: only ${records} are left of ${kept}`);
  }
  if (
    retention.maxBytes !== undefined &&
    retention.maxRecords === undefined &&
    retention.maxAgeMs === undefined &&
    !compaction
  ) {
    const gone = before.segments.filter(
      ({ state, nextOffset }) => state === "sealed" && nextOffset <= after.logStartOffset,
    );
    if (gone.length > 0 && after.logStartOffset > before.logStartOffset)
      check(bytes(after.segments) + gone.at(-1)!.bytes > retention.maxBytes, () => `${what}: too much was removed`);
  }
  if (Object.keys(retention).length === 0) equal(after.logStartOffset, before.logStartOffset, what);
  world.count("retired segments", result.retired.segments);
  world.count("removed by compaction", result.compacted.recordsRemoved);
  if (compaction && (compaction.minLagMs ?? 0) === 0 && sealed.length > 0)
    await compacted(model, sealed.at(-1)!.nextOffset, what);
}

/** Below this offset each key has one record, and a tombstone none once its delay is over. */
async function compacted(model: TopicModel, to: number, what: string): Promise<void> {
  const keys = new Set<string>();
  const isDue = (model.settings.compaction || {}).tombstoneRetentionMs === 0;
  for await (const { offset, keyBytes, valueBytes } of model.topic.read({ to })) {
    if (keyBytes === null) continue;
    const key = show(keyBytes);
    check(!keys.has(key), () => `${what}: two records of one key below ${to}, the second at ${offset}`);
    check(!isDue || valueBytes !== null, () => `${what}: a tombstone at ${offset}`);
    keys.add(key);
  }
}

async function settings(world: World, model: TopicModel, random: Random): Promise<void> {
  const retention = random.pick<RetentionSettings>([
    {},
    { maxBytes: 70_000 },
    { maxBytes: 1 },
    { maxRecords: 20 },
    { maxRecords: 1, maxBytes: 1e6 },
    { maxAgeMs: 1 },
    { maxAgeMs: 1e9 },
  ]);
  const compaction = random.pick([true, true, false, { tombstoneRetentionMs: 0 }, { minLagMs: 1e9 }, { minLagMs: 0 }]);
  const given = {
    ...(random.chance(0.4) && { retention }),
    ...(random.chance(0.5) && { compaction }),
    ...(random.chance(0.3) && { segmentMaxAgeMs: random.pick([1, 1e9, 1.5]) }),
    ...(random.chance(0.2) && { recordBytesMax: random.pick([300, 2000, 1_048_527]) }),
  };
  const { host, tide } = world;
  const again = tide.topic(model.name, { ...model.kind.options(host.events), ...without(model), ...given } as never);
  check(again === (model.topic as unknown), "topic() gives the same object");
  const stored = { ...given, ...(given.compaction === true && { compaction: {} }) } as TopicSettings;
  if (model.exists) model.settings = { ...model.settings, ...stored };
  else model.given = { ...model.given, ...stored };
  const { compaction: now } = { ...model.settings, ...model.given };
  model.wasCompacted ||= now !== undefined && now !== false;
  await model.topic.state();
}

/** Each call makes another object, and another object is refused. */
const without = ({ kind }: TopicModel): object => ({
  ...(kind.name === "own" && { serializer: undefined }),
  schema: undefined,
  schemaName: undefined,
  version: undefined,
  upcast: undefined,
  use: undefined,
});

async function reopen(world: World): Promise<void> {
  const before = await Promise.all(world.topics.map((model) => model.topic.state()));
  const old = world.tide;
  const topics = world.topics.map(({ topic }) => topic);
  await old.close();
  await world.watchers.closed();
  for (const topic of topics) {
    const record = { value: null, headers: { "tm.type": "added" } };
    equal(await codeOf(topic.append(record)), "CLOSED", "append() of a closed tide");
    equal(await codeOf(topic.read().next()), "CLOSED", "read() of a closed tide");
    equal(await codeOf(topic.state()), "CLOSED", "state() of a closed tide");
  }
  equal(await codeOf(old.topics()), "CLOSED", "topics() of a closed tide");
  await old.close();
  await world.open();
  for (const [i, model] of world.topics.entries()) {
    const { segments, logStartOffset, logEndOffset, settings } = await model.topic.state();
    const was = before[i]!;
    equal(
      [logStartOffset, logEndOffset, settings],
      [was.logStartOffset, was.logEndOffset, was.settings],
      `${model.name}: reopened`,
    );
    equal(
      segments.map(({ slot: _, ...rest }) => rest),
      was.segments.map(({ slot: _, ...rest }) => rest),
      `${model.name}: segments`,
    );
    const isClean = world.host.isFollower ?? (await model.topic.state()).recovery.cleanShutdown;
    check(!model.exists || isClean, () => `${model.name}: no clean end`);
  }
}

async function crash(world: World, model: TopicModel, random: Random): Promise<void> {
  const { host } = world;
  if (host.strike) {
    const calls = begin(world, world.topics, random, random.pick([1, 5, 30]));
    for (let turns = random.int(30); turns > 0; turns--) await later();
    await Promise.all([host.strike(), settle(world, calls)]);
    for (const each of world.topics) await quiet(each);
    return;
  }
  if (!host.crash) return;
  const models = random.chance(0.5) ? world.topics : [model];
  const calls = begin(world, models, random, random.pick([0, 1, 5, 30]));
  const work: Promise<unknown>[] = [];
  for (const name of ["clean", "roll"] as const) if (random.chance(0.3)) work.push(model.topic[name]());
  if (random.chance(0.2)) work.push(world.tide.close());
  for (const each of work) each.catch(() => undefined);
  for (let turns = random.int(60); turns > 0; turns--) await (random.chance(0.5) ? undefined : later());
  host.crash();
  const acked = new Set(calls.filter(isAcked));
  const was = new Map(world.topics.map((each) => [each, each.exists]));
  await settle(world, calls);
  await Promise.allSettled(work);
  const leasts = new Map<TopicModel, number>();
  for (const call of acked) leasts.set(call.model, call.ack!.offset + 1);
  world.watchers.end();
  await world.tide.close();
  host.useCrashed!();
  await world.open();
  for (const each of world.topics) {
    const { end, name } = each;
    const { logEndOffset } = await each.topic.state();
    const least = leasts.get(each) ?? 0;
    const before =
      end - calls.filter((call) => call.model === each && call.ack).reduce((sum, { drawn }) => sum + drawn.length, 0);
    check(
      logEndOffset >= Math.max(least, before) && logEndOffset <= end,
      () => `${name}: after the crash it ends at ${logEndOffset}; acked ${least}, before ${before}, in the end ${end}`,
    );
    if (logEndOffset < end) world.count("records lost that were not acked", end - logEndOffset);
    for (let offset = logEndOffset; offset < end; offset++) each.records.delete(offset);
    each.end = logEndOffset;
    if (!was.get(each) && (await each.topic.state()).segments.length === 0) each.forget();
  }
}

const later = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 0));

async function exported(world: World, model: TopicModel, random: Random): Promise<void> {
  const files: SegmentExport[] = [];
  for await (const file of model.topic.export()) files.push(file);
  world.count("exported segments", files.length);
  const isHere = random.chance(0.5);
  const tide = isHere ? world.tide : await world.host.openOther();
  const name = `copy${random.int(1000)}`;
  const copy = new TopicModel(name, model.kind);
  const options = model.kind.options(world.host.events) as object;
  try {
    copy.topic = tide.topic(name, options) as never;
    const given = random.chance(0.3)
      ? files.map(({ log }) => new Blob([log as never]))
      : random.pick([files, files.map(({ log }) => log)]);
    const result = await copy.topic.importSegments(random.chance(0.5) ? given : given.values());
    copy.start = (await copy.topic.state()).logStartOffset;
    // A file without a name begins where its first batch does, and compaction may have taken the one before that.
    const first = model.offsets()[0] ?? model.start;
    check(files.length === 0 || copy.start <= first, () => `import: from ${copy.start}, not ${first}`);
    Object.assign(copy, {
      records: new Map(model.records),
      gone: new Set(model.gone),
      end: files.length > 0 ? model.end : 0,
      exists: true,
    });
    if (files.length === 0) Object.assign(copy, { records: new Map(), gone: new Set(), exists: false });
    const found = (await readOut(copy, random, {})).map((record) => {
      const { id: _, ...known } = model.records.get(record.offset)!;
      copy.records.set(record.offset, { ...known, id: record.id });
      equal(record.id, model.records.get(record.offset)!.id ?? record.id, `import: id at ${record.offset}`);
      copy.same(record, "import");
      return record.offset;
    });
    equal(
      found.filter((offset) => offset >= model.start),
      copy.exists ? model.offsets() : [],
      "import",
    );
    equal(result.records, found.length, `import: ${show(result)}`);
    if (files.length > 0) {
      equal(await codeOf(copy.topic.importSegments(files)), "INVALID_ARGUMENT", "import into what has records");
      const { input, known, type, outcome } = draw(model, random, world.segmentBytes);
      if (type === undefined && outcome === "taken") {
        const last = (await copy.topic.state()).logEndOffset;
        equal((await copy.topic.append(input)).offset, last, "append behind an import");
        copy.records.set(last, known);
        for await (const record of copy.topic.read({ from: last })) copy.same(record, "behind an import");
      }
    }
  } finally {
    if (isHere) await tide.deleteTopic(name);
    else await tide.close();
  }
}

async function remove(world: World, model: TopicModel): Promise<void> {
  const { topic } = model;
  const { deletions } = world;
  await world.tide.deleteTopic(model.name);
  if (!model.exists) {
    equal(world.deletions, deletions, "deleted events of no topic");
    return;
  }
  if (!world.host.isFollower) equal(world.deletions, deletions + 1, "events of a deletion");
  model.forget();
  const record = { value: null, headers: { "tm.type": "added" } };
  equal(await codeOf(topic.append(record)), "UNKNOWN_TOPIC", "append to a deleted topic");
  equal(await codeOf(topic.read().next()), "UNKNOWN_TOPIC", "read of a deleted topic");
  equal(await codeOf(topic.state()), "UNKNOWN_TOPIC", "state of a deleted topic");
  world.handle(model);
  check(model.topic !== topic, "topic() gives another object");
}

async function tools(world: World, model: TopicModel, random: Random): Promise<void> {
  const offset = random.int(model.end);
  const { id, timestamp } = model.records.get(offset) ?? {};
  if (id !== undefined) {
    const status = await model.topic.statusOf(id);
    if (offset < model.start)
      equal(status, { state: "unknown" }, `${model.name}: statusOf ${offset}, log from ${model.start}`);
    else if (!model.gone.has(offset))
      equal(status, { state: "committed", offset }, `${model.name}: statusOf ${offset}`);
    world.count("statusOf");
  }
  if (offset < model.start || !model.exists) return;
  const seek = await model.topic.explainSeek(
    random.chance(0.5) || timestamp === undefined ? { offset } : { timestamp },
  );
  check(offset >= model.end || seek, () => `${model.name}: explainSeek ${offset}`);
}

async function resume(world: World, model: TopicModel, random: Random): Promise<void> {
  const place = world.places.get(model.name);
  if (!place || place.life !== model.life) {
    if (!place) return;
    // Another topic stands here now.
    const changes = model.topic.changes({ from: place.from, copy: place.copy });
    const first = await changes.next();
    await changes.return!();
    equal((first.value as { type?: string }).type, "reset", `${model.name}: changes of an earlier topic`);
    world.count("reset of changes");
    return;
  }
  if (place.from <= model.end) world.watchers.changes(model, random, place);
}

export const STEPS = {
  burst,
  bulk,
  brokenBulk,
  async read(world, model, random) {
    const again = random.u32();
    const { Random } = await import("../prng.ts");
    for (let reads = 0; reads < 4; reads++) {
      const run = () => someRead(model, new Random(again, reads));
      world.count(
        await run().catch(async (thrown: unknown) => {
          if (!(thrown instanceof Failure)) throw thrown;
          // Upkeep that runs by itself may have removed what was expected.
          await world.compare(model, random);
          return run();
        }),
      );
    }
  },
  async trim(_, model, random) {
    const offset = random.between(0, model.end);
    await model.topic.trim(offset);
    model.start = Math.max(model.start, offset);
  },
  async roll(_, model) {
    await model.topic.roll();
  },
  clean,
  settings,
  reopen,
  crash,
  exported,
  remove,
  tools,
  resume,
  refusals,
  async follow(world, model, random) {
    world.watchers.follow(model, random);
  },
  async changes(world, model, random) {
    world.watchers.changes(model, random);
  },
  async view(world, model, random) {
    world.watchers.view(model, random);
  },
  async openAgain(world) {
    if (world.host.openAgain) equal(await codeOf(world.host.openAgain()), "ALREADY_OPEN", "a second open()");
  },
} satisfies Record<string, StepRun>;

export type StepName = keyof typeof STEPS;

export const WEIGHTS: Readonly<Record<StepName, number>> = {
  burst: 30,
  bulk: 12,
  brokenBulk: 3,
  read: 14,
  trim: 4,
  roll: 8,
  clean: 10,
  settings: 8,
  reopen: 6,
  crash: 5,
  exported: 3,
  remove: 3,
  tools: 4,
  resume: 4,
  refusals: 3,
  follow: 4,
  changes: 4,
  view: 5,
  openAgain: 1,
};
