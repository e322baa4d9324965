/** Every step that can be made in a state of a small world: by devices, by the network, by the edge; and the faults. */
import { pushable } from "./device.ts";
import { isFollowing } from "./replica.ts";
import { ANSWERS, FOREIGN, FRAMES, IDS, Need, NONE } from "./state.ts";
import { batchEnd, type Budget, firstUnsettled, isSettled, isSpent, memoryOf, volumeOf, type World } from "./world.ts";

export const STEPS = [
  "append",
  "append of two records",
  "join",
  "join, the answer is lost",
  "push",
  "claim",
  "a frame arrives",
  "a frame arrives, the answer is lost",
  "follow",
  "follow, a crash between T2's trim and the append",
  "trim",
  "cut, frames are lost",
  "cut, frames come late",
  "crash, frames are lost",
  "crash, frames come late",
  "backup of the profile",
  "a copy is opened",
  "restored in place",
  "the edge forgets an outbox",
  "somebody else appends",
  "the edge compacts an offset away",
  "the edge trims",
  "backup of the edge",
  "the edge is put back",
  "the head is discarded",
  "the edge commits",
  "the edge is reset",
  "an answer arrives",
  "in doubt: sent again",
  "a segment is sealed",
  "an entry leaves the edge's memory",
] as const;
export const Step = Object.fromEntries(STEPS.map((name, at) => [name, at])) as Record<(typeof STEPS)[number], number>;

/** [what, who or what, how much] in 24 bits. */
export type Move = number;
const move = (step: number, a = 0, x = 0): Move => (step << 16) | (a << 8) | x;
export const ALL = 9;

export const S = {
  APPEND: Step.append,
  APPEND_WIDE: Step["append of two records"],
  JOIN: Step.join,
  JOIN_LOST: Step["join, the answer is lost"],
  PUSH: Step.push,
  CLAIM: Step.claim,
  ARRIVE: Step["a frame arrives"],
  ARRIVE_LOST: Step["a frame arrives, the answer is lost"],
  FOLLOW: Step.follow,
  FOLLOW_CRASH: Step["follow, a crash between T2's trim and the append"],
  TRIM: Step.trim,
  CUT: Step["cut, frames are lost"],
  CUT_LATE: Step["cut, frames come late"],
  CRASH: Step["crash, frames are lost"],
  CRASH_LATE: Step["crash, frames come late"],
  BACKUP: Step["backup of the profile"],
  COPY: Step["a copy is opened"],
  IN_PLACE: Step["restored in place"],
  FORGET: Step["the edge forgets an outbox"],
  FOREIGN: Step["somebody else appends"],
  COMPACT: Step["the edge compacts an offset away"],
  EDGE_TRIM: Step["the edge trims"],
  EDGE_BACKUP: Step["backup of the edge"],
  PUT_BACK: Step["the edge is put back"],
  DISCARD: Step["the head is discarded"],
  COMMIT: Step["the edge commits"],
  RESET: Step["the edge is reset"],
  ANSWER: Step["an answer arrives"],
  AGAIN: Step["in doubt: sent again"],
  SEAL: Step["a segment is sealed"],
  EVICT: Step["an entry leaves the edge's memory"],
};

/** What a move is called in a trace. */
export function nameOf(made: Move): string {
  const [step, a, x] = [made >> 16, (made >> 8) & 0xff, made & 0xff];
  const name = STEPS[step]!;
  if (/^an? (frame|answer)/.test(name)) return `${name} (${a})`;
  if (/edge|entry|segment|somebody/.test(name)) return a || x ? `${name} (${a})` : name;
  const more = step === S.PUSH && x > 1 ? " of two" : step === S.FOLLOW && x === ALL ? " to the end" : "";
  return `${"ABC"[a]}: ${name}${more}`;
}

/** The outbox is clean and its id has claimed: the next append draws another. */
export const drawsId = (w: World, d: number): boolean => {
  const v = volumeOf(w, d);
  return v.id === 0 || (v.generation > 1 && firstUnsettled(w, d) === v.end);
};
/** All answers of a device come in their order. */
const isFirst = (list: readonly { device: number; connection?: number }[], at: number): boolean =>
  !list.slice(0, at).some((other) => other.device === list[at]!.device && other.connection === list[at]!.connection);

