/** A claim in a small world: look for what is at the edge already, ask about what can't be known, send the rest. */
import { frameOf } from "./device.ts";
import { look, settle, trim } from "./replica.ts";
import { Need, NONE } from "./state.ts";
import { firstUnsettled, isIn, isSettled, memoryOf, volumeOf, type World } from "./world.ts";

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
