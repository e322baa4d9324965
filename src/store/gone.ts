/** The error for a volume that is no longer there, or has been replaced by another one. */
import { TidemarkError } from "../errors.ts";

export const gone = (): TidemarkError =>
  new TidemarkError("CLOSED", "the data is gone: cleared, or the tide was deleted. Reload the page, or open it anew", {
    reason: "cleared",
  });
