/** Events of a page's life: visible or hidden, frozen or in the back/forward cache, gone for good. */
export interface PageLife {
  seen(): void;
  /** The page goes for good. */
  depart(): void;
  sleep(): void;
  wake(): void;
}

export function watchPage(life: PageLife, signal: AbortSignal): void {
  // A dedicated worker has no document, and is never frozen without its page.
  if (typeof document === "object") document.addEventListener("visibilitychange", () => life.seen(), { signal });
  for (const type of ["freeze", "pagehide"])
    addEventListener(
      type,
      (event) => ((event as PageTransitionEvent).persisted === false ? life.depart() : life.sleep()),
      { signal, capture: true },
    );
  for (const type of ["resume", "pageshow"]) addEventListener(type, () => life.wake(), { signal, capture: true });
}

/**
 * True if nobody can see the page. A dedicated worker can't know: it counts as visible and keeps the lead that it has.
 */
export const isHidden = (): boolean => typeof document === "object" && document.visibilityState === "hidden";
