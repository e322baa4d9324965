/** Errors of the browser, as the library knows them, and those of an app's code. */
import { TidemarkError } from "../../errors.ts";

/** Recognises a browser's error by its name, because DOMExceptions of two pages do not share a class. */
export const isNamed = (thrown: unknown, name: string): boolean => thrown instanceof Error && thrown.name === name;

/** Advice where storage is full. */
const NO_ROOM = "no room: trim or delete topics";

/** An error of the browser's storage, as the store knows it. */
export const storageError = (thrown: unknown): TidemarkError =>
  isNamed(thrown, "QuotaExceededError")
    ? new TidemarkError("QUOTA_EXCEEDED", NO_ROOM, {}, { cause: thrown })
    : TidemarkError.from(thrown, "STORAGE_FAILED");

/** Reports an error of an app's code like an uncaught one. The code that called it continues. */
export function report(thrown: unknown): void {
  if (typeof reportError === "function") return reportError(thrown);
  queueMicrotask(() => {
    throw thrown;
  });
}
