/**
 * errors.ts and load.ts as core.js and its parts see them: a page has them from browser.js already and hands them over,
 * a worker makes its own (own-errors.ts). So there is one TidemarkError in each, and `instanceof` holds for whatever is
 * thrown. The build puts this in their place.
 */
import type * as Errors from "../../errors.ts";
import type * as Load from "../platform/load.ts";

export type Handed = Pick<typeof Errors, "TidemarkError" | "assert"> & Pick<typeof Load, "importFile" | "loadFailed">;

export let TidemarkError: Handed["TidemarkError"];
export let assert: Handed["assert"];
export let importFile: Handed["importFile"];
export let loadFailed: Handed["loadFailed"];

export function useErrors(handed: Handed): void {
  ({ TidemarkError, assert, importFile, loadFailed } = handed);
}
