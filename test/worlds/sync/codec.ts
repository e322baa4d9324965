/**
 * States as bytes, one after the other in one order, so that a state is found again by the hash of its bytes and a
 * layer of the search is a few arrays. Volumes that are not opened, backups that were not made take one byte.
 */
import { type Answer, type Edge, type Entry, type Frame, IDS, LIVES, type Memory, type State } from "./state.ts";
import type { Space, Volume } from "./state.ts";
import { newMemory, newVolume } from "./state.ts";

/** Longer than any state: three volumes, two edges. */
export const STATE_BYTES_MAX = 2048;

let bytes: Uint8Array = new Uint8Array(0);
let at = 0;

const put = (value: number): void => {
  bytes[at++] = value;
};
/** Masks of up to sixteen bits. */
const putMask = (value: number): void => {
  bytes[at++] = value & 0xff;
  bytes[at++] = value >> 8;
};
const putAll = (values: readonly number[]): void => {
  for (let i = 0; i < values.length; i++) bytes[at++] = values[i]!;
};
const take = (): number => bytes[at++]!;
const takeMask = (): number => take() | (take() << 8);
const takeAll = (length: number): number[] => {
  const values: number[] = [];
  for (let i = 0; i < length; i++) values.push(bytes[at++]!);
  return values;
};

function putVolume(v: Volume): void {
  put(v.opened);
  put(v.term);
  put(v.start);
  put(v.end);
  putAll(v.outbox);
  putMask(v.retracted);
  put(v.id);
  put(v.generation);
  put(v.registered);
  put(v.first);
  put(v.noteNext);
  put(v.noteLast);
  put(v.settledIn);
  put(v.doubtFrom);
  put(v.passed);
  put(v.base);
  put(v.replicaEnd);
  putAll(v.replica);
  putAll(v.truth);
  putMask(v.gaps);
  put(v.life);
}

const takeVolume = ({ positions, offsets }: Space): Volume => ({
  opened: take(),
  term: take(),
  start: take(),
  end: take(),
  outbox: takeAll(positions),
  retracted: takeMask(),
  id: take(),
  generation: take(),
  registered: take(),
  first: take(),
  noteNext: take(),
  noteLast: take(),
  settledIn: take(),
  doubtFrom: take(),
  passed: take(),
  base: take(),
  replicaEnd: take(),
  replica: takeAll(offsets),
  truth: takeAll(offsets),
  gaps: takeMask(),
  life: take(),
});

function putMemory(m: Memory): void {
  put(m.joined | (m.asking << 1) | (m.need << 2));
  put(m.goal);
  putMask(m.settled);
  put(m.takenTo);
  put(m.takenBy);
  put(m.expected);
  put(m.previous);
  put(m.inFlight);
  putAll(m.appendedAt);
  put(m.toldNext);
  put(m.toldLast);
  put(m.since);
  put(m.logStart);
  putMask(m.named);
  putMask(m.again);
}

function takeMemory({ positions }: Space): Memory {
  const flags = take();
  return {
    joined: flags & 1,
    need: flags >> 2,
    asking: (flags >> 1) & 1,
    goal: take(),
    settled: takeMask(),
    takenTo: take(),
    takenBy: take(),
    expected: take(),
    previous: take(),
    inFlight: take(),
    appendedAt: takeAll(positions),
    toldNext: take(),
    toldLast: take(),
    since: take(),
    logStart: take(),
    named: takeMask(),
    again: takeMask(),
  };
}

function putEntries(entries: readonly Entry[]): void {
  for (let i = 0; i < IDS; i++) {
    const entry = entries[i]!;
    put(entry.known);
    if (entry.known === 0) continue;
    put(entry.since);
    put(entry.generation);
    put(entry.term);
    put(entry.next);
    put(entry.lastOffset);
    put(entry.last);
  }
}

function takeEntries(): Entry[] {
  const entries: Entry[] = [];
  for (let i = 0; i < IDS; i++) {
    entries.push(
      take() === 0
        ? { known: 0, since: 0, generation: 0, term: 0, next: 0, lastOffset: 0, last: 0 }
        : { known: 1, since: take(), generation: take(), term: take(), next: take(), lastOffset: take(), last: take() },
    );
  }
  return entries;
}

