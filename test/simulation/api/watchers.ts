/** Follows, changes and views that live over many steps. After each step they must have seen all that is there. */
import type { Change, TopicRecord, View } from "./api.ts";
import type { Random } from "../prng.ts";
import type { World } from "./history.ts";
import { check, equal, type TopicModel } from "./model.ts";

const WAIT_MS = 25_000;

interface Watcher {
  readonly model: TopicModel;
  readonly life: number;
  readonly what: string;
  /** Undefined where it must have ended, as after a deletion. */
  compare(): Promise<void>;
  /** Must have ended as CLOSED. */
  closed(): Promise<void>;
  end(): void;
}

/** Waits until it is true. */
async function until(isTrue: () => boolean, changed: () => Promise<unknown>, what: () => string): Promise<void> {
  const late = Date.now() + WAIT_MS;
  while (!isTrue()) {
    check(Date.now() < late, () => `${what()}: did not come`);
    await Promise.race([changed(), new Promise((resolve) => setTimeout(resolve, 50))]);
  }
}

class Signal {
  #wake!: () => void;
  next!: Promise<void>;
  constructor() {
    this.tell();
  }
  tell(): void {
    this.#wake?.();
    this.next = new Promise((resolve) => (this.#wake = resolve));
  }
}

const codeOf = (thrown: unknown): unknown => (thrown as { code?: unknown } | null)?.code ?? thrown;

/** A loop over what a topic tells, and how it ended. */
class Loop {
  readonly abort = new AbortController();
  ended: { thrown?: unknown } | undefined;
  readonly #signal = new Signal();

  begin<T>(all: AsyncIterable<T>, take: (each: T) => void): void {
    void (async () => {
      try {
        for await (const each of all) {
          take(each);
          this.#signal.tell();
        }
        this.ended = {};
      } catch (thrown) {
        this.ended = { thrown };
      }
      this.#signal.tell();
    })();
  }

  /** Resolves when it is so, or the loop has ended. */
  until(isSo: () => boolean, what: () => string): Promise<void> {
    return until(
      () => this.ended !== undefined || isSo(),
      () => this.#signal.next,
      what,
    );
  }

  async endsAs(code: string, what: string): Promise<void> {
    await this.until(
      () => false,
      () => what,
    );
    equal(codeOf(this.ended!.thrown), code, what);
  }
}

/** The records that a watcher was told, in order, and what it knows it has not been told. */
class Told {
  at: number;
  readonly seen = new Set<number>();
  constructor(
    readonly model: TopicModel,
    readonly from: number,
    readonly what: string,
  ) {
    this.at = from;
  }
  record(record: TopicRecord): void {
    check(record.offset >= this.at, () => `${this.what}: ${record.offset} behind ${this.at}`);
    this.pending.push(record);
    this.seen.add(record.offset);
    this.at = record.offset + 1;
  }
  /** Compared once the model has the step's records. */
  readonly pending: TopicRecord[] = [];
  compare(): void {
    for (const record of this.pending.splice(0)) this.model.same(record, this.what);
    for (const offset of this.model.offsets(this.from))
      check(this.seen.has(offset), () => `${this.what}: ${offset} was not told (of ${this.model.end})`);
  }
}

export class Watchers {
  readonly #world: World;
  #all: Watcher[] = [];

  constructor(world: World) {
    this.#world = world;
  }

  get count(): number {
    return this.#all.length;
  }

  async compare(): Promise<void> {
    const still: Watcher[] = [];
    for (const watcher of this.#all) {
      await watcher.compare();
      if (watcher.life === watcher.model.life) still.push(watcher);
    }
    this.#all = still;
  }

  end(): void {
    for (const watcher of this.#all.splice(0)) watcher.end();
  }

  /** The tide was closed. */
  async closed(): Promise<void> {
    for (const watcher of this.#all.splice(0)) await watcher.closed();
  }

  follow(model: TopicModel, random: Random): void {
    const from = random.between(model.start, model.end);
    const what = `follow of ${model.name} from ${from}`;
    const told = new Told(model, from, what);
    const loop = new Loop();
    loop.begin(model.topic.read({ from, follow: true, signal: loop.abort.signal }), (record) => told.record(record));
    const life = model.life;
    this.#all.push({
      model,
      life,
      what,
      compare: async () => {
        if (life !== model.life) return loop.endsAs("UNKNOWN_TOPIC", what);
        const wanted = model.offsets(from).at(-1) ?? -1;
        await loop.until(
          () => told.at > wanted,
          () => `${what} at ${told.at}`,
        );
        if (loop.ended) {
          // Records that it had not read were removed.
          equal(codeOf(loop.ended.thrown), "OFFSET_OUT_OF_RANGE", what);
          check(told.at < model.start, () => `${what}: ended at ${told.at}, log from ${model.start}`);
          this.#all = this.#all.filter((each) => each.what !== what);
          return;
        }
        told.compare();
      },
      closed: () => loop.endsAs("CLOSED", what),
      end: () => loop.abort.abort(),
    });
  }

  changes(model: TopicModel, random: Random, resume?: { readonly from: number; readonly copy: string | null }): void {
    const from = resume?.from ?? random.between(model.start, model.end);
    const what = `changes of ${model.name} from ${from}`;
    const told = new Told(model, from, what);
    const loop = new Loop();
    let level: Extract<Change, { type: "level" }> | undefined;
    const options = { from, signal: loop.abort.signal, ...(resume && { copy: resume.copy }) };
    loop.begin(model.topic.changes(options), (change) => {
      if (change.type === "append") told.record(change.record);
      else if (change.type === "gap") {
        check(change.from <= told.at, () => `${what}: gap from ${change.from}, at ${told.at}`);
        told.at = change.to;
        this.#world.count("gap of changes");
      } else if (change.type === "level") level = change;
      else throw new Error(`${what}: ${change.type}`);
    });
    const life = model.life;
    this.#all.push({
      model,
      life,
      what,
      compare: async () => {
        if (life !== model.life) return loop.endsAs("UNKNOWN_TOPIC", what);
        await loop.until(
          () => level !== undefined && level.watermark >= model.end,
          () => `${what} at ${told.at}, ${level?.watermark}`,
        );
        if (loop.ended) throw loop.ended.thrown ?? new Error(`${what} has ended`);
        equal([level!.watermark, level!.live], [model.end, true], `${what}: level`);
        told.compare();
        if (model.exists) this.#world.places.set(model.name, { from: level!.watermark, copy: level!.copy, life });
      },
      closed: () => loop.endsAs("CLOSED", what),
      end: () => loop.abort.abort(),
    });
  }

