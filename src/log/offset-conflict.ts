/** The refusal of an append under the condition `ifEnd`. A log that does not exist yet ends at 0, and stays unmade. */
import { TidemarkError } from "../errors.ts";

export const offsetConflict = (logEndOffset: number, ifEnd: number): TidemarkError =>
  new TidemarkError("OFFSET_CONFLICT", `the log ends at ${logEndOffset}, not ${ifEnd}`, { logEndOffset, ifEnd });
