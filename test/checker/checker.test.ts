/**
 * Tests of the checker: every class of anomaly is found where it is planted, and not in a similar history that is
 * right. Drawn good histories have no findings; with one harm done to them they have.
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ANOMALIES, type Anomaly, check, printFinding } from "./checker.ts";
import { type AppendOp, type Op, type Outcome, type PollOp, printHistory, type Rules, type Sent } from "./history.ts";
import { HARMS, modelHistories, type Pick, TOPIC } from "./model-history.ts";

const SEED = 20_260_801;

// --- short forms: at(time, …) and one-letter values ------------------------------------------------------------------

const sentOf = (values: string): Sent[] =>
  [...values.matchAll(/(?:(\w)=)?(\w)(†?)/g)].map(([, key, value, dead]) => ({
    value: value!,
    ...(key !== undefined && { key }),
    ...(dead && { tombstone: true }),
  }));

function send(
  time: number,
  process: string,
  values: string,
  offsets: readonly number[] | "fail" | "info" | "no-offsets",
  took = 1,
): AppendOp {
  const outcome: Outcome = offsets === "fail" || offsets === "info" ? offsets : "ok";
  const op = { type: "append", process, topic: "t", records: sentOf(values), invoke: time, outcome } as const;
  return {
    ...op,
    ...(outcome !== "info" && { complete: time + took }),
    ...(typeof offsets !== "string" && { offsets }),
  };
}

function poll(time: number, process: string, records: string, wholeLog = false, took = 1): PollOp {
  const found = [...records.matchAll(/(\d+):(\w)/g)].map(([, offset, value]) => ({
    offset: Number(offset),
    value: value!,
  }));
  return {
    type: "poll",
    process,
    topic: "t",
    records: found,
    invoke: time,
    complete: time + took,
    outcome: "ok",
    ...(wholeLog && { wholeLog }),
  };
}
const all = (time: number, records: string): PollOp => poll(time, `auditor-${time}`, records, true);
const assign = (time: number, process: string): Op => ({
  type: "assign",
  process,
  topics: ["t"],
  invoke: time,
  complete: time,
  outcome: "ok",
});
const trim = (time: number, to: number, outcome: Outcome = "ok"): Op => ({
  type: "trim",
  process: "keeper",
  topic: "t",
  to,
  invoke: time,
  complete: time + 1,
  outcome,
});

interface Example {
  readonly what: string;
  readonly history: readonly Op[];
  readonly rules?: Rules[string];
  readonly found: readonly Anomaly[];
}

const abc = [send(1, "w", "a", [0]), send(3, "w", "b", [1]), send(5, "w", "c", [2])];
const keyed = [send(1, "w", "k=a", [0]), send(3, "w", "k=b", [1]), send(5, "w", "m=c", [2])];

const EXAMPLES: Record<Anomaly, readonly Example[]> = {
  "lost-write": [
    {
      what: "acked, read past, never read",
      history: [...abc, poll(7, "r", "0:a"), poll(9, "q", "2:c")],
      found: ["lost-write"],
    },
    {
      what: "somebody else read it",
      history: [...abc, poll(7, "r", "0:a"), poll(9, "q", "2:c"), poll(11, "s", "1:b")],
      found: [],
    },
    {
      what: "read once, and gone from a later reading of the whole log",
      history: [...abc, all(7, "0:a 1:b 2:c"), all(9, "0:a 2:c")],
      found: ["int-poll-skip", "lost-write"],
    },
    {
      what: "acked after that reading began",
      history: [...abc, send(7, "v", "d", [3], 4), all(9, "0:a 1:b 2:c"), all(20, "0:a 1:b 2:c 3:d")],
      found: [],
    },
    {
      what: "its outcome is unknown",
      history: [...abc, send(7, "w", "d", "info"), send(9, "w", "e", [3]), all(20, "0:a 1:b 2:c 3:e")],
      found: [],
    },
    {
      what: "of unknown outcome, but somebody read it",
      history: [send(1, "w", "a", "info"), poll(3, "r", "0:a"), send(5, "w", "b", [1]), all(7, "1:b")],
      found: ["lost-write"],
    },
    { what: "trimmed away", history: [...abc, trim(7, 2), all(9, "2:c")], found: [] },
    { what: "trimmed away, perhaps", history: [...abc, trim(7, 2, "info"), all(9, "2:c")], found: [] },
    { what: "the trim was refused", history: [...abc, trim(7, 2, "fail"), all(9, "2:c")], found: ["lost-write"] },
    { what: "one more than was trimmed", history: [...abc, trim(7, 1), all(9, "2:c")], found: ["lost-write"] },
    { what: "retention keeps two", history: [...abc, all(9, "1:b 2:c")], rules: { retainRecords: 2 }, found: [] },
    {
      what: "retention kept one too few",
      history: [...abc, all(9, "2:c")],
      rules: { retainRecords: 2 },
      found: ["lost-write"],
    },
    {
      what: "a newer record of its key",
      history: [...keyed, all(9, "1:b 2:c")],
      rules: { compacted: true },
      found: [],
    },
    {
      what: "the newest of its key",
      history: [...keyed, all(9, "0:a 2:c")],
      rules: { compacted: true },
      found: ["int-poll-skip", "lost-write"],
    },
    {
      what: "its key's next record came only after the reading",
      history: [keyed[0]!, send(2, "w", "m=c", [1]), all(4, "1:c"), send(8, "w", "k=d", [2]), all(20, "0:a 1:c 2:d")],
      rules: { compacted: true },
      found: ["lost-write"],
    },
    {
      what: "a tombstone that came due",
      history: [keyed[0]!, send(3, "w", "k=b†", [1]), send(5, "w", "m=c", [2]), all(9, "2:c")],
      rules: { compacted: true, tombstonesExpire: true },
      found: [],
    },
    {
      what: "a tombstone that never comes due",
      history: [keyed[0]!, send(3, "w", "k=b†", [1]), send(5, "w", "m=c", [2]), all(9, "2:c")],
      rules: { compacted: true },
      found: ["lost-write"],
    },
    {
      what: "a tombstone of unknown outcome took it along",
      history: [keyed[0]!, send(3, "w", "k=b†", "info"), send(5, "w", "m=c", [2]), all(9, "2:c")],
      rules: { compacted: true, tombstonesExpire: true },
      found: [],
    },
  ],
  unseen: [
    { what: "acked, and nothing read as far", history: [...abc, poll(7, "r", "0:a 1:b")], found: ["unseen"] },
    { what: "missing at the end of the last reading", history: [...abc, all(7, "0:a 1:b")], found: ["unseen"] },
    { what: "nothing is there any more", history: [...abc, all(7, "")], found: ["unseen"] },
    {
      what: "acked without an offset",
      history: [...abc, send(7, "w", "d", "no-offsets"), all(9, "0:a 1:b 2:c")],
      found: ["unseen"],
    },
    { what: "nobody read at all", history: abc, found: [] },
    { what: "all there", history: [...abc, all(7, "0:a 1:b 2:c")], found: [] },
  ],
  duplicate: [
    { what: "read at two offsets", history: [send(1, "w", "a", [0]), poll(3, "r", "0:a 1:a")], found: ["duplicate"] },
    { what: "acked here, read there", history: [send(1, "w", "a", [0]), poll(3, "r", "4:a")], found: ["duplicate"] },
    {
      what: "one offset, read twice",
      history: [send(1, "w", "a", [0]), poll(3, "r", "0:a"), poll(5, "q", "0:a")],
      found: [],
    },
  ],
  "inconsistent-offsets": [
    {
      what: "two acks name one offset",
      history: [send(1, "w", "a", [0]), send(3, "v", "b", [0]), poll(5, "r", "0:a"), poll(5, "q", "0:b")],
      found: ["inconsistent-offsets"],
    },
    {
      what: "acked at other topics' offsets",
      history: [
        send(1, "w", "a", [0]),
        { ...send(3, "v", "b", [0]), topic: "u" },
        poll(5, "r", "0:a"),
        { ...poll(5, "q", "0:b"), topic: "u" },
      ],
      found: [],
    },
  ],
  "aborted-read": [
    { what: "refused, and read", history: [send(1, "w", "a", "fail"), poll(3, "r", "0:a")], found: ["aborted-read"] },
    { what: "of unknown outcome, and read", history: [send(1, "w", "a", "info"), poll(3, "r", "0:a")], found: [] },
    {
      what: "refused, and not read",
      history: [send(1, "w", "a", "fail"), send(3, "w", "b", [0]), poll(5, "r", "0:b")],
      found: [],
    },
  ],
  "never-sent": [
    { what: "out of nowhere", history: [send(1, "w", "a", [0]), poll(3, "r", "0:a 1:x")], found: ["never-sent"] },
    {
      what: "sent, and never answered",
      history: [send(1, "w", "a", [0]), send(2, "w", "x", "info"), poll(3, "r", "0:a 1:x")],
      found: [],
    },
  ],
  "poll-skip": [
    {
      what: "one in between was passed over",
      history: [...abc, poll(7, "r", "0:a"), poll(9, "r", "2:c"), poll(9, "q", "1:b")],
      found: ["poll-skip"],
    },
    {
      what: "it was sought on purpose",
      history: [...abc, poll(7, "r", "0:a"), assign(8, "r"), poll(9, "r", "2:c"), poll(9, "q", "1:b")],
      found: [],
    },
    {
      what: "nobody knows of anything in between",
      history: [send(1, "w", "a", [0]), send(3, "w", "c", [2]), poll(7, "r", "0:a"), poll(9, "r", "2:c")],
      found: [],
    },
    {
      what: "what was in between is compacted",
      history: [...keyed, poll(7, "r", "1:b"), poll(9, "r", "2:c"), poll(10, "s", "1:b"), poll(12, "s", "2:c")],
      rules: { compacted: true },
      found: [],
    },
    { what: "two processes", history: [...abc, poll(7, "r", "0:a 1:b"), poll(9, "q", "2:c")], found: [] },
  ],
  "nonmonotonic-poll": [
    {
      what: "the same record again",
      history: [...abc, poll(7, "r", "0:a 1:b"), poll(9, "r", "1:b 2:c")],
      found: ["nonmonotonic-poll"],
    },
    {
      what: "an empty poll does not forget",
      history: [...abc, poll(7, "r", "0:a 1:b 2:c"), poll(8, "r", ""), poll(9, "r", "0:a")],
      found: ["nonmonotonic-poll"],
    },
    {
      what: "again after a seek",
      history: [...abc, poll(7, "r", "0:a 1:b 2:c"), assign(8, "r"), poll(9, "r", "0:a")],
      found: [],
    },
  ],
  "int-poll-skip": [
    {
      what: "a hole in one poll",
      history: [...abc, poll(7, "r", "0:a 2:c"), poll(9, "q", "1:b")],
      found: ["int-poll-skip"],
    },
    {
      what: "a hole that compaction made",
      history: [send(1, "w", "k=a", [0]), send(3, "w", "m=b", [1]), send(5, "w", "m=c", [2]), poll(7, "r", "0:a 2:c")],
      rules: { compacted: true },
      found: [],
    },
    {
      what: "a seek does not excuse it",
      history: [...abc, assign(6, "r"), poll(7, "r", "0:a 2:c"), poll(9, "q", "1:b")],
      found: ["int-poll-skip"],
    },
  ],
  "int-nonmonotonic-poll": [
    {
      what: "back inside one poll",
      history: [...abc, poll(7, "r", "0:a 2:c 1:b")],
      found: ["int-nonmonotonic-poll", "int-poll-skip"],
    },
    { what: "forward", history: [...abc, poll(7, "r", "0:a 1:b 2:c")], found: [] },
  ],
  "nonmonotonic-send": [
    {
      what: "the later one got the lower offset",
      history: [send(1, "w", "a", [5]), send(3, "w", "b", [4]), poll(9, "r", "4:b 5:a")],
      found: ["nonmonotonic-send"],
    },
    {
      what: "called in order, answered out of order",
      history: [send(1, "w", "a", [4], 9), send(3, "w", "b", [5]), poll(19, "r", "4:a 5:b")],
      found: [],
    },
    {
      what: "two producers",
      history: [send(1, "w", "a", [5]), send(3, "v", "b", [4]), poll(9, "r", "4:b 5:a")],
      found: [],
    },
  ],
  "int-nonmonotonic-send": [
    {
      what: "a batch the wrong way round",
      history: [send(1, "w", "ab", [1, 0]), poll(9, "r", "0:b 1:a")],
      found: ["int-nonmonotonic-send"],
    },
    {
      what: "another's record in between",
      history: [send(1, "w", "ab", [0, 2]), send(1, "v", "c", [1]), poll(9, "r", "0:a 1:c 2:b")],
      found: [],
    },
  ],
  "trim-undone": [
    {
      what: "read below an acknowledged trim",
      history: [...abc, trim(7, 2), poll(9, "r", "1:b 2:c")],
      found: ["trim-undone"],
    },
    { what: "the read began before the answer", history: [...abc, trim(7, 2), poll(8, "r", "1:b 2:c")], found: [] },
    { what: "nobody said that it was done", history: [...abc, trim(7, 2, "info"), poll(9, "r", "1:b 2:c")], found: [] },
  ],
};

const found = (history: readonly Op[], rules: Rules = {}): Anomaly[] =>
  (Object.keys(check(history, rules).counts) as Anomaly[]).sort();

describe.each(ANOMALIES)("%s", (anomaly) => {
  test.each(EXAMPLES[anomaly])("$what", ({ history, rules = {}, found: expected }) => {
    expect(found(history, { t: rules })).toEqual([...expected].sort());
  });

  test("has a planted violation and a near miss", () => {
    expect(EXAMPLES[anomaly].some((example) => example.found.includes(anomaly))).toBe(true);
    expect(EXAMPLES[anomaly].some((example) => example.found.length === 0)).toBe(true);
  });

  test("a good history with one harm is reported, by a shorter history that shows the same", () => {
    let harmed = 0;
    fc.assert(
      fc.property(modelHistories, fc.infiniteStream(fc.nat()), ({ history, rules }, draws) => {
        fc.pre(Object.keys(rules[TOPIC]!).length === 0);
        const pick: Pick = (list) =>
          list.length === 0 ? undefined : list[(draws.next().value as number) % list.length];
        const bad = HARMS[anomaly](history, pick);
        fc.pre(bad !== undefined);
        harmed++;
        const { findings, counts } = check(bad, rules);
        expect(counts[anomaly], printHistory(bad)).toBeGreaterThan(0);
        for (const finding of findings)
          expect(found(finding.history, rules), printFinding(finding)).toContain(finding.anomaly);
      }),
      { seed: SEED, numRuns: 150 },
    );
    expect(harmed).toBeGreaterThan(100);
  });
});

test("histories of a log that does everything right have no findings", () => {
  const seen = { compacted: 0, retained: 0, trims: 0, unknown: 0 };
  fc.assert(
    fc.property(modelHistories, ({ history, rules }) => {
      seen.compacted += Number(rules[TOPIC]?.compacted ?? false);
      seen.retained += Number(rules[TOPIC]?.retainRecords !== undefined);
      seen.trims += Number(history.some(({ type }) => type === "trim"));
      seen.unknown += Number(history.some(({ type, outcome }) => type === "append" && outcome === "info"));
      expect(check(history, rules).findings.map(printFinding)).toEqual([]);
    }),
    { seed: SEED, numRuns: 1500 },
  );
  for (const [what, times] of Object.entries(seen)) expect(times, what).toBeGreaterThan(100);
});

test("a value sent twice is the caller's mistake, not a finding", () => {
  expect(() => check([send(1, "w", "a", [0]), send(3, "w", "a", [1])])).toThrow(/unique/);
});

test("a finding prints the operations that make it, and nothing else", () => {
  const { findings } = check([send(1, "w", "abc", [0, 1, 2]), send(5, "w", "d", [3]), all(7, "0:a 1:b 3:d")], {});
  const lost = findings.find(({ anomaly }) => anomaly === "lost-write")!;
  expect(
    printFinding(lost)
      .split("\n")
      .map((line) => line.trim().replace(/ +/g, " ")),
  ).toEqual([
    "lost-write in t: c at 2 was committed and is not there",
    "1…2 w append ok t [c@2]",
    "7…8 auditor-7 poll ok t [@3:d] (whole log)",
  ]);
});

test("the cost follows the length of the history", () => {
  const time = (appends: number): number => {
    const history: Op[] = [];
    for (let i = 0; i < appends; i++) {
      const offsets = Array.from({ length: 10 }, (_, at) => i * 10 + at);
      history.push({
        type: "append",
        process: `w${i % 3}`,
        topic: "t",
        records: offsets.map((value) => ({ value, key: `k${value % 50}` })),
        offsets,
        outcome: "ok",
        invoke: i * 2,
        complete: i * 2 + 1,
      });
      history.push({
        type: "poll",
        process: "r",
        topic: "t",
        records: offsets.map((offset) => ({ offset, value: offset })),
        outcome: "ok",
        invoke: i * 2 + 1,
        complete: i * 2 + 2,
      });
    }
    // The processor's time: other programs may make this one wait.
    const started = process.cpuUsage();
    expect(check(history, { t: { compacted: true } }).findings).toEqual([]);
    return process.cpuUsage(started).user;
  };
  const least = (appends: number, times: number): number =>
    Math.min(...Array.from({ length: times }, () => time(appends)));
  // The history is ten times as long. If the cost grew with its square, this would be a factor of 100.
  expect(least(20_000, 2) / least(2_000, 5)).toBeLessThan(50);
});
