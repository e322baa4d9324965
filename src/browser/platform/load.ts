/**
 * Loads a file of the package by its address. After a failure the next try uses a new address, because Firefox
 * remembers a module that could not be loaded as long as the page lives.
 */
import { TidemarkError } from "../../errors.ts";
import { LOAD_HELP } from "./load-help.ts";

const failures = new Map<string, number>();

/** The message says what to do: the file is missing, or there is no network. */
export const loadFailed = (file: string, address: string, cause: unknown): TidemarkError =>
  new TidemarkError(
    "LOAD_FAILED",
    `the package's file ${file} can't be loaded from ${address}: ${String(cause)}. ${LOAD_HELP}`,
    { file, address },
    { cause },
  );

export async function importFile(file: string, address: string): Promise<unknown> {
  const tries = failures.get(address) ?? 0;
  const anew =
    tries > 0 && address.startsWith("http") ? `${address}${address.includes("?") ? "&" : "?"}${tries}` : address;
  try {
    return await import(/* @vite-ignore */ /* webpackIgnore: true */ anew);
  } catch (cause) {
    failures.set(address, tries + 1);
    throw loadFailed(file, anew, cause);
  }
}
