/** What the browser tells a page of its life: seen or hidden, frozen or kept for the way back, gone for good. */
export interface PageLife {
  seen(): void;
  /** It goes for good. */
  depart(): void;
  sleep(): void;
  wake(): void;
}

export function watchPage(life: PageLife, signal: AbortSignal): void {
  // A dedicated worker has none, and is never put to sleep without its page.
  if (typeof document === "object") document.addEventListener("visibilitychange", () => life.seen(), { signal });
  for (const type of ["freeze", "pagehide"])
    addEventListener(
      type,
      (event) => ((event as PageTransitionEvent).persisted === false ? life.depart() : life.sleep()),
      { signal, capture: true },
    );
  for (const type of ["resume", "pageshow"]) addEventListener(type, () => life.wake(), { signal, capture: true });
}

/** A page that nobody sees. A dedicated worker can't be told: it counts as seen, and keeps the lead that it has. */
export const isHidden = (): boolean => typeof document === "object" && document.visibilityState === "hidden";
