/** Appends: calls that are not awaited, some of which must be refused, in any mix. */
import type { Ack, BatchAck } from "./api.ts";
import type { Random } from "../prng.ts";
import type { World } from "./history.ts";
import { check, equal, type TopicModel } from "./model.ts";
import { draw, type Drawn, type Outcome } from "./records.ts";

interface Call {
  readonly what: "append" | "appendBatch" | "emit";
  readonly model: TopicModel;
  readonly drawn: readonly Drawn[];
  readonly ifEnd: number | undefined;
  readonly acks: "accepted" | "written" | "flushed" | undefined;
  /** The code of the bad record's error. */
  readonly bad: string | undefined;
  readonly done: Promise<Ack>;
  /** Set once it is answered. */
  ack?: Ack;
  error?: { readonly code?: string; readonly details?: Record<string, unknown> };
}

const TOO_LARGE = ["RECORD_TOO_LARGE", "BATCH_TOO_LARGE"];

function start(world: World, model: TopicModel, random: Random, end: number): Call {
  const { topic, kind } = model;
  const what = random.pick(["append", "append", "appendBatch", ...(topic.emit ? ["emit" as const] : [])] as const);
  const count = what === "appendBatch" ? random.between(1, 6) : 1;
  const drawn = Array.from({ length: count }, () => draw(model, random, world.segmentBytes));
  const ifEnd = random.chance(0.12) ? Math.max(0, end + random.pick([0, 0, 0, 1, -1])) : undefined;
  const acks = random.chance(0.3) ? random.pick(["accepted", "written", "flushed"] as const) : undefined;
  const options = { ...(ifEnd !== undefined && { ifEnd }), ...(acks && { acks }) };
  const bad = random.chance(0.08) ? random.pick(kind.bad) : undefined;
  const types = (kind.options(world.host.events) as { schema?: { record?: (...args: unknown[]) => object } }).schema;
  const inputs = drawn.map(({ input, type }) =>
    type === undefined
      ? input
      : (types!.record!(type, input.value, { ...input, value: undefined, ...without(input) }) as never),
  );
  if (bad) {
    const at = random.int(count);
    const { type } = drawn[at]!;
    inputs[at] = (type === undefined ? { ...inputs[at]!, value: bad[1] } : types!.record!("added", bad[1])) as never;
  }
  world.count(what);
  const done: Promise<Ack> =
    what === "appendBatch"
      ? topic.appendBatch(inputs, options)
      : what === "emit" && !bad
        ? topic.emit!(drawn[0]!.type!, drawn[0]!.input.value, { ...without(drawn[0]!.input), ...options })
        : topic.append(inputs[0]!, options);
  const call: Call = { what, model, drawn, ifEnd, acks, bad: bad?.[0], done };
  done.then(
    (ack) => (call.ack = ack),
    (thrown: unknown) => (call.error = thrown as never),
  );
  return call;
}

const without = ({ value: _, ...rest }: Drawn["input"]): object => rest;

const worst = (drawn: readonly Drawn[], segmentBytes: number): Outcome => {
  const all = drawn.map(({ outcome }) => outcome);
  if (all.includes("refused")) return "refused";
  const bytes = drawn.reduce((sum, { known }) => sum + known.bytes + 150, 0) * 1.3;
  return all.includes("either") || bytes > segmentBytes * 0.75 ? "either" : "taken";
};

/** The answers must be those of the same calls, made one after the other. */
export async function settle(world: World, calls: readonly Call[]): Promise<void> {
  for (const call of calls) {
    await call.done.catch(() => undefined);
    const { model, ifEnd, bad, drawn, error, ack } = call;
    const what = `${call.what} of ${drawn.length} to ${model.name}, ifEnd ${ifEnd}`;
    const { end } = model;
    if (error && !error.code) throw new Error(String(error));
    const outcome = worst(drawn, world.segmentBytes);
    if (bad) {
      check(error, `${what}: a bad record was taken`);
      check(
        error.code === bad || TOO_LARGE.includes(error.code!) || error.code === "BACKPRESSURE",
        () => `${what}: ${String(error)}`,
      );
      world.count(`refused ${error.code!}`);
      continue;
    }
    if (error) {
      world.count(`refused ${error.code!}`);
      if (error.code === "OFFSET_CONFLICT") {
        check(ifEnd !== undefined && ifEnd !== end, () => `${what}: OFFSET_CONFLICT, the log ends at ${end}`);
        equal([error.details!["logEndOffset"], error.details!["ifEnd"]], [end, ifEnd], what);
      } else if (TOO_LARGE.includes(error.code!))
        check(
          outcome !== "taken",
          () => `${what}: ${String(error)} of ${drawn.map((each) => each.known.bytes).join()}`,
        );
      else
        check(error.code === "BACKPRESSURE" && model.kind.name === "small-batches", () => `${what}: ${String(error)}`);
      continue;
    }
    check(outcome !== "refused", () => `${what}: taken, with ${drawn.map((each) => each.known.bytes).join()} bytes`);
    check(ifEnd === undefined || ifEnd === end, () => `${what}: taken, and the log ended at ${end}`);
    for (const { known } of drawn) model.add(known);
    const acks = call.acks ?? (model.kind.name === "small-batches" ? "written" : "flushed");
    const expected = {
      offset: model.end - 1,
      acks,
      duplicate: false,
      base: call.what === "appendBatch" ? end : undefined,
    };
    const { offset, duplicate, baseOffset } = ack as BatchAck;
    equal({ offset, acks: ack!.acks, duplicate, base: baseOffset }, expected, what);
    model.records.get(offset)!.id = ack!.id;
    equal(await ack!.committed, { offset }, `${what}: committed`);
  }
}

