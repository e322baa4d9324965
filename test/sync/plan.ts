/** Decides by the seed which faults strike in a round, which device each strikes, when, and for how long. */
import { Random } from "../simulation/prng.ts";

/**
 * The weight of each fault.
 *
 *   of the network (proxy.ts)      cut, refuse, delay, rtt (100 ms), slow (50 kB/s), "lost up", "lost down",
 *                                  "lost both" (half open), stop (a connection ends after n bytes, some times)
 *   of processes                   tab: kill -9 of a renderer; reload; browser: kill -9; edge: kill -9 of workerd;
 *                                  hang: SIGSTOP of the leader's renderer, SIGCONT later
 *   of tokens (tokens.ts)          refused, expired, failing, nobody: the sockets end, and the next token is that one
 *   of profiles                    copy: copied while its browser is down, then both run; "put back": an older copy
 *                                  takes the place of the profile
 */
const WEIGHTS = {
  cut: 12,
  refuse: 10,
  delay: 6,
  rtt: 6,
  slow: 5,
  "lost up": 5,
  "lost down": 5,
  "lost both": 5,
  stop: 14,
  tab: 14,
  reload: 6,
  browser: 5,
  edge: 6,
  hang: 8,
  refused: 4,
  expired: 4,
  failing: 4,
  nobody: 3,
  copy: 4,
  "put back": 4,
};
export type SyncFault = keyof typeof WEIGHTS;
export const SYNC_FAULTS = Object.keys(WEIGHTS) as SyncFault[];

export const NETWORK: ReadonlySet<SyncFault> = new Set<SyncFault>([
  ...(["cut", "refuse", "delay", "rtt", "slow", "lost up", "lost down", "lost both", "stop"] as const),
]);
export const TOKENS: ReadonlySet<SyncFault> = new Set<SyncFault>(["refused", "expired", "failing", "nobody"]);

export interface PlannedFault {
  readonly fault: SyncFault;
  /** Which device: a number from 0 to below the number of devices. */
  readonly device: number;
  /** When it begins, after the round has begun. */
  readonly atMs: number;
  readonly lastsMs: number;
  /** A number from 0 to below 1, for whatever the fault chooses. */
  readonly chance: number;
}

const FAULTS_IN_ROUND = 4;

/** Faults of one kind on one device would end each other, so a device has one of each kind in a round. */
const kindOf = (fault: SyncFault): string =>
  NETWORK.has(fault) || TOKENS.has(fault) ? "network" : fault === "edge" ? "edge" : "processes";

interface Place {
  readonly fault: SyncFault;
  readonly device: number;
}

/** Gives a fault a device that is free for it. False if this round has none. */
function place(round: Place[], fault: SyncFault, start: number, devices: number): boolean {
  if (round.length >= FAULTS_IN_ROUND) return false;
  const isFree = (device: number): boolean =>
    !round.some(
      (other) => kindOf(other.fault) === kindOf(fault) && (kindOf(fault) === "edge" || other.device === device),
    );
  const free = Array.from({ length: devices }, (_, n) => (start + n) % devices).find(isFree);
  if (free === undefined) return false;
  round.push({ fault, device: free });
  return true;
}

/** The first rounds: each fault once, in the first round that has a place for it. */
function firstRounds(seed: number, devices: number): readonly (readonly Place[])[] {
  const rounds: Place[][] = [];
  for (const [i, fault] of SYNC_FAULTS.entries()) {
    const found = rounds.some((round) => place(round, fault, i + seed, devices));
    if (!found) place(rounds[rounds.push([]) - 1]!, fault, i + seed, devices);
  }
  return rounds;
}

/** How many rounds go through all faults. */
export const firstRoundsOf = (seed: number, devices: number): number => firstRounds(seed, devices).length;

export interface RoundPlan {
  readonly seed: number;
  readonly round: number;
  readonly devices: number;
  readonly only?: SyncFault | undefined;
  /** Faults that this round has first of all, as far as it has places for them. */
  readonly again?: readonly SyncFault[];
}

/** The first rounds go through all faults, so that a short run has each of them; then chance decides. */
export function faultsOf({ seed, round, devices, only, again = [] }: RoundPlan): PlannedFault[] {
  const random = new Random(seed, 16, round);
  const places: Place[] = only ? [] : [...(firstRounds(seed, devices)[round] ?? [])];
  for (const [i, fault] of again.entries()) place(places, fault, i + round, devices);
  if (places.length === 0) {
    for (let i = 0; i < FAULTS_IN_ROUND; i++)
      place(places, only ?? random.weighted(WEIGHTS), random.int(devices), devices);
  }
  return places.map(({ fault, device }) => ({
    fault,
    device,
    atMs: random.int(1_000),
    lastsMs: random.between(200, random.pick([600, 1_500, 3_500])),
    chance: random.int(1_000) / 1_000,
  }));
}
