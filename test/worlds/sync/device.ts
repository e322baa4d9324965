/**
 * A device's side of a small world: outbox, replica and session of one topic, each step as docs/sync.md has it.
 *
 *   open ─▶ join ─▶ push ─▶ ok        taken  ─┐
 *            └────▶ claim ─▶ granted  taken  ─┴─▶ settled once the replica has it
 */
import { Code, join, Kind } from "./edge.ts";
import { look, receive, settleTaken, trim } from "./replica.ts";
import type { Held } from "./rules.ts";
import { type Answer, cloneVolume, type Frame, Need, newMemory, NONE, type Volume } from "./state.ts";
import { batchEnd, firstUnsettled, isIn, isSettled, memoryOf, volumeOf, type World } from "./world.ts";

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

const lastAt =
  (v: Volume) =>
  (position: number): number =>
    position > 0 && batchEnd(v.outbox, position - 1, v.end) === position ? v.outbox[position - 1]! : 0;

/** What a join's answer leads to: the table of verdicts. */
function joinAnswered(w: World, device: number, answer: Answer): void {
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

/** Where a push would begin. */
export function pushable(w: World, device: number): number {
  const v = volumeOf(w, device);
  let at = Math.max(memoryOf(w, device).expected, v.start);
  while (at < v.end && isSettled(w, device, at)) at++;
  return at;
}

/** The frame of so many batches from `at` on: contiguous and unsettled ones. */
export function frameOf(
  w: World,
  device: number,
  at: number,
  batches: number,
): Pick<Frame, "at" | "count" | "batches"> {
  const v = volumeOf(w, device);
  const list: number[] = [];
  let end = at;
  while (list.length < batches && end < v.end && !isSettled(w, device, end)) {
    list.push(v.outbox[end]!);
    end = batchEnd(v.outbox, end, v.end);
  }
  return { at, count: end - at, batches: list };
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

/** Settled positions that stand below the replica, where no look at an opening finds them. */
function noteFound(w: World, device: number): void {
  const v = volumeOf(w, device);
  const { settled } = memoryOf(w, device);
  if (v.base === NONE) return;
  const below = w.state.edge.history.slice(0, v.base);
  for (let p = firstUnsettled(w, device); p < v.end; p++)
    if (isIn(settled, p) && below.includes(v.outbox[p]!)) v.retracted |= 1 << p;
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
    if (w.rules.grantNotesFound()) noteFound(w, device);
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
