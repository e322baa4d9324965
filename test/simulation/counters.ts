/**
 * Counts faults and events that had an effect. A fault that changed nothing is not counted: a kind that stays at zero
 * over a whole run was not tested by the run. `EXPECTED` names the kinds that must not stay at zero.
 */
export class Counters {
  readonly counts: Record<string, number> = {};

  add(name: string, times = 1): void {
    this.counts[name] = (this.counts[name] ?? 0) + times;
  }

  merge(other: Readonly<Record<string, number>>): void {
    for (const [name, times] of Object.entries(other)) this.add(name, times);
  }
}

/** Kinds that a run of a few hundred seeds must count at least once. Printed last, checked by the runner. */
export const EXPECTED: readonly string[] = [
  "cut.kept",
  "cut.dropped",
  "cut.torn",
  "cut.garbled",
  "cut.reordered",
  "cut.inflight",
  "kill.kept",
  "kill.buffer-lost",
  "kill.inflight",
  "crash.in-open",
  "crash.in-roll",
  "crash.in-compaction",
  "crash.in-trim",
  "crash.in-catalog",
  "fault.write-refused",
  "fault.write-short",
  "fault.write-quota",
  "fault.flush-failed",
  "fault.slots-refused",
  "fault.read-failed",
  "fault.read-stale",
  "rot.flip",
  "rot.stale-page",
  "rot.zero-sector",
  "clock.back",
  "clock.jump",
  "unknown",
  "forgotten",
];
