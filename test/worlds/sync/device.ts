/**
 * A device's side of a small world: outbox, replica and session of one topic, each step as docs/sync.md has it.
 *
 *   open ─▶ join ─▶ push ─▶ ok        taken  ─┐
 *            └────▶ claim ─▶ granted  taken  ─┤
 *   follow ─▶ the replica takes batches ──────┴─▶ settled ─▶ trim (with the note)
 */
import { Code, join, Kind } from "./edge.ts";
import type { Held } from "./rules.ts";
import { type Answer, cloneVolume, FOREIGN, type Frame, Need, newMemory, NONE, type Volume } from "./state.ts";
import { batchEnd, firstUnsettled, isSettled, memoryOf, recordsOf, volumeOf, type World } from "./world.ts";

const isIn = (mask: number, at: number): boolean => ((mask >> at) & 1) === 1;

/** How many records of a batch the replica shows. */
function presentIn(list: readonly number[], from: number, to: number, batch: number): number {
  let present = 0;
  for (let o = from; o < to; o++) if (list[o] === batch) present++;
  return present;
}

function settle(w: World, device: number, batch: number): void {
  const v = volumeOf(w, device);
  const m = memoryOf(w, device);
  for (let p = v.start; p < v.end; p++) if (v.outbox[p] === batch) m.settled |= 1 << p;
}

/** T1 over the replica's [from, to). */
function lookAt(w: World, device: number, from: number, to: number): void {
  const v = volumeOf(w, device);
  for (let o = Math.max(from, v.base); o < to; o++) {
    const batch = v.replica[o]!;
    if (batch === 0 || batch >= FOREIGN) continue;
    const present = presentIn(v.replica, v.base, v.replicaEnd, batch);
    if (w.rules.showsBatch(present, recordsOf(w, batch))) settle(w, device, batch);
  }
}
const look = (w: World, device: number, from: number): void => {
  const v = volumeOf(w, device);
  if (v.base !== NONE) lookAt(w, device, from, v.replicaEnd);
};

/** A leader opens the volume: all memory is new. */
export function boot(w: World, device: number): void {
  const v = volumeOf(w, device);
  v.term++;
  w.state.memories[device] = newMemory(w.config);
  look(w, device, v.settledIn);
}

export function openCopy(w: World, device: number, of: Volume): void {
  w.state.volumes[device] = cloneVolume(of);
  boot(w, device);
}

/** The connection ends: its frames are lost, or come late. */
export function leaveFrames(w: World, device: number, late: boolean): void {
  const { state } = w;
  let used = 0;
  for (const frame of state.air) if (frame.device === device && frame.connection > 0) used |= 1 << frame.connection;
  let connection = 1;
  while (isIn(used, connection)) connection++;
  state.air = state.air.flatMap((frame) =>
    frame.device !== device || frame.connection !== 0 ? [frame] : late ? [{ ...frame, connection }] : [],
  );
  if (!w.rules.answersFormerConnections()) state.answers = state.answers.filter((answer) => answer.device !== device);
}

export function disconnect(w: World, device: number, late: boolean): void {
  leaveFrames(w, device, late);
  const m = memoryOf(w, device);
  m.joined = 0;
  m.asking = 0;
  m.inFlight = 0;
  if (m.need <= Need.CLAIM) m.need = Need.JOIN;
  if (!w.rules.keepsTaken()) {
    m.takenTo = 0;
    m.takenBy = NONE;
  }
  m.expected = 0;
  m.previous = 0;
}

