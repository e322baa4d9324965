/**
 * The edge's registry of outboxes decides as the rules do that the small worlds of sync have walked
 * (test/worlds/sync/rules.ts): the same joins, pushes and claims go to both.
 */
import { expect, test } from "vitest";
import { ChunkTables } from "../../worker/store/chunk-tables.ts";
import { OutboxTables } from "../../worker/store/outbox-tables.ts";
import type { OutboxEntry } from "../../worker/store/outbox-bytes.ts";
import { lifeNumber, Lives } from "../../worker/stream/lives.ts";
import { later } from "../../worker/stream/outbox-memory.ts";
import { Outboxes, type PushAsked, type Speaker } from "../../worker/stream/outboxes.ts";
import { Random } from "../simulation/prng.ts";
import { nodeSql } from "../support/node-sql.ts";
import { RULES } from "../worlds/sync/rules.ts";
import { type Entry, noEntry, NONE } from "../worlds/sync/state.ts";

const OWNER = "nobody";
const IDS = ["00000000000000a1", "00000000000000b2"];

const ruled = (entry: OutboxEntry | undefined): Entry =>
  entry
    ? {
        known: 1,
        since: entry.since,
        generation: entry.generation,
        term: entry.term,
        next: entry.next,
        lastOffset: entry.lastOffset < 0 ? NONE : entry.lastOffset,
        last: entry.lastCrc,
      }
    : noEntry();

function registry(forgottenAt: number): Outboxes {
  const tables = new ChunkTables(nodeSql());
  tables.create();
  return new Outboxes({
    tables: new OutboxTables(tables),
    crc32c: () => 0,
    now: () => 0,
    random: () => 1,
    forgottenAt,
  });
}

/** What the rules say of a push, and which entry it leaves. */
function verdictOf(
  entry: Entry,
  speaker: Speaker,
  push: PushAsked,
  edge: { end: number; start: number; forgottenAt: number },
) {
  const next = RULES.nextAfter(push.at, push.records, 1);
  const asked = { ...speaker, ...push, next, last: push.lastCrc };
  const after = { next, last: push.lastCrc, term: speaker.term };
  if (push.readTo !== undefined) {
    if (!RULES.grants(entry, push.readTo, edge.forgottenAt, edge.end)) return "OUTBOX_CONFLICT";
    const generation = RULES.grantedGeneration(entry, speaker.generation, 0);
    return { ...after, generation, since: RULES.grantedSince(entry, edge.start, edge.end) };
  }
  if (!entry.known) return "UNKNOWN_OUTBOX";
  if (RULES.isFenced(entry, speaker)) return "FENCED_LEADER";
  if (RULES.continues(entry, asked)) return { ...after, generation: entry.generation, since: entry.since };
  return RULES.isRepeat(entry, asked) ? "repeats" : "OUTBOX_CONFLICT";
}

test.each([0, 3])("joins, pushes and claims of 20,000 steps, forgotten at %i", (forgottenAt) => {
  const random = new Random(20261129 + forgottenAt);
  const some = (most: number): number => random.int(most + 1);
  const seen = new Set<string>();
  let outboxes = registry(forgottenAt);
  let end = 3;
  for (let step = 0; step < 20_000; step++) {
    if (step % 40 === 0) {
      outboxes = registry(forgottenAt);
      end = 3;
    }
    const outbox = IDS[some(1)]!;
    const entry = ruled(outboxes.entryOf(outbox));
    const speaker = { outbox, generation: 1 + some(2), term: some(2), owner: OWNER };
    // Half of the speakers have joined.
    if (entry.known && some(1)) Object.assign(speaker, { generation: entry.generation, term: entry.term });
    if (some(2) === 0) {
      const joining = { ...speaker, registered: some(1) === 1, first: some(2), mayRegister: true };
      const { refusal, entry: told } = outboxes.join(joining, end);
      const first = RULES.register({ ...joining, firstUnsettled: 0, isFresh: false }, forgottenAt);
      const fresh = first === undefined ? undefined : { ...speaker, next: first, since: end };
      const raised = entry.known ? RULES.raise(entry, speaker) : fresh;
      const missing = entry.known ? "FENCED_LEADER" : "UNKNOWN_OUTBOX";
      expect(refusal).toBe(raised ? undefined : missing);
      if (raised) expect(told).toMatchObject({ generation: speaker.generation, term: speaker.term });
      if (fresh && !entry.known) expect(told).toMatchObject({ next: fresh.next, since: fresh.since, lastOffset: -1 });
      seen.add(refusal ?? "joined");
      continue;
    }
    const near = (value: number): number => Math.max(0, value + some(2) - 1);
    const expected = near(entry.next);
    const push: PushAsked = {
      expected,
      at: some(3) === 0 ? near(expected) : expected,
      readTo: some(2) === 0 ? some(end + 1) : undefined,
      previous: some(1) ? entry.last : some(2),
      records: 1 + some(1),
      lastCrc: some(1) ? entry.last : 1 + some(2),
    };
    const edge = { end, start: 1, forgottenAt };
    const verdict = outboxes.admit(speaker, push, end, edge.start);
    const must = verdictOf(entry, speaker, push, edge);
    const said = "refusal" in verdict ? verdict.refusal : "repeats" in verdict ? "repeats" : "granted";
    expect(said, JSON.stringify({ entry, speaker, push, edge })).toBe(typeof must === "string" ? must : "granted");
    seen.add(push.readTo !== undefined && said === "granted" ? "claimed" : said);
    if (!("grant" in verdict) || typeof must === "string") continue;
    end += push.records;
    const { entry: left, through } = outboxes.take(verdict.grant, end - 1);
    outboxes.notes(end - push.records, end);
    through();
    expect(ruled(left)).toEqual({ known: 1, ...must, lastOffset: end - 1 });
  }
  const always = ["UNKNOWN_OUTBOX", "FENCED_LEADER", "OUTBOX_CONFLICT", "claimed", "granted", "repeats", "joined"];
  expect(always.filter((each) => !seen.has(each))).toEqual([]);
});

test("of two books of an entry the same one counts", () => {
  const random = new Random(1);
  for (let i = 0; i < 2000; i++) {
    const book = (): OutboxEntry => {
      const next = random.int(3);
      return {
        since: 0,
        generation: random.int(3),
        term: random.int(3),
        next,
        lastOffset: next,
        lastCrc: next,
        owner: OWNER,
        seenAt: 0,
      };
    };
    const [a, b] = [book(), book()];
    expect(ruled(later(a, b))).toEqual(RULES.merge(ruled(a), ruled(b)));
  }
});

test("an edge that went back is the same one by its lives", () => {
  const random = new Random(2);
  for (let i = 0; i < 2000; i++) {
    const lives = new Lives(() => 7);
    const began = [0, 1 + random.int(4), 5 + random.int(4)].slice(0, 1 + random.int(3));
    began.forEach((start, at) => lives.replay({ life: lifeNumber(at + 1, at), start }));
    const life = 1 + random.int(4);
    const replicaEnd = random.int(10);
    const passed = random.int(10);
    const lineage = {
      lives: began.map((_, at) => at + 1),
      began,
      known: began.length,
      life,
      replicaEnd,
      passed,
      committed: 10,
      start: 0,
      base: 0,
      log: [],
      replica: [],
      gaps: 0,
    };
    expect(lives.wentBack(lifeNumber(life, life - 1), Math.max(replicaEnd, passed))).toBe(RULES.wentBack(lineage));
  }
});
