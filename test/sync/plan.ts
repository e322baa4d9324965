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

/** The first rounds go through all faults, so that a short run has each of them; then chance decides. */
export function faultsOf(seed: number, round: number, devices: number, only?: SyncFault): PlannedFault[] {
  const random = new Random(seed, 16, round);
  const planned: PlannedFault[] = [];
  const taken = new Set<string>();
  const first = round * FAULTS_IN_ROUND;
  for (let i = 0; i < FAULTS_IN_ROUND; i++) {
    const inTurn = SYNC_FAULTS[(first + i + seed) % SYNC_FAULTS.length]!;
    const fault = only ?? (first + i < SYNC_FAULTS.length ? inTurn : random.weighted(WEIGHTS));
    const start = random.int(devices);
    const free = Array.from({ length: devices }, (_, n) => (start + n) % devices).find(
      (device) => !taken.has(`${fault === "edge" ? "" : device} ${kindOf(fault)}`),
    );
    if (free === undefined) continue;
    taken.add(`${fault === "edge" ? "" : free} ${kindOf(fault)}`);
    planned.push({
      fault,
      device: free,
      atMs: random.int(1_000),
      lastsMs: random.between(200, random.pick([600, 1_500, 3_500])),
      chance: random.int(1_000) / 1_000,
    });
  }
  return planned;
}
