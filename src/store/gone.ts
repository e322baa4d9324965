/** What is said where another volume, or none, stands in the place of the one that was open. */
import { TidemarkError } from "../errors.ts";

export const gone = (): TidemarkError =>
  new TidemarkError("CLOSED", "the data is gone: site data was cleared, or the tide was deleted. Open it anew", {
    reason: "cleared",
  });
