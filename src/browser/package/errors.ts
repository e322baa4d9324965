/**
 * Replaces errors.ts and load.ts in core.js and its parts: a page has those from browser.js already and passes them on,
 * and a worker makes its own (own-errors.ts). So each has one TidemarkError, and `instanceof` holds for every error.
 * The build puts this file in their place.
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
