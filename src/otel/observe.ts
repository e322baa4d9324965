/** A tide as measurements: fail-overs, from the loss of the leader until this tab has the next one, and flushes. */
import type { Tide } from "../browser/api.ts";
import { ATTRIBUTE, INSTRUMENT } from "./names.ts";
import { observeFlushes } from "./flushes.ts";
import { refused } from "../topic/check.ts";
import { checkTelemetry, histogram, meterOf, type TelemetryOptions } from "./telemetry.ts";

/** Measures until the returned function is called, or the tide is closed. */
export function observe(tide: Pick<Tide, "name" | "on">, options: TelemetryOptions = {}): () => void {
  if (typeof (Object(tide) as Partial<Tide>).on !== "function") throw refused("tide", tide, "an open tide");
  checkTelemetry("observe()", options);
  const failOvers = histogram(meterOf(options), INSTRUMENT.failOver, "How long a tab was without a leader");
  let lost: number | undefined;
  const offFlushes = options.flushes === false ? undefined : observeFlushes(tide, options);
  const off = tide.on((event) => {
    if (event.type === "leaderlost") lost ??= performance.now();
    if (event.type !== "leaderchange" || lost === undefined) return;
    failOvers.record((performance.now() - lost) / 1000, {
      ...options.attributes,
      [ATTRIBUTE.tide]: tide.name,
      [ATTRIBUTE.via]: event.via,
    });
    lost = undefined;
  });
  return () => {
    off();
    offFlushes?.();
  };
}
