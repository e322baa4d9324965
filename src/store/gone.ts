/** The error for a volume that is no longer there, or has been replaced by another one. */
import { TidemarkError } from "../errors.ts";

export const gone = (): TidemarkError =>
  new TidemarkError("CLOSED", "site data was cleared: reload the page. Or the tide was deleted: open it anew", {
    reason: "cleared",
  });
