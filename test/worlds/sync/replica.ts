/**
 * A device's outbox and replica in a small world: what is settled, what is trimmed, what comes from the edge.
 *
 *   follow ─▶ (T2's trim, durable) ─▶ the replica takes batches ─▶ own ones are settled ─▶ trim, with the note
 */
import { doubtFromAfter, nextAfterTrim, settledInAfter } from "../../../src/sync/settling.ts";
import { FOREIGN, Need, NONE } from "./state.ts";
import { batchEnd, isIn, isSettled, memoryOf, recordsOf, volumeOf, type World } from "./world.ts";

/** How many records of a batch the replica shows. */
function presentIn(list: readonly number[], from: number, to: number, batch: number): number {
  let present = 0;
  for (let o = from; o < to; o++) if (list[o] === batch) present++;
  return present;
}

export function settle(w: World, device: number, batch: number): void {
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
export const look = (w: World, device: number, from: number): void => {
  const v = volumeOf(w, device);
  if (v.base !== NONE) lookAt(w, device, from, v.replicaEnd);
};

/** Settled positions leave the outbox, and the note says so, in one commit. */
export function trim(w: World, device: number, to: number): void {
  const v = volumeOf(w, device);
  const m = memoryOf(w, device);
  const unsettled = positionsFrom(to, v.end).filter((p) => !isSettled(w, device, p));
  const appendedAt = unsettled.map((p) => (m.appendedAt[p] === NONE ? undefined : m.appendedAt[p]!));
  v.doubtFrom = doubtFromAfter(v.doubtFrom, v.base === NONE ? undefined : v.replicaEnd, appendedAt);
  if (to <= v.start) return;
  v.start = to;
  const left = positionsFrom(v.first, to)
    .filter((p) => !isIn(v.retracted, p) && batchEnd(v.outbox, p, v.end) === p + 1)
    .map((p) => ({ next: p + 1, crc: v.outbox[p]! }));
  const told = m.toldNext === NONE ? undefined : { next: m.toldNext, lastCrc: m.toldLast };
  const note = { next: v.noteNext === NONE ? undefined : v.noteNext, lastCrc: v.noteLast };
  const { next = NONE, lastCrc = 0 } = nextAfterTrim(note, told, v.generation, left);
  v.noteNext = next;
  v.noteLast = lastCrc;
  if (v.base === NONE) return;
  const settled = positionsFrom(v.start, v.end).filter((p) => isIn(m.settled, p));
  const standing = positionsFrom(v.base, v.replicaEnd).filter(
    (o) => v.replica[o] !== 0 && settled.some((p) => v.outbox[p] === v.replica[o]),
  );
  v.settledIn = settledInAfter(v.settledIn, v.replicaEnd, standing);
}

const positionsFrom = (from: number, to: number): number[] =>
  Array.from({ length: Math.max(0, to - from) }, (_, i) => from + i);

/** The replica takes what the edge has in [its end, to). What lies below the edge's start is a gap. */
export function receive(w: World, device: number, to: number): void {
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
export function settleTaken(w: World, device: number, end: number, mayTrim: boolean): void {
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
