/**
 * What a page tells sync of itself. These are hints: they start or delay a try to connect, and decide nothing.
 *
 *   seen     visible again, back from the cache of pages, or thawed      hidden   nobody can see it
 *   online   the browser says that there is a network again
 */
export type PageHint = "seen" | "hidden" | "online";

/** A dedicated worker can't know, and counts as visible. */
export const isPageHidden = (): boolean => typeof document === "object" && document.visibilityState === "hidden";

/** Tells what changes, until the function that it returns is called. A page that is hidden already says so at once. */
export function hintsOfPage(tell: (hint: PageHint) => void): () => void {
  if (typeof addEventListener !== "function") return () => undefined;
  const end = new AbortController();
  const { signal } = end;
  const look = (): void => tell(isPageHidden() ? "hidden" : "seen");
  if (typeof document === "object") document.addEventListener("visibilitychange", look, { signal });
  for (const type of ["pageshow", "resume"]) addEventListener(type, look, { signal });
  addEventListener("online", () => tell("online"), { signal });
  if (isPageHidden()) tell("hidden");
  return () => end.abort();
}