/** Settled positions leave the outbox, and the note says so, in one commit. */
export function trim(w: World, device: number, to: number): void {
  const v = volumeOf(w, device);
  const m = memoryOf(w, device);
  let doubtFrom = v.replicaEnd;
  for (let p = to; p < v.end; p++) {
    if (isSettled(w, device, p)) continue;
    const appendedAt = m.appendedAt[p]!;
    doubtFrom = Math.min(doubtFrom, appendedAt === NONE ? v.doubtFrom : appendedAt);
  }
  v.doubtFrom = Math.max(v.doubtFrom, v.base === NONE ? 0 : doubtFrom);
  if (to <= v.start) return;
  v.start = to;
  if (m.toldNext !== NONE) {
    v.noteNext = m.toldNext;
    v.noteLast = m.toldLast;
  }
  if (v.generation === 1) {
    for (let p = v.first; p < to; p++) {
      if (isIn(v.retracted, p) || batchEnd(v.outbox, p, v.end) !== p + 1) continue;
      if (v.noteNext !== NONE && p + 1 <= v.noteNext) continue;
      v.noteNext = p + 1;
      v.noteLast = v.outbox[p]!;
    }
  }
  if (v.base === NONE) return;
  let settledIn = v.replicaEnd;
  for (let o = v.base; o < v.replicaEnd; o++) {
    const batch = v.replica[o]!;
    if (batch === 0) continue;
    for (let p = v.start; p < v.end; p++)
      if (v.outbox[p] === batch && isIn(m.settled, p)) settledIn = Math.min(settledIn, o);
  }
  v.settledIn = Math.max(v.settledIn, settledIn);
}

/** The replica takes what the edge has in [its end, to). What lies below the edge's start is a gap. */
function receive(w: World, device: number, to: number): void {
  const { edge } = w.state;
  const v = volumeOf(w, device);
  const from = v.replicaEnd;
  if (v.replicaEnd < edge.start) {
    const end = Math.min(edge.start, to);
    for (let o = v.replicaEnd; o < end; o++) {
      v.replica[o] = 0;
      v.truth[o] = edge.history[o]!;
      v.gaps |= 1 << o;
    }
    v.replicaEnd = end;
  }
  for (let o = v.replicaEnd; o < to; o++) {
    v.replica[o] = edge.log[o]!;
    v.truth[o] = edge.history[o]!;
  }
  v.replicaEnd = Math.max(v.replicaEnd, to);
  lookAt(w, device, from, to);
  memoryOf(w, device).logStart = edge.start;
}

/** T2: what the edge told as taken is settled once everything up to q is received; durable before the end passes q. */
function settleTaken(w: World, device: number, end: number, mayTrim: boolean): void {
  const { edge } = w.state;
  const v = volumeOf(w, device);
  const m = memoryOf(w, device);
  if (m.takenTo === 0 || m.takenBy === NONE || end <= m.takenBy) return;
  const takenTo = Math.min(m.takenTo, v.end);
  for (let p = v.start; p < takenTo; p++) m.settled |= 1 << p;
  if (!mayTrim) return;
  const shown = (o: number): number => (o < v.replicaEnd ? v.replica[o]! : o >= edge.start ? edge.log[o]! : 0);
  let unseen = 0;
  for (let p = v.start; p < takenTo; p++) {
    let present = 0;
    for (let o = v.base; o < end; o++) if (shown(o) === v.outbox[p]) present++;
    if (!w.rules.showsBatch(present, recordsOf(w, v.outbox[p]!))) unseen = p + 1;
  }
  if (unseen === 0) return;
  if (w.rules.flushesBeforeTrim()) {
    let flushed = v.replicaEnd;
    for (let o = v.replicaEnd; o < end; o++) {
      const batch = shown(o);
      if (batch === 0) continue;
      for (let p = v.start; p < unseen; p++)
        if (v.outbox[p] === batch) flushed = Math.min(batchEnd(edge.history, o, edge.end), end);
    }
    if (flushed > v.replicaEnd) receive(w, device, flushed);
  }
  v.passed = w.rules.passedAfter(v.passed, m.takenBy);
  trim(w, device, w.rules.trimForTaken(takenTo, unseen));
}

export const isFollowing = (w: World, device: number): boolean => {
  const v = volumeOf(w, device);
  const m = memoryOf(w, device);
  return (
    v.opened === 1 &&
    v.base !== NONE &&
    m.need !== Need.STOPPED &&
    (m.joined === 1 || m.need === Need.CLAIM || m.need === Need.BLOCKED)
  );
};

/** Batches up to `to` come; with `crash` the power goes behind the T2 trim. */
export function follow(w: World, device: number, to: number, crash = false): void {
  settleTaken(w, device, to, true);
  if (!crash) receive(w, device, to);
}

