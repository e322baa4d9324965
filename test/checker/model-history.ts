/**
 * Histories of a log that does everything right, drawn by fast-check, and one harm for each class of anomaly. The model
 * is a list: an append puts values at the next offsets, polls copy from the list, trims and compactions remove from it.
 */
import fc from "fast-check";
import type { Anomaly } from "./checker.ts";
import type { AppendOp, Op, Polled, PollOp, Rules, Sent } from "./history.ts";

export const TOPIC = "t";

type Step =
  | {
      readonly do: "append";
      readonly by: number;
      readonly records: readonly { readonly key: number; readonly tombstone: boolean }[];
      readonly outcome: "ok" | "fail" | "info-done" | "info-not";
      readonly late: number;
    }
  | { readonly do: "poll"; readonly by: number; readonly max: number }
  | { readonly do: "assign"; readonly by: number; readonly to: number }
  | { readonly do: "trim"; readonly part: number; readonly known: boolean }
  | { readonly do: "clean" }
  | { readonly do: "read-all" };

const small = fc.nat({ max: 2 });
const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        do: fc.constant("append" as const),
        by: small,
        records: fc.array(fc.record({ key: small, tombstone: fc.boolean() }), { minLength: 1, maxLength: 4 }),
        outcome: fc.constantFrom("ok", "ok", "ok", "fail", "info-done", "info-not"),
        late: fc.nat({ max: 25 }),
      }),
    },
    {
      weight: 6,
      arbitrary: fc.record({ do: fc.constant("poll" as const), by: small, max: fc.integer({ min: 1, max: 6 }) }),
    },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("assign" as const), by: small, to: fc.nat({ max: 100 }) }) },
    {
      weight: 1,
      arbitrary: fc.record({ do: fc.constant("trim" as const), part: fc.nat({ max: 100 }), known: fc.boolean() }),
    },
    { weight: 1, arbitrary: fc.constant({ do: "clean" as const }) },
    { weight: 1, arbitrary: fc.constant({ do: "read-all" as const }) },
  ),
  { minLength: 8, maxLength: 50 },
);

export interface Modelled {
  readonly history: readonly Op[];
  readonly rules: Rules;
}

/** Every history ends with a reading of the whole log. */
export const modelHistories: fc.Arbitrary<Modelled> = fc
  .record({ steps, compacted: fc.boolean(), retained: fc.boolean() })
  .map(({ steps: drawn, compacted, retained }) =>
    new Model(compacted, retained && !compacted).run([...drawn, { do: "read-all" }]),
  );

const RETAINED = 5;

class Model {
  readonly #history: Op[] = [];
  #log: { readonly offset: number; readonly sent: Sent }[] = [];
  #start = 0;
  #end = 0;
  #values = 0;
  #now = 0;
  readonly #positions = new Map<string, number>();

  constructor(
    readonly compacted: boolean,
    readonly retained: boolean,
  ) {}