function putEdge(e: Edge): void {
  put(e.end);
  put(e.committed);
  putAll(e.log);
  putAll(e.history);
  put(e.start);
  putEntries(e.entries);
  putEntries(e.committedEntries);
  put(e.forgottenAt);
  put(e.forgottenGeneration);
  putAll(e.lives);
  putAll(e.began);
  put(e.livesKnown);
  putEntries(e.rows);
  putEntries(e.snapshot);
  putEntries(e.origins);
  put(e.hot);
}

const takeEdge = ({ offsets }: Space): Edge => ({
  end: take(),
  committed: take(),
  log: takeAll(offsets),
  history: takeAll(offsets),
  start: take(),
  entries: takeEntries(),
  committedEntries: takeEntries(),
  forgottenAt: take(),
  forgottenGeneration: take(),
  lives: takeAll(LIVES),
  began: takeAll(LIVES),
  livesKnown: take(),
  rows: takeEntries(),
  snapshot: takeEntries(),
  origins: takeEntries(),
  hot: take(),
});

function putFrame(f: Frame): void {
  put(f.device | (f.connection << 2) | (f.claim << 6));
  put(f.id);
  put(f.generation);
  put(f.term);
  put(f.expected);
  put(f.previous);
  put(f.at);
  put(f.count);
  put(f.batches.length);
  putAll(f.batches);
  put(f.readTo);
}

function takeFrame(): Frame {
  const flags = take();
  return {
    device: flags & 3,
    connection: (flags >> 2) & 15,
    claim: flags >> 6,
    id: take(),
    generation: take(),
    term: take(),
    expected: take(),
    previous: take(),
    at: take(),
    count: take(),
    batches: takeAll(take()),
    readTo: take(),
  };
}

const ANSWER = [
  "device",
  "kind",
  "id",
  "code",
  "at",
  "count",
  "last",
  "lastOffset",
  "generation",
  "next",
  "since",
  "start",
  "end",
  "forgottenAt",
  "back",
  "life",
] as const satisfies readonly (keyof Answer)[];

/** Writes the state and gives back how many bytes it takes, a multiple of four. */
export function encode(state: State, into: Uint8Array): number {
  bytes = into;
  at = 0;
  for (let i = 0; i < state.volumes.length; i++) {
    if (state.volumes[i]!.opened === 0) put(0);
    else {
      putVolume(state.volumes[i]!);
      putMemory(state.memories[i]!);
    }
  }
  putEdge(state.edge);
  put(state.edgeBackup ? 1 : 0);
  if (state.edgeBackup) putEdge(state.edgeBackup);
  put(state.backup ? 1 : 0);
  if (state.backup) putVolume(state.backup);
  put(state.air.length);
  for (const frame of state.air) putFrame(frame);
  put(state.answers.length);
  for (const answer of state.answers) for (const field of ANSWER) put(answer[field]);
  put(state.idsDrawn);
  put(state.batchesMade);
  put(state.wide);
  put(state.retractedBatches);
  put(state.repeatedBatches);
  putAll(state.told);
  putAll(state.spent);
  while (at % 4 !== 0) put(0);
  return at;
}

export function decode(from: Uint8Array, space: Space, budgets: number): State {
  bytes = from;
  at = 0;
  const volumes: Volume[] = [];
  const memories: Memory[] = [];
  for (let i = 0; i < space.devices; i++) {
    if (bytes[at] === 0) {
      at++;
      volumes.push(newVolume(space));
      memories.push(newMemory(space));
    } else {
      volumes.push(takeVolume(space));
      memories.push(takeMemory(space));
    }
  }
  return {
    volumes,
    memories,
    edge: takeEdge(space),
    edgeBackup: take() === 1 ? takeEdge(space) : undefined,
    backup: take() === 1 ? takeVolume(space) : undefined,
    air: Array.from({ length: take() }, takeFrame),
    answers: Array.from(
      { length: take() },
      () => Object.fromEntries(ANSWER.map((field) => [field, take()])) as Record<string, number> & Answer,
    ),
    idsDrawn: take(),
    batchesMade: take(),
    wide: take(),
    retractedBatches: take(),
    repeatedBatches: take(),
    told: takeAll(3 * IDS),
    spent: takeAll(budgets),
  };
}
