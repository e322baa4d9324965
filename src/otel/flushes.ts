/**
 * How long flushes take, as measurements. In a page only the worker that leads knows: it is asked over the port of the
 * tools, which that loads, and times flushes for as long as it is asked.
 *
 *   page ── flushes ──▶ the leader's worker ── a flush ends ──▶ all times since ──▶ the histogram ── a pause ──▶ …
 *
 * At the edge the Worker's log object tells of each (worker/log-object/with-flush-times.ts).
 */
import type { Tide, TideEvent } from "../browser/api.ts";
import type { FlushTime } from "../browser/port/envelope.ts";
import { checkTelemetry, histogram, meterOf, type TelemetryOptions } from "./telemetry.ts";
import { ATTRIBUTE, INSTRUMENT, SYSTEM } from "./names.ts";

/** Between two answers, so that a busy log is not asked for each flush. */
const PAUSE_MS = 500;
/** After a call that failed: there is no leader, or it is of an earlier version. */
const FAILED_PAUSE_MS = 2_000;

/** What tides have inside: the connection to the logs, which changes with the leader. */
interface Inside {
  readonly connection?:
    { control?(method: "flushes", observer: string, isWanted: boolean): Promise<readonly FlushTime[]> } | undefined;
}

const DESCRIPTION = "How long it took until what was written had survived what the engine's flush survives";
const flushHistogram = (options: TelemetryOptions) => histogram(meterOf(options), INSTRUMENT.flush, DESCRIPTION);

/** Measures until the returned function is called, or the tide is closed. */
export function observeFlushes(tide: Pick<Tide, "name" | "on">, options: TelemetryOptions): () => void {
  const durations = flushHistogram(options);
  const observer = crypto.randomUUID();
  let isOver = false;
  let wake = (): void => undefined;
  const pause = (ms: number): Promise<void> =>
    new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  const ask = async (isWanted: boolean): Promise<readonly FlushTime[] | undefined> =>
    (tide as Inside).connection?.control?.("flushes", observer, isWanted);
  const leave = (): void => void ask(false).catch(() => undefined);
  const end = (): void => {
    if (isOver) return;
    isOver = true;
    off();
    leave();
    wake();
  };
  const off = tide.on((event: TideEvent) => {
    // Its volume is another one now: asked again, the worker times that.
    if (event.type === "reopened") leave();
    // A worker whose store other tides share would time it for nobody.
    if (event.type === "closed") end();
    if (event.type === "leaderchange") wake();
  });
  void (async () => {
    while (!isOver) {
      const times = await ask(true).catch(() => undefined);
      for (const { ms, failed } of times ?? [])
        durations.record(ms / 1000, {
          ...options.attributes,
          [ATTRIBUTE.tide]: tide.name,
          ...(failed !== undefined && { [ATTRIBUTE.errorType]: failed }),
        });
      if (!isOver) await pause(times ? PAUSE_MS : FAILED_PAUSE_MS);
    }
  })();
  return end;
}

/** One flush at the edge, as `withFlushTimes` of tidemark/worker tells it. */
export interface FlushTold {
  readonly topic: string;
  readonly ms: number;
  /** Of a flush that failed: the error's name. */
  readonly failed?: string | undefined;
}

/** Measures flushes at the edge: `withFlushTimes(flushes())` of tidemark/worker. */
export function flushes(options: TelemetryOptions = {}): (flush: FlushTold) => void {
  checkTelemetry("flushes()", options);
  const durations = flushHistogram(options);
  return ({ topic, ms, failed }) =>
    durations.record(ms / 1000, {
      ...options.attributes,
      [ATTRIBUTE.system]: SYSTEM,
      [ATTRIBUTE.destination]: topic,
      ...(failed !== undefined && { [ATTRIBUTE.errorType]: failed }),
    });
}
