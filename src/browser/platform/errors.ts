/** What the browser throws, told apart by its name: DOMExceptions of two pages share no class. */
export const isNamed = (thrown: unknown, name: string): boolean => thrown instanceof Error && thrown.name === name;

/** An error of somebody else's code, told as uncaught ones are; what called that code goes on. */
export function report(thrown: unknown): void {
  if (typeof reportError === "function") return reportError(thrown);
  queueMicrotask(() => {
    throw thrown;
  });
}