const lastAt =
  (v: Volume) =>
  (position: number): number =>
    position > 0 && batchEnd(v.outbox, position - 1, v.end) === position ? v.outbox[position - 1]! : 0;

/** What a join's answer leads to: the table of verdicts. */
export function joinAnswered(w: World, device: number, answer: Answer): void {
  const { rules } = w;
  const v = volumeOf(w, device);
  const m = memoryOf(w, device);
  m.asking = 0;
  if (v.base === NONE) {
    v.base = w.config.latest ? w.state.edge.committed : answer.start;
    v.replicaEnd = v.base;
    v.settledIn = Math.max(v.settledIn, rules.settledInAtFirst(v.base));
  }
  m.logStart = answer.start;
  if (v.id === 0) {
    if (answer.back) {
      m.need = Need.STOPPED;
      return;
    }
    v.life = answer.life;
    m.joined = 1;
    m.need = Need.IDLE;
    m.expected = v.end;
    if (v.replicaEnd < answer.start) receive(w, device, answer.start);
    return;
  }
  m.since = answer.since;
  m.need = Need.STOPPED;
  if (answer.back) return;
  v.life = answer.life;
  if (answer.code === Code.UNKNOWN && rules.mustKnow(v.registered === 1, answer.forgottenAt)) return;
  const { next, last, lastOffset } = answer;
  if (rules.refusalsSettle() && answer.code !== Code.UNKNOWN && lastOffset !== NONE) {
    m.takenTo = next;
    m.takenBy = lastOffset;
  }
  const held: Held = { ...v, toldNext: m.toldNext, lastAt: lastAt(v) };
  if (answer.code !== Code.OK || rules.isForeign(held, next, last)) {
    m.need = Need.CLAIM;
    m.goal = answer.end;
    return;
  }
  if (rules.fellBack(held, next)) return;
  m.joined = 1;
  m.need = Need.IDLE;
  m.expected = next;
  m.previous = last;
  if (lastOffset !== NONE) {
    m.takenTo = next;
    m.takenBy = lastOffset;
  }
  m.toldNext = next;
  m.toldLast = last;
  v.registered = 1;
  if (v.replicaEnd < answer.start) {
    settleTaken(w, device, answer.start, true);
    receive(w, device, answer.start);
  }
  settleTaken(w, device, v.replicaEnd, false);
}

export function joinNow(w: World, device: number): void {
  joinAnswered(w, device, join(w, device));
}

/** Positions in doubt: below `readTo` an offset is missing that may have been theirs. */
function inDoubt(w: World, device: number, unsettled: number): number {
  const { edge } = w.state;
  const v = volumeOf(w, device);
  const m = memoryOf(w, device);
  const reach = w.rules.reach(v.replicaEnd, m.goal);
  const shows = (o: number): number => {
    const isFetched = o < v.base;
    if (isFetched && o < edge.start) return 0;
    const list = isFetched ? edge.log : v.replica;
    const truth = isFetched ? edge.history : v.truth;
    if (list[o] !== 0) return NONE;
    // Of a batch that compaction thinned another record is here.
    const thinned = list.some((batch, at) => batch !== 0 && batch === truth[o] && truth[at] === batch);
    return w.rules.isCovered(thinned) ? NONE : 0;
  };
  let doubt = 0;
  for (let p = v.start; p < v.end; p++) {
    if (!isIn(unsettled, p)) continue;
    const lower = w.rules.lower(v, m.appendedAt[p]!);
    let isDoubtful = m.logStart > lower;
    for (let o = lower; o < reach && !isDoubtful; o++) isDoubtful = (o < v.base || o < v.replicaEnd) && shows(o) === 0;
    if (isDoubtful) doubt |= 1 << p;
  }
  return doubt;
}

/** The frame of `count` batches from `at` on, as far as they are contiguous and unsettled. */
function frameOf(w: World, device: number, at: number, batches: number): Pick<Frame, "at" | "count" | "batches"> {
  const v = volumeOf(w, device);
  const list: number[] = [];
  let end = at;
  while (list.length < batches && end < v.end && !isSettled(w, device, end)) {
    list.push(v.outbox[end]!);
    end = batchEnd(v.outbox, end, v.end);
  }
  return { at, count: end - at, batches: list };
}

