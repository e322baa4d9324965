/**
 * Random histories over the public API, as an application uses it: topics of every kind, appends, reads, upkeep,
 * settings, closing and opening. After each step all that can be observed is compared with a model (model.ts).
 *
 * A step draws from a stream of its own, so a shorter list of steps is the same history without some of them.
 */
import { Random } from "../prng.ts";
import type { Tide, TideEvent } from "./api.ts";
import { type EventsOf, KINDS } from "./kinds.ts";
import { check, equal, Failure, TopicModel } from "./model.ts";
import { quiet } from "./appends.ts";
import { STEPS, type StepName, WEIGHTS } from "./steps.ts";
import { readAll } from "./reads.ts";
import { Watchers } from "./watchers.ts";

/** Where a history runs. */
export interface Host {
  readonly events: EventsOf;
  open(segmentBytes: number): Promise<Tide>;
  /** Opens the same once more, which must be refused. Undefined where others may open it. */
  openAgain?(): Promise<Tide>;
  /** Takes what a crash would leave now. */
  crash?(): void;
  /** From now on open() opens what crash() took. */
  useCrashed?(): void;
  /** Another tab leads: calls go over a port, and events come some time later. */
  readonly isFollower?: boolean;
  /** Takes the leading tab away. */
  strike?(): Promise<void>;
  /** Another tide, for imports. */
  openOther(): Promise<Tide>;
}

export interface Step {
  readonly name: StepName;
  readonly seed: number;
}

export function stepsOf(seed: number, count: number): Step[] {
  const random = new Random(seed, 1);
  return Array.from({ length: count }, () => ({ name: random.weighted(WEIGHTS), seed: random.u32() }));
}

const TOPICS = 3;
const STEP_MS = 30_000;

export class World {
  tide!: Tide;
  readonly topics: TopicModel[];
  readonly host: Host;
  readonly counts: Record<string, number>;
  readonly watchers = new Watchers(this);
  readonly segmentBytes: number;
  /** The settings of the last event for each topic, in this opening. */
  told = new Map<string, unknown>();
  deletions = 0;
  /** Where changes may be continued. */
  readonly places = new Map<string, { readonly from: number; readonly copy: string | null; readonly life: number }>();
  lastEvents: TideEvent[] = [];

  constructor(seed: number, host: Host, counts: Record<string, number>) {
    const random = new Random(seed, 2);
    this.host = host;
    this.counts = counts;
    this.segmentBytes = random.pick([65_536, 65_536, 131_072]);
    const names = ["t", "__proto__", "constructor", "a.b-C_9", "x".repeat(249)];
    this.topics = Array.from({ length: TOPICS }, () => {
      const name = names.splice(random.int(names.length), 1)[0]!;
      return new TopicModel(name, random.pick(KINDS));
    });
  }

  count(what: string, n = 1): void {
    this.counts[what] = (this.counts[what] ?? 0) + n;
  }

  handle(model: TopicModel): void {
    model.topic = this.tide.topic(model.name, model.kind.options(this.host.events)) as never;
  }

  async open(): Promise<void> {
    this.tide = await this.host.open(this.segmentBytes);
    this.told = new Map();
    this.lastEvents = [];
    this.tide.on((event) => {
      this.lastEvents.push(event);
      if (event.type === "settings") this.told.set(event.topic, event.settings);
      if (event.type === "deleted") {
        this.deletions++;
        this.told.delete(event.topic);
      }
    });
    for (const model of this.topics) {
      // A leader that stays keeps them, and one that comes anew does not know them.
      model.isUnsure ||= this.host.isFollower === true && Object.keys(model.given).length > 0;
      model.given = {};
      this.handle(model);
    }
  }

  /** Everything that can be seen of a topic. */
  async compare(model: TopicModel, random: Random): Promise<void> {
    await quiet(model);
    const state = await model.topic.state();
    const { name } = model;
    if (!model.exists) equal(state.segments, [], `${name}: made by an append that was refused`);
    if (model.isUnsure && model.exists) model.sure(state.settings);
    equal([state.highWatermark, state.logEndOffset], [model.end, model.end], `${name}: end`);
    equal(state.settings, model.settings, `${name}: settings`);
    if (this.told.has(name) && !this.host.isFollower)
      equal(this.told.get(name), model.settings, `${name}: the last event of settings`);
    equal(state.quarantined, [], `${name}: quarantined`);
    if (state.logStartOffset !== model.start) this.#retired(model, state.logStartOffset);
    const found = await readAll(model, random);
    model.missing(found, state);
    model.segmentsFit(state);
    model.state = state;
  }

  /** Retention may have moved the start, to the end of a segment. */
  #retired(model: TopicModel, start: number): void {
    const { retention } = model.settings;
    check(
      retention && Object.keys(retention).length > 0 && start > model.start && start <= model.end,
      () => `${model.name}: the log starts at ${start}, not ${model.start}`,
    );
    model.start = start;
  }
}

/** A read that is given less than it waits for never ends. */
async function inTime(work: Promise<void>): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Failure("the step does not end")), STEP_MS);
  });
  await Promise.race([work, late]).finally(() => clearTimeout(timer));
}

export async function runHistory(
  seed: number,
  steps: readonly Step[],
  host: Host,
  counts: Record<string, number>,
): Promise<void> {
  const world = new World(seed, host, counts);
  await world.open();
  try {
    for (const [i, { name, seed: stepSeed }] of steps.entries()) {
      const random = new Random(stepSeed);
      const model = random.pick(world.topics);
      world.count(name);
      try {
        await inTime(
          (async () => {
            await STEPS[name](world, model, random);
            for (const each of world.topics) await world.compare(each, random);
            await world.watchers.compare();
          })(),
        );
        const expected = world.topics
          .filter(({ exists, name }) => exists && !name.startsWith("__"))
          .map((each) => each.name);
        equal([...(await world.tide.topics())].sort(), expected.sort(), "topics()");
      } catch (thrown) {
        const error = thrown instanceof Error ? thrown : new Error(String(thrown));
        error.message = `step ${i} (${name} of ${model.name.slice(0, 20)}, ${model.kind.name}): ${error.message}`;
        throw error;
      }
    }
  } finally {
    world.watchers.end();
    await world.tide.close().catch((thrown: unknown) => {
      if (!(thrown instanceof Failure)) throw thrown;
    });
  }
}
