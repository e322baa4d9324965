/** Every step of a small world: what devices do, what the network does to them, what the edge does, and the faults. */
import * as device from "./device.ts";
import * as edge from "./edge.ts";
import { cloneEdge, cloneVolume, FOREIGN, type Frame, FRAMES, IDS, LIVES, Need, NONE, type State } from "./state.ts";
import { ANSWERS } from "./state.ts";
import {
  batchEnd,
  type Budget,
  budgetAt,
  firstUnsettled,
  isSettled,
  isSpent,
  memoryOf,
  spend,
  volumeOf,
  type World,
} from "./world.ts";

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
const ALL = 9;

/** What a move is called in a trace. */
export function nameOf(made: Move): string {
  const [step, a, x] = [made >> 16, (made >> 8) & 0xff, made & 0xff];
  const name = STEPS[step]!;
  if (/edge|entry|segment|somebody|outbox/.test(name)) return a || x ? `${name} (${a})` : name;
  return /^a frame/.test(name)
    ? `${name} (${a})`
    : `${"ABC"[a]}: ${name}${step === Step.push && x > 1 ? " of two" : ""}`;
}

const S = {
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

/** The outbox is clean and its id has claimed: the next append draws another. */
const drawsId = (w: World, d: number): boolean => {
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
    const at = device.pushable(w, d);
    if (at < v.end) {
      out.push(move(S.PUSH, d, 1));
      const second = batchEnd(v.outbox, at, v.end);
      if (config.frame > 1 && second < v.end && !isSettled(w, d, second)) out.push(move(S.PUSH, d, 2));
    }
  }
  if (m.need === Need.CLAIM && m.inFlight === 0 && v.replicaEnd >= m.goal && hasAir) out.push(move(S.CLAIM, d));
  if (device.isFollowing(w, d) && v.replicaEnd < state.edge.committed) {
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
  if (may("discard") && m.inFlight === 0 && m.joined && device.pushable(w, d) < v.end) out.push(move(S.DISCARD, d));
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

function append(w: World, d: number, records: number): void {
  const { state } = w;
  const v = volumeOf(w, d);
  const m = memoryOf(w, d);
  if (drawsId(w, d)) {
    state.idsDrawn++;
    Object.assign(v, { id: state.idsDrawn, generation: 1, registered: 0, first: v.end, noteNext: NONE, noteLast: 0 });
    v.doubtFrom = w.rules.doubtFromAtDraw(v.doubtFrom, v.base === NONE ? 0 : v.replicaEnd);
    device.leaveFrames(w, d, true);
    Object.assign(m, { joined: 0, asking: 0, inFlight: 0, takenTo: 0, takenBy: NONE, toldNext: NONE });
    if (m.need <= Need.CLAIM) m.need = Need.JOIN;
  }
  const batch = ++state.batchesMade;
  if (records === 2) state.wide |= 1 << batch;
  for (let i = 0; i < records; i++) {
    v.outbox[v.end] = batch;
    m.appendedAt[v.end] = v.base === NONE ? NONE : v.replicaEnd;
    v.end++;
  }
  spend(w, "append");
}

/** A frame reaches the edge; its answer comes at once, later, or never. */
export function arrive(w: World, at: number, isLost: boolean): void {
  const { state } = w;
  const frame: Frame = state.air[at]!;
  state.air.splice(at, 1);
  const { answer, held } = edge.take(w, frame);
  edge.commitAtOnce(w);
  if (frame.connection !== 0) {
    if (w.rules.answersFormerConnections() && w.config.late) state.answers.push(answer);
    return;
  }
  if (isLost) return device.disconnect(w, frame.device, false);
  // Behind a commit that takes time: here never.
  if (held && w.config.queue) return;
  if (w.config.late) state.answers.push(answer);
  else device.answered(w, frame.device, answer);
}

function joinStep(w: World, d: number): void {
  const answer = edge.join(w, d);
  if (!w.config.late) return device.answered(w, d, answer);
  memoryOf(w, d).asking = 1;
  w.state.answers.push(answer);
}

function putBack(w: World): void {
  const { state } = w;
  spend(w, "putBack");
  const times = state.spent[budgetAt.putBack]!;
  const e = cloneEdge(state.edgeBackup!);
  if (e.livesKnown < LIVES) {
    e.lives[e.livesKnown] = 1 + times;
    e.began[e.livesKnown] = e.end;
    e.livesKnown++;
  }
  state.edge = e;
  state.volumes.forEach((v, d) => v.opened && device.disconnect(w, d, false));
  state.air = [];
}

function resetEdge(w: World): void {
  spend(w, "reset");
  edge.reset(w);
  w.state.volumes.forEach((v, d) => v.opened && device.disconnect(w, d, false));
}

const followTo = (w: World, d: number, x: number): number => {
  const { edge: e } = w.state;
  const { replicaEnd } = volumeOf(w, d);
  const to = x === ALL ? e.committed : batchEnd(e.history, replicaEnd, e.committed);
  return Math.max(Math.min(to, e.committed), Math.min(e.start, e.committed));
};

type Act = (w: World, a: number, x: number) => void;
const ACTS: Readonly<Record<number, Act>> = {
  [S.APPEND]: (w, d) => append(w, d, 1),
  [S.APPEND_WIDE]: (w, d) => append(w, d, 2),
  [S.JOIN]: joinStep,
  [S.JOIN_LOST](w, d) {
    spend(w, "cut");
    edge.join(w, d);
    device.disconnect(w, d, false);
  },
  [S.PUSH]: device.push,
  [S.CLAIM]: device.claim,
  [S.ARRIVE]: (w, at) => arrive(w, at, false),
  [S.ARRIVE_LOST](w, at) {
    spend(w, "cut");
    arrive(w, at, true);
  },
  [S.FOLLOW]: (w, d, x) => device.follow(w, d, followTo(w, d, x)),
  [S.FOLLOW_CRASH](w, d) {
    spend(w, "crash");
    device.follow(w, d, w.state.edge.committed, true);
    device.leaveFrames(w, d, false);
    device.boot(w, d);
  },
  [S.TRIM]: (w, d) => device.trim(w, d, firstUnsettled(w, d)),
  [S.CUT](w, d) {
    spend(w, "cut");
    device.disconnect(w, d, false);
  },
  [S.CUT_LATE](w, d) {
    spend(w, "cut");
    device.disconnect(w, d, true);
  },
  [S.CRASH](w, d) {
    spend(w, "crash");
    device.leaveFrames(w, d, false);
    device.boot(w, d);
  },
  [S.CRASH_LATE](w, d) {
    spend(w, "crash");
    device.leaveFrames(w, d, true);
    device.boot(w, d);
  },
  [S.BACKUP](w, d) {
    spend(w, "backup");
    w.state.backup = cloneVolume(volumeOf(w, d));
  },
  [S.COPY](w, d) {
    spend(w, "copy");
    device.openCopy(w, d, w.state.backup!);
  },
  [S.IN_PLACE](w, d) {
    spend(w, "inPlace");
    device.leaveFrames(w, d, true);
    device.openCopy(w, d, w.state.backup!);
  },
  [S.FORGET](w, at) {
    spend(w, "forget");
    edge.forget(w, at + 1);
  },
  [S.FOREIGN](w) {
    spend(w, "foreign");
    edge.append(w, FOREIGN + w.state.spent[budgetAt.foreign]!);
    edge.commitAtOnce(w);
  },
  [S.COMPACT](w, o) {
    spend(w, "compact");
    w.state.edge.log[o] = 0;
  },
  [S.EDGE_TRIM](w, to) {
    spend(w, "trim");
    w.state.edge.start = to;
  },
  [S.EDGE_BACKUP](w) {
    spend(w, "edgeBackup");
    w.state.edgeBackup = { ...cloneEdge(w.state.edge), end: w.state.edge.committed };
  },
  [S.PUT_BACK]: putBack,
  [S.DISCARD](w, d) {
    spend(w, "discard");
    const v = volumeOf(w, d);
    const at = device.pushable(w, d);
    const batch = v.outbox[at]!;
    for (let p = at; p < v.end && v.outbox[p] === batch; p++) v.retracted |= 1 << p;
    w.state.retractedBatches |= 1 << batch;
  },
  [S.COMMIT]: edge.commit,
  [S.RESET]: resetEdge,
  [S.ANSWER](w, at) {
    const answer = w.state.answers[at]!;
    w.state.answers.splice(at, 1);
    if (answer.id === volumeOf(w, answer.device).id || w.rules.answersFormerIds())
      device.answered(w, answer.device, answer);
  },
  [S.AGAIN](w, d) {
    spend(w, "retry");
    const v = volumeOf(w, d);
    const m = memoryOf(w, d);
    for (let p = v.start; p < v.end; p++) if ((m.named >> p) & 1) w.state.repeatedBatches |= 1 << v.outbox[p]!;
    Object.assign(m, { again: m.named, named: 0, need: Need.CLAIM, goal: v.replicaEnd });
  },
  [S.SEAL](w) {
    spend(w, "seal");
    edge.seal(w);
  },
  [S.EVICT](w, at) {
    spend(w, "evict");
    edge.evict(w, at + 1);
  },
};

/** Makes one move in place. */
export function make(w: World, made: Move): void {
  ACTS[made >> 16]!(w, (made >> 8) & 0xff, made & 0xff);
}

/** The only volume is opened for the first time. */
export function begin(w: World): State {
  w.state.volumes[0]!.opened = 1;
  device.boot(w, 0);
  return w.state;
}