  run(drawn: readonly Step[]): Modelled {
    for (const step of drawn) {
      this.#now += 10;
      this.#take(step);
    }
    const rules = {
      ...(this.compacted && { compacted: true, tombstonesExpire: true }),
      ...(this.retained && { retainRecords: RETAINED }),
    };
    return { history: this.#history, rules: { [TOPIC]: rules } };
  }

  #take(step: Step): void {
    const times = { invoke: this.#now, complete: this.#now + 1 };
    switch (step.do) {
      case "append":
        return this.#append(step);
      case "poll":
        return this.#poll(`reader-${step.by}`, step.max);
      case "assign": {
        const process = `reader-${step.by}`;
        this.#positions.set(process, this.#start + Math.floor(((this.#end - this.#start) * step.to) / 100));
        this.#history.push({ type: "assign", process, ...times, outcome: "ok", topics: [TOPIC] });
        return;
      }
      case "trim": {
        const to = this.#start + Math.floor(((this.#end - this.#start) * step.part) / 100);
        this.#cut(to);
        this.#history.push({
          type: "trim",
          process: "keeper",
          topic: TOPIC,
          to,
          outcome: step.known ? "ok" : "info",
          invoke: times.invoke,
          ...(step.known && { complete: times.complete }),
        });
        return;
      }
      case "clean":
        if (this.retained) this.#cut(this.#end - RETAINED);
        if (this.compacted) this.#compact();
        return;
      case "read-all":
        this.#history.push(
          {
            type: "poll",
            process: "auditor",
            ...times,
            outcome: "ok",
            topic: TOPIC,
            wholeLog: true,
            records: this.#polled(this.#start, Infinity),
          },
          {
            type: "assign",
            process: "auditor",
            invoke: times.complete,
            complete: times.complete,
            outcome: "ok",
            topics: [TOPIC],
          },
        );
    }
  }

  #append({ by, records, outcome, late }: Step & { do: "append" }): void {
    const sent: Sent[] = records.map(({ key, tombstone }) => ({
      value: ++this.#values,
      ...(this.compacted && { key: `k${key}`, tombstone }),
    }));
    const happens = outcome === "ok" || outcome === "info-done";
    const offsets = sent.map((_, i) => this.#end + i);
    if (happens) {
      for (const [i, each] of sent.entries()) this.#log.push({ offset: offsets[i]!, sent: each });
      this.#end += sent.length;
    }
    const common = { type: "append", process: `writer-${by}`, topic: TOPIC, records: sent, invoke: this.#now } as const;
    const complete = this.#now + 1 + late;
    if (outcome === "ok") this.#history.push({ ...common, outcome, complete, offsets });
    else if (outcome === "fail") this.#history.push({ ...common, outcome, complete });
    else this.#history.push({ ...common, outcome: "info" });
  }

  #poll(process: string, max: number): void {
    const from = this.#positions.get(process) ?? this.#start;
    const times = { invoke: this.#now, complete: this.#now + 1, process };
    if (from < this.#start) {
      // The position is below the log's start, so the process has to seek first.
      this.#positions.set(process, this.#start);
      this.#history.push({ type: "assign", ...times, outcome: "ok", topics: [TOPIC] });
      return;
    }
    const records = this.#polled(from, max);
    this.#positions.set(process, (records.at(-1)?.offset ?? from - 1) + 1);
    this.#history.push({ type: "poll", ...times, outcome: "ok", topic: TOPIC, records });
  }

  #polled(from: number, max: number): Polled[] {
    return this.#log
      .filter(({ offset }) => offset >= from)
      .slice(0, max)
      .map(({ offset, sent }) => ({ offset, value: sent.value }));
  }

  #cut(to: number): void {
    this.#start = Math.max(this.#start, to);
    this.#log = this.#log.filter(({ offset }) => offset >= this.#start);
  }

  #compact(): void {
    const newest = new Map(this.#log.map(({ offset, sent }) => [sent.key, offset]));
    this.#log = this.#log.filter(({ offset, sent }) => newest.get(sent.key) === offset && !sent.tombstone);
  }
}

// --- harms -----------------------------------------------------------------------------------------------------------

/** Picks one element of a list. Undefined if the list is empty. */
export type Pick = <T>(list: readonly T[]) => T | undefined;

const replaced = (history: readonly Op[], changes: ReadonlyMap<Op, Op | undefined>): Op[] =>
  history.flatMap((op) => (changes.has(op) ? (changes.get(op) ?? []) : op));
const one = (history: readonly Op[], op: Op, by: Op | undefined): Op[] => replaced(history, new Map([[op, by]]));
const isAppend = (op: Op): op is AppendOp => op.type === "append";
const acked = (op: Op): op is AppendOp & { offsets: readonly number[] } => isAppend(op) && op.outcome === "ok";
const isPoll = (op: Op): op is PollOp => op.type === "poll";
const last = (history: readonly Op[]): PollOp =>
  history.findLast((op): op is PollOp => isPoll(op) && op.wholeLog === true)!;
const without = (poll: PollOp, value: unknown): PollOp => ({
  ...poll,
  records: poll.records.filter((record) => record.value !== value),
});
/** Pairs of consecutive polls of one process with no assign between them. */
function neighbours(history: readonly Op[]): [PollOp, PollOp][] {
  const before = new Map<string, PollOp>();
  const pairs: [PollOp, PollOp][] = [];
  for (const op of history) {
    if (op.type === "assign") before.delete(op.process);
    if (!isPoll(op) || op.records.length === 0) continue;
    const earlier = before.get(op.process);
    if (earlier) pairs.push([earlier, op]);
    before.set(op.process, op);
  }
  return pairs;
}

type Harm = (history: readonly Op[], pick: Pick) => readonly Op[] | undefined;