  view(model: TopicModel, random: Random): void {
    const name = random.pick(["a", "b"]);
    const isKept = random.chance(0.7);
    const restarts = name === "b";
    const what = `view ${name} of ${model.name}`;
    if (this.#all.some((each) => each.what === what && each.model === model)) return;
    const abort = new AbortController();
    const view: View<ViewState> = model.topic.view<ViewState>({
      name,
      initial: () => [],
      apply: (state, record) => [...state, [record.offset, record.id, JSON.stringify(record.value)?.length ?? 0]],
      gap: restarts ? () => "restart" : (state, { from, to }) => [...state, [from, "gap", to]],
      check: random.chance(0.3),
      signal: abort.signal,
      snapshot: isKept && random.pick([{}, { everyRecords: 3, everyMs: 1 }]),
    });
    let heard: ViewState | undefined;
    const signal = new Signal();
    view.subscribe((current) => {
      heard = current;
      signal.tell();
    });
    const life = model.life;
    const saves = isKept && random.chance(0.5);
    this.#all.push({
      model,
      life,
      what,
      compare: async () => {
        if (life !== model.life) {
          const code = await view.ready().then(() => "ready", codeOf);
          return equal(code, "UNKNOWN_TOPIC", what);
        }
        await view.ready();
        await until(
          () => view.at.offset >= model.end,
          () => signal.next,
          () => `${what} at ${view.at.offset}`,
        );
        equal(view.at, { offset: model.end, provisional: 0 }, what);
        check(view.current === view.committed, `${what}: current is not committed`);
        if (heard) check(heard === view.current || heard.length <= view.current.length, `${what}: heard of another`);
        this.#fits(model, view.current, what, restarts);
        if (saves) {
          await view.save();
          this.#world.count("view saved");
        }
      },
      closed: async () => {
        let code: unknown = "ready";
        const ask = async () => (code = await view.ready().then(() => "ready", codeOf));
        await until(
          () => code !== "ready",
          ask,
          () => what,
        );
        equal(code, "CLOSED", what);
      },
      end: () => (random.chance(0.5) ? abort.abort() : view.close()),
    });
  }

  #fits(model: TopicModel, state: ViewState, what: string, restarts: boolean): void {
    let at = -1;
    const has = new Set<number>();
    for (const [offset, id, more] of state) {
      if (id === "gap") {
        this.#world.count("gap of a view");
        check(!restarts && offset >= at && more > offset, () => `${what}: gap ${offset}-${more} at ${at}`);
        at = more;
        continue;
      }
      check(offset >= at, () => `${what}: ${offset} behind ${at}`);
      at = offset + 1;
      const known = model.records.get(offset);
      check(known, () => `${what}: ${offset} of ${model.end}`);
      equal(id, known.id ?? id, `${what}: id at ${offset}`);
      has.add(offset);
    }
    for (const offset of model.offsets()) check(has.has(offset), () => `${what}: without ${offset}`);
  }
}

/** Offset, id, and length of the value; of a gap: from, "gap", to. */
type ViewState = readonly (readonly [number, string, number])[];
