/** The clock of the simulation. It stands still until an operation moves it, forward or back. */
import type { Clock } from "../../src/log/types.ts";

export class SimClock implements Clock {
  ms = 1_700_000_000_000;
  readonly now = (): number => this.ms;

  advance(ms: number): void {
    this.ms += ms;
  }
}
