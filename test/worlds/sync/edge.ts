/**
 * The edge's side of a small world: a log with its registry of outboxes.
 *
 *   join   ─▶ registered? standing? lineage? ─▶ answer
 *   push   ─▶ standing, chain ─▶ log and entry ─▶ (commit) ─▶ answer
 *   claim  ─▶ read far enough? ─▶ log, entry, next generation ─▶ answer
 *
 * Where the registry is stored (`config.registry`) an entry has a row, a snapshot, and what rows of data say since.
 */
import type { Registering } from "./rules.ts";
import { type Answer, type Entry, type Frame, IDS, noEntry, NONE } from "./state.ts";
import { Bad, firstUnsettled, isSettled, memoryOf, recordsOf, volumeOf, type World } from "./world.ts";

export const Kind = { JOIN: 0, PUSH: 1, CLAIM: 2 } as const;
export const Code = { OK: 0, FENCED: 1, UNKNOWN: 2, CONFLICT: 3 } as const;

type Told = Pick<Entry, "generation" | "term" | "next">;

/** Appends a batch of the outbox, or of somebody else. */
export function append(w: World, batch: number): void {
  const { edge } = w.state;
  const records = recordsOf(w, batch);
  if (edge.end + records > w.config.offsets) {
    w.bad = Bad.FULL;
    return;
  }
  if (edge.history.includes(batch) && !((w.state.repeatedBatches >> batch) & 1)) w.bad = Bad.TWICE;
  for (let i = 0; i < records; i++) {
    edge.log[edge.end] = batch;
    edge.history[edge.end] = batch;
    edge.end++;
  }
}

/** The entry as the object has it: in memory, else from its row. */
function entryOf(w: World, id: number): Entry {
  const { edge } = w.state;
  const at = id - 1;
  if (!w.config.registry || (edge.hot >> at) & 1) return edge.entries[at]!;
  if (edge.rows[at]!.known) {
    edge.entries[at] = edge.rows[at]!;
    edge.committedEntries[at] = edge.rows[at]!;
    edge.hot |= 1 << at;
  } else edge.entries[at] = noEntry();
  return edge.entries[at]!;
}

function setEntry(w: World, id: number, entry: Entry): void {
  const { edge } = w.state;
  edge.entries[id - 1] = entry;
  edge.hot |= w.config.registry ? 1 << (id - 1) : 0;
}

/** What was queued is committed: the log, and with it the entries. */
export function commit(w: World): void {
  const { edge } = w.state;
  edge.committed = edge.end;
  for (let at = 0; at < IDS; at++) {
    if (w.config.registry && edge.entries[at]!.lastOffset !== edge.committedEntries[at]!.lastOffset)
      edge.origins[at] = edge.entries[at]!;
    edge.committedEntries[at] = edge.entries[at]!;
  }
}
export const commitAtOnce = (w: World): void => {
  if (!w.config.queue) commit(w);
};

/** Nobody is told less than before, and nothing is taken under less: the standing, and `next` in a generation. */
function checkTold(w: World, id: number, { generation, term, next }: Told): void {
  if (!w.config.registry) return;
  const [g, t, n] = w.state.told.slice(3 * (id - 1)) as [number, number, number];
  if (generation < g || (generation === g && (term < t || next < n))) w.bad = Bad.FELL;
}

function noteTold(w: World, id: number, said: Told): void {
  if (!w.config.registry) return;
  checkTold(w, id, said);
  w.state.told.splice(3 * (id - 1), 3, said.generation, said.term, said.next);
}

const wentBack = (w: World, device: number, committed: number): boolean => {
  const { edge } = w.state;
  const { life, replicaEnd, passed, base, replica, gaps } = volumeOf(w, device);
  return w.rules.wentBack({
    lives: edge.lives,
    began: edge.began,
    known: edge.livesKnown,
    life,
    replicaEnd,
    passed,
    committed,
    start: edge.start,
    base,
    log: edge.log,
    replica,
    gaps,
  });
};

const answerOf = (w: World, device: number, kind: number, id: number, fields: Partial<Answer>): Answer => ({
  device,
  kind,
  id,
  code: Code.OK,
  at: 0,
  count: 0,
  last: 0,
  lastOffset: NONE,
  generation: 0,
  next: 0,
  since: 0,
  start: w.state.edge.start,
  end: w.state.edge.committed,
  forgottenAt: w.state.edge.forgottenAt,
  back: 0,
  life: w.state.edge.lives[w.state.edge.livesKnown - 1]!,
  ...fields,
});

function registering(w: World, device: number): Registering {
  const v = volumeOf(w, device);
  const { appendedAt } = memoryOf(w, device);
  let isFresh = true;
  for (let p = v.start; p < v.end; p++) if (!isSettled(w, device, p) && appendedAt[p] === NONE) isFresh = false;
  return { registered: v.registered === 1, first: v.first, firstUnsettled: firstUnsettled(w, device), isFresh };
}