/** One turn of a claim: look, ask, leave, or send the first frame. */
export function claim(w: World, device: number): void {
  const { edge } = w.state;
  const v = volumeOf(w, device);
  const m = memoryOf(w, device);
  look(w, device, v.settledIn);
  const since = Math.max(m.since, edge.start);
  for (let o = since; o < Math.min(v.base, edge.committed); o++) if (edge.log[o] !== 0) settle(w, device, edge.log[o]!);
  let unsettled = 0;
  for (let p = v.start; p < v.end; p++) if (!isSettled(w, device, p)) unsettled |= 1 << p;
  if (unsettled === 0) {
    if (w.rules.leavingTrims()) trim(w, device, v.end);
    v.id = 0;
    v.registered = 0;
    v.generation = 1;
    m.need = Need.JOIN;
    m.joined = 0;
    return;
  }
  const doubt = inDoubt(w, device, unsettled);
  if ((doubt & ~w.rules.sentAgain(m.again, doubt)) !== 0) {
    m.need = Need.BLOCKED;
    if (w.config.budgets.retry > 0) m.named = doubt;
    return;
  }
  const { id, generation, term } = v;
  const frame = frameOf(w, device, firstUnsettled(w, device), w.config.frame);
  w.state.air.push({
    ...frame,
    device,
    connection: 0,
    claim: 1,
    id,
    generation,
    term,
    expected: 0,
    previous: 0,
    readTo: v.replicaEnd,
  });
  m.inFlight++;
}

/** Where a push would begin. */
export function pushable(w: World, device: number): number {
  const v = volumeOf(w, device);
  let at = Math.max(memoryOf(w, device).expected, v.start);
  while (at < v.end && isSettled(w, device, at)) at++;
  return at;
}

export function push(w: World, device: number, batches: number): void {
  const v = volumeOf(w, device);
  const m = memoryOf(w, device);
  const at = pushable(w, device);
  if (w.rules.skippingClaims() && at !== m.expected) {
    if (m.inFlight > 0) return;
    m.joined = 0;
    m.need = Need.CLAIM;
    m.goal = w.state.edge.committed;
    return;
  }
  const { id, generation, term } = v;
  const { expected, previous } = m;
  const frame = frameOf(w, device, at, batches);
  w.state.air.push({
    ...frame,
    device,
    connection: 0,
    claim: 0,
    id,
    generation,
    term,
    expected,
    previous,
    readTo: NONE,
  });
  m.inFlight++;
  m.expected = at + frame.count;
  m.previous = frame.batches.at(-1)!;
}

/** What a push's or claim's answer leads to. */
export function taken(w: World, device: number, answer: Answer): void {
  const v = volumeOf(w, device);
  const m = memoryOf(w, device);
  const { next, last, lastOffset } = answer;
  const isOk = answer.code === Code.OK;
  if (m.inFlight > 0) m.inFlight--;
  if (answer.kind === Kind.CLAIM) {
    if (!isOk) {
      m.need = Need.CLAIM;
      m.goal = Math.max(m.goal, answer.end);
      return;
    }
    v.generation = answer.generation;
    v.registered = 1;
    v.noteNext = next;
    v.noteLast = last;
    Object.assign(m, { need: Need.IDLE, joined: 1, expected: next, previous: last, again: 0 });
    Object.assign(m, { takenTo: next, takenBy: lastOffset, toldNext: next, toldLast: last });
    if (w.rules.grantTrims()) trim(w, device, Math.min(firstUnsettled(w, device), v.end));
    return;
  }
  if (!isOk) {
    m.joined = 0;
    if (m.need < Need.BLOCKED) m.need = Need.JOIN;
    return;
  }
  if (w.rules.settlesAtOk()) for (let p = answer.at; p < next; p++) m.settled |= 1 << p;
  if (next >= m.takenTo) {
    m.takenTo = next;
    m.takenBy = lastOffset;
    m.toldNext = next;
    m.toldLast = last;
  }
  settleTaken(w, device, v.replicaEnd, false);
}

export function answered(w: World, device: number, answer: Answer): void {
  if (answer.kind === Kind.JOIN) joinAnswered(w, device, answer);
  else taken(w, device, answer);
}
