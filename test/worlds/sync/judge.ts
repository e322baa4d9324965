/**
 * What must hold in each state of a small world, and what must come of it once nothing fails any more.
 *
 *   now            no batch twice at the edge; each outbox in its order; each own record visible in one place
 *   healed         round robin, and each device alone: it ends; each batch is at the edge, retracted, or unsettled in a
 *                  topic that asks a person; the replica is the edge's history
 */
import { claim } from "./claim.ts";
import * as device from "./device.ts";
import * as edge from "./edge.ts";
import { encode, STATE_BYTES_MAX } from "./codec.ts";
import { follow, isFollowing } from "./replica.ts";
import type { Rules } from "./rules.ts";
import { StateSet } from "./state-set.ts";
import { cloneState, FRAMES, Need, NONE, type State } from "./state.ts";
import * as steps from "./steps.ts";
import {
  Bad,
  budgetAt,
  type Config,
  firstUnsettled,
  isIn,
  isSettled,
  memoryOf,
  volumeOf,
  type World,
} from "./world.ts";

/** Rounds within which a healed world must be level; the longest way takes some twenty. */
const ROUNDS_MAX = 40;
const ALL_DEVICES = -1;

function indexIn(list: readonly number[], batch: number, end: number): number {
  for (let o = 0; o < end; o++) if (list[o] === batch) return o;
  return NONE;
}

const wasPutBack = (w: World): boolean => w.state.spent[budgetAt.putBack]! > 0;
const wasCopied = (w: World): boolean =>
  w.state.spent[budgetAt.copy]! > 0 || w.state.spent[budgetAt.inPlace]! > 0 || wasPutBack(w);

function isOrdered(w: World, d: number): boolean {
  const { edge: e, retractedBatches, repeatedBatches } = w.state;
  const v = volumeOf(w, d);
  let last = 0;
  for (let p = 0; p < v.end; p++) {
    const batch = v.outbox[p]!;
    const at = indexIn(e.history, batch, e.end);
    if (at === NONE || isIn(retractedBatches | repeatedBatches, batch)) continue;
    if (at < last) return false;
    last = at;
  }
  return true;
}

/** Where one record is to be seen. */
function visibility(w: World, d: number, p: number): number {
  const { edge: e, retractedBatches } = w.state;
  const v = volumeOf(w, d);
  const batch = v.outbox[p]!;
  const nth = p - v.outbox.indexOf(batch);
  const first = v.base === NONE ? NONE : indexIn(v.replica, batch, v.replicaEnd);
  // Of a thinned batch the first record may be the one that is gone.
  const known = first === NONE ? NONE : indexIn(v.truth, batch, v.replicaEnd);
  const inReplica = known !== NONE && v.replica[known + nth] === batch;
  const inOutbox = !isSettled(w, d, p);
  if (inReplica && inOutbox) return Bad.BOTH;
  if (inReplica || inOutbox || isIn(v.retracted, p) || wasPutBack(w)) return Bad.NONE;
  const begins = indexIn(e.history, batch, e.end);
  const o = begins === NONE ? NONE : begins + nth;
  const isFine =
    (!w.config.ownChoice && isIn(retractedBatches, batch)) ||
    (o !== NONE &&
      (e.log[o] === 0 || o < e.start || (v.base !== NONE && o < v.base) || (o < v.replicaEnd && isIn(v.gaps, o))));
  return isFine ? Bad.NONE : Bad.NOWHERE;
}

/** What is broken in this very state. */
export function judge(w: World): void {
  if (w.bad !== Bad.NONE) return;
  for (let d = 0; d < w.config.devices; d++) {
    const v = volumeOf(w, d);
    if (!v.opened) continue;
    const { need } = memoryOf(w, d);
    if (!isOrdered(w, d)) w.bad = Bad.ORDER;
    else if (need === Need.STOPPED && w.config.falseStop && !wasPutBack(w)) w.bad = Bad.FALSE_STOP;
    else if (need === Need.BLOCKED && w.config.needless && !wasCopied(w)) {
      const { edge: e } = w.state;
      const taken = v.outbox.slice(v.start, v.end).some((batch) => indexIn(e.history, batch, e.end) !== NONE);
      if (!taken) w.bad = Bad.NEEDLESS;
    }
    if (w.bad !== Bad.NONE) return;
    if (need >= Need.BLOCKED) continue;
    for (let p = 0; p < v.end; p++) {
      w.bad = visibility(w, d, p);
      if (w.bad !== Bad.NONE) return;
    }
  }
}