/** The effect of a join, and its answer. */
export function join(w: World, device: number): Answer {
  const { edge } = w.state;
  const v = volumeOf(w, device);
  if (v.id === 0) {
    const back = wentBack(w, device, edge.committed) ? 1 : 0;
    return answerOf(w, device, Kind.JOIN, 0, { back });
  }
  const at = v.id - 1;
  let own = entryOf(w, v.id);
  const end = w.rules.told(edge.committed, edge.end);
  if (!own.known) {
    const next = w.rules.register(registering(w, device), edge.forgottenAt);
    if (next !== undefined) {
      own = { known: 1, since: end, generation: 1, term: v.term, next, lastOffset: NONE, last: 0 };
      setEntry(w, v.id, own);
      edge.committedEntries[at] = own;
      if (w.config.registry) edge.rows[at] = own;
    }
  }
  const committed = edge.committedEntries[at]!;
  const said = committed.known ? w.rules.told(committed, own) : own;
  let { generation, term } = own;
  let code: number = own.known ? Code.OK : Code.UNKNOWN;
  if (own.known) {
    const raised = w.rules.raise(own, { generation: v.generation, term: v.term });
    if (!raised) code = Code.FENCED;
    else if (raised.generation !== generation || raised.term !== term) {
      ({ generation, term } = raised);
      setEntry(w, v.id, { ...own, generation, term });
      edge.committedEntries[at] = { ...committed, generation, term };
      if (w.config.registry && w.rules.raiseIsDurable()) edge.rows[at] = { ...committed, generation, term };
    }
  }
  if (code === Code.OK) noteTold(w, v.id, { ...said, generation, term });
  return answerOf(w, device, Kind.JOIN, v.id, {
    code,
    generation,
    next: said.next,
    last: said.last,
    lastOffset: said.known ? said.lastOffset : NONE,
    since: w.rules.toldSince(said.since, said.known === 1, edge.forgottenAt, edge.start, code !== Code.OK),
    end,
    back: wentBack(w, device, end) ? 1 : 0,
  });
}

/** Takes a frame or refuses it; `held`: its answer waits for the commit. */
export function take(w: World, frame: Frame): { answer: Answer; held: boolean } {
  const { edge } = w.state;
  const { rules } = w;
  const entry = entryOf(w, frame.id);
  const next = rules.nextAfter(frame.at, frame.count, frame.batches.length);
  const last = frame.batches.at(-1)!;
  const asked = { ...frame, next, last };
  const answer = answerOf(w, frame.device, frame.claim ? Kind.CLAIM : Kind.PUSH, frame.id, {
    code: Code.CONFLICT,
    at: frame.at,
    count: frame.count,
    next,
    last,
    end: edge.end,
  });
  const takeAll = (generation: number, since: number): void => {
    const lastOffset = edge.end - 1;
    setEntry(w, frame.id, { known: 1, since, generation, term: frame.term, next, lastOffset, last });
    Object.assign(answer, { code: Code.OK, generation, lastOffset });
  };
  if (frame.claim) {
    if (!rules.grants(entry, frame.readTo, edge.forgottenAt, edge.committed)) {
      const seen = entry.known && entry.lastOffset !== NONE ? entry.lastOffset + 1 : 0;
      answer.end = Math.max(edge.end, seen, edge.forgottenAt);
      return { answer, held: false };
    }
    const takenAt = edge.end;
    for (const batch of frame.batches) append(w, batch);
    const generation = rules.grantedGeneration(entry, frame.generation, edge.forgottenGeneration);
    takeAll(generation, rules.grantedSince(entry, edge.start, takenAt));
    return { answer, held: true };
  }
  if (!entry.known) return { answer: { ...answer, code: Code.UNKNOWN }, held: false };
  if (rules.isFenced(entry, frame)) return { answer: { ...answer, code: Code.FENCED }, held: false };
  if (rules.continues(entry, asked)) {
    checkTold(w, frame.id, asked);
    for (const batch of frame.batches) append(w, batch);
    const { since, generation, term } = entry;
    takeAll(generation, since);
    edge.entries[frame.id - 1] = { ...edge.entries[frame.id - 1]!, term };
    return { answer, held: true };
  }
  if (rules.isRepeat(entry, asked)) Object.assign(answer, { code: Code.OK, lastOffset: entry.lastOffset });
  return { answer, held: false };
}

/** The registry loses an entry, and says so from then on. */
export function forget(w: World, id: number): void {
  const { edge } = w.state;
  const { generation } = edge.entries[id - 1]!;
  edge.forgottenAt = w.rules.forgottenAtAfter(edge.committed) || edge.forgottenAt;
  edge.forgottenGeneration = w.rules.forgottenGenerationAfter(edge.forgottenGeneration, generation);
  for (const entries of [edge.entries, edge.committedEntries, edge.rows, edge.snapshot, edge.origins])
    entries[id - 1] = noEntry();
  w.state.told.fill(0, 3 * (id - 1), 3 * id);
}

/** What was queued is gone; the entries are those of the disk. */
export function reset(w: World): void {
  const { edge } = w.state;
  edge.log.fill(0, edge.committed, edge.end);
  edge.history.fill(0, edge.committed, edge.end);
  edge.end = edge.committed;
  if (w.config.registry) {
    edge.hot = 0;
    for (let at = 0; at < IDS; at++) {
      const woken = w.rules.merge(w.rules.merge(edge.rows[at]!, edge.snapshot[at]!), edge.origins[at]!);
      edge.committedEntries[at] = woken;
      if (woken.known) edge.hot |= 1 << at;
    }
  }
  edge.entries = edge.committedEntries.slice();
}

/** A segment is sealed: the snapshot is written, in one transaction with it. */
export function seal(w: World): void {
  const { edge } = w.state;
  edge.snapshot = w.rules.snapshotOf(edge.committedEntries, edge.entries).slice();
  edge.origins = Array.from({ length: IDS }, noEntry);
}

/** An entry leaves memory. */
export function evict(w: World, id: number): void {
  const { edge } = w.state;
  const at = id - 1;
  if (w.rules.evictionWritesRow()) edge.rows[at] = edge.committedEntries[at]!;
  edge.entries[at] = noEntry();
  edge.committedEntries[at] = noEntry();
  edge.hot &= ~(1 << at);
}
