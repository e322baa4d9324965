/** Linux's data on a browser's processes: their ids, their states and their processor time. */
import { readdirSync, readFileSync } from "node:fs";

/** Ticks of processor time in a second. */
export const TICKS = 100;

/** Fields of /proc/PID/stat from the third on: state, parent, group … user time and system time at 11 and 12. */
function statOf(pid: number | string): string[] {
  try {
    return readFileSync(`/proc/${pid}/stat`, "utf8")
      .replace(/^.*\) /, "")
      .split(" ");
  } catch {
    return [];
  }
}
export function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
  } catch {
    return "";
  }
}
/** The state of a process: R, S, D, or T when it is stopped; undefined when it is gone. */
export const stateOf = (pid: number): string | undefined => statOf(pid)[0];
/** User and system time in ticks; 0 when the process is gone. */
export function ticksOf(pid: number): number {
  const stat = statOf(pid);
  return Number(stat[11] ?? 0) + Number(stat[12] ?? 0);
}

/**
 * The processor time of a process's threads, exactly counted. Ticks are only samples, taken at moments at which timers
 * run as well.
 */
export function nanosecondsOf(pid: number): number {
  const ofThread = (thread: string): number => {
    try {
      return Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8").split(" ")[0]);
    } catch {
      return 0;
    }
  };
  try {
    return readdirSync(`/proc/${pid}/task`).reduce((sum, thread) => sum + ofThread(thread), 0);
  } catch {
    return 0;
  }
}

/** In a crash the first thread ends before the others, which still hold files and sockets: all must be gone. */
function isGone(pid: number): boolean {
  try {
    return readdirSync(`/proc/${pid}/task`).every((thread) =>
      [undefined, "Z", "X"].includes(statOf(`${pid}/task/${thread}`)[0]),
    );
  } catch {
    return true;
  }
}

/** The time at which the process ended; undefined when it still runs after `ms`. */
export async function goneAt(pid: number, ms: number): Promise<number | undefined> {
  for (
    const until = performance.now() + ms;
    performance.now() < until;
    await new Promise((resolve) => setTimeout(resolve, 1))
  ) {
    if (isGone(pid)) return performance.timeOrigin + performance.now() - Date.UTC(2026, 0);
  }
  return undefined;
}

const all = (): number[] =>
  readdirSync("/proc")
    .map(Number)
    .filter((pid) => pid > 0);
export const ofGroup = (leader: number): number[] => all().filter((pid) => Number(statOf(pid)[2]) === leader);
export const withCommand = (part: string): number[] => all().filter((pid) => commandOf(pid).includes(part));

/** All processes below this one. */
export function descendantsOf(ancestor: number): number[] {
  const parents = new Map(all().map((pid) => [pid, Number(statOf(pid)[1])]));
  const isBelow = (pid: number | undefined): boolean =>
    pid !== undefined && pid !== 0 && (pid === ancestor || isBelow(parents.get(pid)));
  return [...parents.keys()].filter((pid) => pid !== ancestor && isBelow(pid));
}

/** The process that uses the most processor time while `work` runs. */
export async function busiestOf(pids: readonly number[], work: () => Promise<unknown>): Promise<number> {
  const before = pids.map(ticksOf);
  await work();
  const took = pids.map((pid, i) => ticksOf(pid) - before[i]!);
  return pids[took.indexOf(Math.max(...took))]!;
}