export function begin(world: World, models: readonly TopicModel[], random: Random, count: number): Call[] {
  const ends = new Map(models.map((model) => [model, model.end]));
  return Array.from({ length: count }, () => {
    const model = random.pick(models);
    const call = start(world, model, random, ends.get(model)!);
    ends.set(model, ends.get(model)! + call.drawn.length);
    return call;
  });
}

/** Whether this call was answered as durable by now. */
export const isAcked = ({ ack }: Call): boolean => ack !== undefined && ack.acks !== "accepted";
export type { Call };

async function* slowly<T>(items: readonly T[], random: Random): AsyncGenerator<T> {
  for (const item of items) {
    if (random.chance(0.3)) await new Promise((resolve) => setTimeout(resolve, 0));
    yield item;
  }
}

export async function bulk(world: World, model: TopicModel, random: Random): Promise<void> {
  const { topic, kind } = model;
  const many = random.chance(0.1) ? random.between(200, 600) : random.between(0, 40);
  const drawn = Array.from({ length: many }, () => draw(model, random, world.segmentBytes)).filter(
    ({ outcome, type }) => outcome === "taken" && type === undefined,
  );
  const inputs: unknown[] = drawn.map(({ input }) => input);
  const badAt = random.chance(0.25) ? random.int(inputs.length + 1) : -1;
  const bad = random.pick(kind.bad);
  if (badAt >= 0) inputs.splice(badAt, 0, random.chance(0.5) ? null : { value: bad[1] });
  const source = random.pick([
    () => inputs,
    () => slowly(inputs, random),
    () => inputs.map((input) => Promise.resolve(input)),
    () => new Set(inputs),
    () => inputs.values(),
  ])();
  let last = { appended: 0, acked: 0 };
  const onProgress = (now: { appended: number; acked: number }): void => {
    check(now.acked <= now.appended && now.appended >= last.appended && now.acked >= last.acked, "progress");
    last = { ...now };
  };
  const done = await topic.appendAll(source as never, random.chance(0.5) ? { onProgress } : {}).then(
    (result) => ({ result }),
    (error: { code?: string; details?: { record?: number } }) => ({ error }),
  );
  const { end } = model;
  const what = `appendAll of ${inputs.length} to ${model.name}`;
  if ("error" in done) {
    check(badAt >= 0, () => `${what}: ${String(done.error)}`);
    equal(done.error.details?.record, badAt, `${what}: details.record of ${String(done.error)}`);
    for (const { known } of drawn.slice(0, badAt)) model.add(known);
    // Those behind it may have been taken where the refusal was known later.
    if (kind.isTyped) {
      const { logEndOffset } = await topic.state();
      for (const { known } of drawn.slice(badAt, badAt + logEndOffset - model.end)) model.add(known);
    }
    world.count("appendAll refused");
    return;
  }
  check(badAt < 0, () => `${what}: a bad record at ${badAt} was taken`);
  for (const { known } of drawn) model.add(known);
  const isNone = drawn.length === 0;
  const expected = {
    appended: drawn.length,
    firstOffset: isNone ? undefined : end,
    lastOffset: isNone ? undefined : model.end - 1,
  };
  equal(done.result, expected, what);
}

/** An appendAll() that is aborted, or left by a source that throws. */
export async function brokenBulk(world: World, model: TopicModel, random: Random): Promise<void> {
  const drawn = Array.from({ length: 30 }, () => draw(model, random, world.segmentBytes)).filter(
    ({ outcome, type }) => outcome === "taken" && type === undefined,
  );
  const at = random.int(drawn.length + 1);
  const abort = new AbortController();
  const isAbort = random.chance(0.5);
  const reason = new Error("enough");
  const source = (async function* () {
    for (const [i, { input }] of drawn.entries()) {
      if (i === at) {
        if (!isAbort) throw reason;
        abort.abort(reason);
      }
      if (random.chance(0.2)) await new Promise((resolve) => setTimeout(resolve, 0));
      yield input;
    }
  })();
  const outcome = await model.topic.appendAll(source, { signal: abort.signal }).then(
    () => "done",
    (thrown: unknown) => thrown,
  );
  equal(outcome, at < drawn.length ? reason : "done", `broken appendAll to ${model.name}`);
  // An append behind it has its place behind all of them.
  const mark = draw(model, random, world.segmentBytes);
  if (mark.type !== undefined || mark.outcome !== "taken") {
    for (const { known } of drawn.slice(0, (await settledEnd(model)) - model.end)) model.add(known);
  } else {
    const { offset } = await model.topic.append(mark.input);
    const taken = offset - model.end;
    const most = isAbort ? at + 1 : at;
    check(taken <= most && (isAbort || taken === at), () => `broken appendAll to ${model.name}: ${taken} of ${at}`);
    for (const { known } of drawn.slice(0, taken)) model.add(known);
    model.add(mark.known);
  }
}

async function settledEnd(model: TopicModel): Promise<number> {
  for (let before = -1; ;) {
    const { logEndOffset } = await model.topic.state();
    if (logEndOffset === before) return before;
    before = logEndOffset;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Resolves once what was accepted is durable. */
export async function quiet(model: TopicModel): Promise<void> {
  for (let tries = 0; tries < 500; tries++) {
    const { highWatermark, logEndOffset } = await model.topic.state();
    if (highWatermark === logEndOffset && logEndOffset >= model.end) return;
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}
