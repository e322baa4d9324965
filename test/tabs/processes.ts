/** What Linux says of a browser's processes: which they are, what they do, how much processor time they took. */
import { readdirSync, readFileSync } from "node:fs";

/** Of processor time, in a second. */
export const TICKS = 100;

/** From the third field on: state, parent, group … user time, system time at 11 and 12. */
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
/** R, S, D, and T for one that is stopped; undefined for one that is gone. */
export const stateOf = (pid: number): string | undefined => statOf(pid)[0];
/** User and system; 0 for one that is gone. */
export function ticksOf(pid: number): number {
  const stat = statOf(pid);
  return Number(stat[11] ?? 0) + Number(stat[12] ?? 0);
}

/**
 * Its threads' processor time. Counted, where a tick is only a sample of who ran when the clock struck: timers strike
 * then, too.
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

/** Of a process that crashed, the first thread is gone before the others, which still hold its files and sockets. */
function isGone(pid: number): boolean {
  try {
    return readdirSync(`/proc/${pid}/task`).every((thread) =>
      [undefined, "Z", "X"].includes(statOf(`${pid}/task/${thread}`)[0]),
    );
  } catch {
    return true;
  }
}

/** When it ended; undefined when it still runs after `ms`. */
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

/** Children, and theirs. */
export function descendantsOf(ancestor: number): number[] {
  const parents = new Map(all().map((pid) => [pid, Number(statOf(pid)[1])]));
  const isBelow = (pid: number | undefined): boolean =>
    pid !== undefined && pid !== 0 && (pid === ancestor || isBelow(parents.get(pid)));
  return [...parents.keys()].filter((pid) => pid !== ancestor && isBelow(pid));
}

/** The one of these that works hardest while `work` goes on. */
export async function busiestOf(pids: readonly number[], work: () => Promise<unknown>): Promise<number> {
  const before = pids.map(ticksOf);
  await work();
  const took = pids.map((pid, i) => ticksOf(pid) - before[i]!);
  return pids[took.indexOf(Math.max(...took))]!;
}