function movesOf(w: World, d: number, out: Move[]): void {
  const { config, state } = w;
  const v = volumeOf(w, d);
  const m = memoryOf(w, d);
  const may = (budget: Budget): boolean => !isSpent(w, budget);
  const hasAir = state.air.length < FRAMES;
  if (may("append") && (!drawsId(w, d) || state.idsDrawn < IDS)) {
    if (v.end < config.positions) out.push(move(S.APPEND, d));
    if (config.wide && v.end + 1 < config.positions) out.push(move(S.APPEND_WIDE, d));
  }
  if (m.need === Need.JOIN && m.inFlight === 0 && !m.asking && state.answers.length < ANSWERS) {
    out.push(move(S.JOIN, d));
    if (may("cut") && !config.late) out.push(move(S.JOIN_LOST, d));
  }
  if (m.joined && m.inFlight < config.window && hasAir) {
    const at = pushable(w, d);
    if (at < v.end) {
      out.push(move(S.PUSH, d, 1));
      const second = batchEnd(v.outbox, at, v.end);
      if (config.frame > 1 && second < v.end && !isSettled(w, d, second)) out.push(move(S.PUSH, d, 2));
    }
  }
  if (m.need === Need.CLAIM && m.inFlight === 0 && v.replicaEnd >= m.goal && hasAir) out.push(move(S.CLAIM, d));
  if (isFollowing(w, d) && v.replicaEnd < state.edge.committed) {
    out.push(move(S.FOLLOW, d, 1));
    if (state.edge.committed - v.replicaEnd > 1) out.push(move(S.FOLLOW, d, ALL));
    if (m.takenTo > 0 && m.takenBy !== NONE && v.replicaEnd <= m.takenBy && may("crash"))
      out.push(move(S.FOLLOW_CRASH, d, ALL));
  }
  if (firstUnsettled(w, d) > v.start) out.push(move(S.TRIM, d));
  if (may("cut") && (m.joined || m.inFlight > 0 || m.asking || m.need === Need.CLAIM)) {
    out.push(move(S.CUT, d));
    if (m.inFlight > 0) out.push(move(S.CUT_LATE, d));
  }
  if (may("crash")) {
    out.push(move(S.CRASH, d));
    if (m.inFlight > 0) out.push(move(S.CRASH_LATE, d));
  }
  if (may("backup")) out.push(move(S.BACKUP, d));
  if (may("inPlace") && state.backup) out.push(move(S.IN_PLACE, d));
  if (may("discard") && m.inFlight === 0 && m.joined && pushable(w, d) < v.end) out.push(move(S.DISCARD, d));
  if (may("retry") && m.need === Need.BLOCKED) out.push(move(S.AGAIN, d));
}

function movesOfEdge(w: World, out: Move[]): void {
  const { config, state } = w;
  const { edge: e } = state;
  const may = (budget: Budget): boolean => !isSpent(w, budget);
  for (let id = 0; id < IDS; id++) {
    if (may("forget") && e.entries[id]!.known) out.push(move(S.FORGET, id));
    // What is queued for an id keeps its entry in memory.
    const isWritten = e.entries[id]!.lastOffset === e.committedEntries[id]!.lastOffset;
    if (may("evict") && (e.hot >> id) & 1 && isWritten) out.push(move(S.EVICT, id));
  }
  if (may("seal")) out.push(move(S.SEAL));
  if (may("foreign") && e.end < config.offsets) out.push(move(S.FOREIGN));
  if (may("compact") && e.committed > 1)
    for (let o = e.start; o < e.committed - 1; o++)
      if (e.log[o] !== 0 && e.log[o]! < FOREIGN) out.push(move(S.COMPACT, o));
  if (may("trim") && e.start < e.committed) {
    out.push(move(S.EDGE_TRIM, e.committed));
    const next = batchEnd(e.history, e.start, e.committed);
    if (next < e.committed) out.push(move(S.EDGE_TRIM, next));
  }
  if (may("edgeBackup")) out.push(move(S.EDGE_BACKUP));
  if (may("putBack") && state.edgeBackup) out.push(move(S.PUT_BACK));
  if ((config.queue && e.committed < e.end) || config.registry) {
    if (e.committed < e.end) out.push(move(S.COMMIT));
    if (may("reset")) out.push(move(S.RESET));
  }
}

/** Every move that can be made now. */
export function moves(w: World, out: Move[]): void {
  out.length = 0;
  const { config, state } = w;
  state.volumes.forEach((v, d) => {
    if (v.opened) movesOf(w, d, out);
  });
  const closed = state.volumes.findIndex((v) => !v.opened);
  if (!isSpent(w, "copy") && state.backup && closed >= 0) out.push(move(S.COPY, closed));
  for (let i = 0; i < state.air.length; i++) {
    if (!isFirst(state.air, i)) continue;
    if (!config.late || state.answers.length < ANSWERS) out.push(move(S.ARRIVE, i));
    if (state.air[i]!.connection === 0 && !isSpent(w, "cut") && !config.late) out.push(move(S.ARRIVE_LOST, i));
  }
  for (let i = 0; i < state.answers.length; i++) if (isFirst(state.answers, i)) out.push(move(S.ANSWER, i));
  movesOfEdge(w, out);
}
