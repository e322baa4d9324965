/**
 * Computes from the tabs' notes how long the tabs were without a leader after each strike.
 *
 *   strike ─── death ──────── leaderlost ───── leaderchange ──────── first ack
 *                │  the browser    │ the next leader opens │ what waited is sent │
 *                                       (told by the tabs, in the machine's clock)
 *
 * Death is the moment from which the leader could no longer ack:
 *
 *   closed, reloaded or left   the page was told to go (`pagehide`)
 *   crashed                    its process was gone, or the first tab missed it, if that was earlier: the end of a
 *                              process may be seen from here only after its locks went to another
 *   any other fault            the strike itself
 */
import type { Left, Term } from "./events.ts";

/** Faults in which the page is told before it goes. */
const GOING = ["close", "reload", "left"];

export interface Struck {
  /** Name of the fault, followed by special circumstances. */
  readonly fault: string;
  readonly tab: number;
  /** The term of the leader that was struck. */
  readonly epoch: number;
  readonly strikeAt: number;
  /** When the strike took effect, as far as the runner saw it. */
  readonly at: number;
}

/** One fail-over; times in milliseconds from the leader's death. */
export interface FailOver {
  readonly fault: string;
  /** Time from the strike to the death. */
  readonly diedMs: number;
  readonly lostMs: number;
  readonly changedMs: number;
  readonly ackedMs: number;
}

export function failOversOf(struck: readonly Struck[], left: readonly Left[], terms: readonly Term[]): FailOver[] {
  return struck.flatMap((each) => {
    const next = Math.min(...terms.map(({ epoch }) => epoch).filter((epoch) => epoch > each.epoch));
    const same = terms.filter(({ epoch }) => epoch === next);
    const ackedAt = Math.min(...same.map((term) => term.ackedAt));
    // The tab had handed over before the strike: no leader was struck.
    if (same.length === 0 || ackedAt < each.strikeAt) return [];
    const told =
      GOING.some((fault) => each.fault.startsWith(fault)) &&
      left.find(({ left: tab, at }) => tab === each.tab && at > each.strikeAt);
    const lostAt = Math.min(ackedAt, ...same.map((term) => term.lostAt).filter((lost) => lost > each.strikeAt));
    const at = Math.min(told ? told.at : each.at, lostAt);
    return [
      {
        fault: each.fault,
        diedMs: at - each.strikeAt,
        lostMs: lostAt - at,
        changedMs: Math.min(...same.map(({ changedAt }) => changedAt)) - at,
        ackedMs: ackedAt - at,
      },
    ];
  });
}