/** One faultless round of one device; true when it has nothing to do any more. */
function round(w: World, d: number): boolean {
  const { state } = w;
  const v = volumeOf(w, d);
  const need = (): number => memoryOf(w, d).need;
  const m = (): ReturnType<typeof memoryOf> => memoryOf(w, d);
  if (need() === Need.JOIN && m().inFlight === 0) device.joinNow(w, d);
  if (isFollowing(w, d) && v.replicaEnd < state.edge.committed) follow(w, d, state.edge.committed);
  const makeRoom = (): void => {
    if (state.air.length >= FRAMES) state.air = [];
  };
  if (need() === Need.CLAIM && m().inFlight === 0 && v.replicaEnd >= m().goal) {
    makeRoom();
    claim(w, d);
  } else if (m().joined && m().inFlight === 0 && device.pushable(w, d) < v.end) {
    makeRoom();
    device.push(w, d, 1);
  }
  while (w.bad === Bad.NONE) {
    const at = state.air.findIndex((frame) => frame.device === d && frame.connection === 0);
    if (at < 0) break;
    steps.arrive(w, at, false);
    if (!w.config.queue) continue;
    edge.commit(w);
    device.disconnect(w, d, false);
  }
  judge(w);
  if (w.bad !== Bad.NONE) return false;
  return (
    need() >= Need.BLOCKED ||
    (need() === Need.IDLE &&
      m().inFlight === 0 &&
      (v.id === 0 || m().joined === 1) &&
      firstUnsettled(w, d) === v.end &&
      (v.base === NONE || !isFollowing(w, d) || v.replicaEnd === state.edge.committed))
  );
}

/** What a device is owed once all is level. */
function settled(w: World, d: number): number {
  const { edge: e, retractedBatches } = w.state;
  const v = volumeOf(w, d);
  const { need } = memoryOf(w, d);
  if (need === Need.STOPPED) return Bad.NONE;
  for (let p = 0; p < v.end; p++) {
    const batch = v.outbox[p]!;
    if (indexIn(e.history, batch, e.end) !== NONE || isIn(v.retracted, p)) continue;
    if (!w.config.ownChoice && isIn(retractedBatches, batch)) continue;
    if (need === Need.BLOCKED && !isSettled(w, d, p)) continue;
    return Bad.LOST;
  }
  if (v.base === NONE) return Bad.NONE;
  for (let o = Math.max(v.base, e.start); o < v.replicaEnd; o++) {
    const [here, there] = [v.replica[o]!, e.log[o]!];
    if ((here !== 0 && there !== 0 && here !== there) || v.truth[o] !== e.history[o]) return Bad.DIFFERS;
  }
  return Bad.NONE;
}

/**
 * The state from which healing begins: all connections have ended. What healing never looks at is left out, so that
 * many states heal as one.
 */
function calmed(w: World): State {
  const calm: World = { ...w, state: cloneState(w.state) };
  const { state } = calm;
  state.volumes.forEach((v, d) => {
    if (v.opened && memoryOf(calm, d).need < Need.BLOCKED) device.disconnect(calm, d, false);
  });
  const keep = new Set<number>([budgetAt.putBack, budgetAt.copy, budgetAt.inPlace]);
  Object.assign(state, { air: [], answers: [], backup: undefined, edgeBackup: undefined, idsDrawn: 0, batchesMade: 0 });
  state.spent = state.spent.map((times, budget) => (keep.has(budget) && times > 0 ? 1 : 0));
  return state;
}

/** Nothing fails from here on; all devices, or one alone. What is broken then. */
function heal(calm: State, rules: Rules, config: Config, only: number): number {
  const w: World = { state: cloneState(calm), rules, config, bad: Bad.NONE };
  const isConcerned = (d: number): boolean => w.state.volumes[d]!.opened === 1 && (only === ALL_DEVICES || d === only);
  let isLevel = false;
  for (let rounds = 0; rounds < ROUNDS_MAX && !isLevel; rounds++) {
    if (config.queue) edge.commit(w);
    isLevel = true;
    for (let d = 0; d < config.devices; d++) {
      if (!isConcerned(d)) continue;
      if (!round(w, d)) isLevel = false;
      if (w.bad === Bad.FULL) return Bad.NONE;
      if (w.bad !== Bad.NONE) return w.bad;
    }
  }
  if (!isLevel) return Bad.ENDLESS;
  for (let d = 0; d < config.devices; d++) {
    const bad = isConcerned(d) ? settled(w, d) : Bad.NONE;
    if (bad !== Bad.NONE) return bad;
  }
  return Bad.NONE;
}

export interface Found {
  readonly bad: number;
  /** Once healed: all devices, or this one alone. */
  readonly healed?: number;
}

/** Tells what is broken in a state or in what comes of it; remembers what it has healed already. */
export class Healer {
  readonly #healed = new StateSet();
  readonly #words = new Int32Array(STATE_BYTES_MAX / 4);
  readonly #config: Config;
  readonly #rules: Rules;

  constructor(rules: Rules, config: Config) {
    this.#rules = rules;
    this.#config = { ...config, late: false };
  }

  find(w: World): Found | undefined {
    if (w.bad !== Bad.NONE) return { bad: w.bad };
    const calm = calmed(w);
    if (!this.#healed.add(this.#words, encode(calm, new Uint8Array(this.#words.buffer)))) return undefined;
    const opened = calm.volumes.flatMap((v, d) => (v.opened ? [d] : []));
    const tries = opened.length > 1 ? [ALL_DEVICES, ...opened] : [ALL_DEVICES];
    for (const healed of tries) {
      const bad = heal(calm, this.#rules, this.#config, healed);
      if (bad !== Bad.NONE) return { bad, healed };
    }
    return undefined;
  }
}
