/** Makes the steps of a small world, each in place. moves.ts says which can be made. */
import { claim } from "./claim.ts";
import * as device from "./device.ts";
import * as edge from "./edge.ts";
import { ALL, drawsId, type Move, S } from "./moves.ts";
import { follow, trim } from "./replica.ts";
import { cloneEdge, cloneVolume, FOREIGN, type Frame, LIVES, Need, NONE, type State } from "./state.ts";
import { batchEnd, budgetAt, firstUnsettled, memoryOf, spend, volumeOf, type World } from "./world.ts";

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
  [S.CLAIM]: claim,
  [S.ARRIVE]: (w, at) => arrive(w, at, false),
  [S.ARRIVE_LOST](w, at) {
    spend(w, "cut");
    arrive(w, at, true);
  },
  [S.FOLLOW]: (w, d, x) => follow(w, d, followTo(w, d, x)),
  [S.FOLLOW_CRASH](w, d) {
    spend(w, "crash");
    follow(w, d, w.state.edge.committed, true);
    device.leaveFrames(w, d, false);
    device.boot(w, d);
  },
  [S.TRIM]: (w, d) => trim(w, d, firstUnsettled(w, d)),
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
