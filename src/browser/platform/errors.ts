/** Recognises a browser's error by its name, because DOMExceptions of two pages do not share a class. */
export const isNamed = (thrown: unknown, name: string): boolean => thrown instanceof Error && thrown.name === name;

/** Reports an error of an app's code like an uncaught one. The code that called it continues. */
export function report(thrown: unknown): void {
  if (typeof reportError === "function") return reportError(thrown);
  queueMicrotask(() => {
    throw thrown;
  });
}