/** Each harm puts its own class of anomaly into a good history of an append-only topic, or finds no place for it. */
export const HARMS: Readonly<Record<Anomaly, Harm>> = {
  "lost-write"(history, pick) {
    const { records, invoke } = last(history);
    const sent = new Set(
      history
        .filter(acked)
        .filter((op) => op.complete! < invoke)
        .flatMap((op) => op.records.map(({ value }) => value)),
    );
    const victim = pick(records.slice(0, -1).filter(({ value }) => sent.has(value)));
    return victim && history.map((op) => (isPoll(op) ? without(op, victim.value) : op));
  },
  unseen(history) {
    const reading = last(history);
    const victim = reading.records.at(-1);
    const sent = history
      .filter(acked)
      .some((op) => op.complete! < reading.invoke && op.records.some(({ value }) => value === victim?.value));
    return sent ? one(history, reading, without(reading, victim!.value)) : undefined;
  },
  duplicate(history, pick) {
    const reading = last(history);
    const twice = pick(reading.records);
    return (
      twice &&
      one(history, reading, {
        ...reading,
        records: [...reading.records, { offset: reading.records.at(-1)!.offset + 1, value: twice.value }],
      })
    );
  },
  "inconsistent-offsets"(history, pick) {
    const reading = last(history);
    const at = pick([...reading.records.keys()].slice(1));
    if (at === undefined) return undefined;
    const swapped = reading.records.map(({ offset, value }, i) => ({
      offset,
      value: i === at ? reading.records[at - 1]!.value : i === at - 1 ? reading.records[at]!.value : value,
    }));
    const known = new Set(
      history
        .filter((op) => op !== reading)
        .flatMap((op) => (acked(op) ? op.offsets : isPoll(op) ? op.records.map(({ offset }) => offset) : [])),
    );
    return known.has(reading.records[at]!.offset) || known.has(reading.records[at - 1]!.offset)
      ? one(history, reading, { ...reading, records: swapped })
      : undefined;
  },
  "aborted-read"(history, pick) {
    const read = new Set(last(history).records.map(({ value }) => value));
    const victim = pick(
      history.filter(isAppend).filter((op) => op.outcome !== "fail" && op.records.some(({ value }) => read.has(value))),
    );
    if (!victim) return undefined;
    const { offsets: _, ...rest } = victim;
    return one(history, victim, { ...rest, outcome: "fail", complete: victim.invoke + 1 });
  },
  "never-sent"(history, pick) {
    const read = new Set(last(history).records.map(({ value }) => value));
    const victim = pick(history.filter(isAppend).filter((op) => op.records.some(({ value }) => read.has(value))));
    return victim && one(history, victim, undefined);
  },
  "poll-skip"(history, pick) {
    const pair = pick(neighbours(history).filter(([, { records }]) => records.length > 1));
    const known = new Set(
      history
        .filter((op) => op !== pair?.[1])
        .flatMap((op) => (acked(op) ? op.offsets : isPoll(op) ? op.records.map(({ offset }) => offset) : [])),
    );
    return pair && known.has(pair[1].records[0]!.offset)
      ? one(history, pair[1], { ...pair[1], records: pair[1].records.slice(1) })
      : undefined;
  },
  "nonmonotonic-poll"(history, pick) {
    const pair = pick(neighbours(history));
    return pair && one(history, pair[1], { ...pair[1], records: [pair[0].records.at(-1)!, ...pair[1].records] });
  },
  "int-poll-skip"(history, pick) {
    const { records } = last(history);
    const poll = pick(history.filter(isPoll).filter((op) => !op.wholeLog && op.records.length > 2));
    const middle = pick(
      poll?.records.slice(1, -1).filter(({ value }) => records.some((each) => each.value === value)) ?? [],
    );
    return middle && one(history, poll!, without(poll!, middle.value));
  },
  "int-nonmonotonic-poll"(history, pick) {
    const poll = pick(history.filter(isPoll).filter((op) => op.records.length > 1));
    const at = pick([...(poll?.records.keys() ?? [])].slice(1));
    if (!poll || at === undefined) return undefined;
    return one(history, poll, {
      ...poll,
      records: poll.records.with(at, poll.records[at - 1]!).with(at - 1, poll.records[at]!),
    });
  },
  "nonmonotonic-send"(history, pick) {
    const second = pick(
      history.filter(acked).filter((op, i, all) => all.slice(0, i).some((each) => each.process === op.process)),
    );
    const first =
      second && history.filter(acked).findLast((op) => op.process === second.process && op.invoke < second.invoke);
    return (
      first &&
      replaced(history, new Map([[first, { ...first, offsets: first.offsets.map((offset) => offset + 1000) }]]))
    );
  },
  "int-nonmonotonic-send"(history, pick) {
    const op = pick(history.filter(acked).filter(({ offsets }) => offsets.length > 1));
    return op && one(history, op, { ...op, offsets: op.offsets.toReversed() });
  },
  "trim-undone"(history, pick) {
    const poll = pick(history.filter(isPoll).filter(({ records }) => records.length > 0));
    if (!poll) return undefined;
    return [
      ...history,
      {
        type: "trim",
        process: "keeper",
        topic: TOPIC,
        to: poll.records[0]!.offset + 1,
        outcome: "ok",
        invoke: poll.invoke - 2,
        complete: poll.invoke - 1,
      },
    ];
  },
};
