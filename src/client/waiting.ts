/** Waits that always end: each has a signal, a time, or both. */
import { TidemarkError } from "../errors.ts";

/** A controller that is aborted with any of these signals. `free` ends the connection to them. */
export function anyOf(...signals: readonly (AbortSignal | undefined)[]): {
  readonly controller: AbortController;
  free(): void;
} {
  const controller = new AbortController();
  const abort = (): void => controller.abort(signals.find((signal) => signal?.aborted)!.reason);
  for (const signal of signals) {
    if (signal?.aborted) abort();
    signal?.addEventListener("abort", abort);
  }
  return { controller, free: () => signals.forEach((signal) => signal?.removeEventListener("abort", abort)) };
}

/** The promise, or the signal's reason once that is aborted. */
export function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal.reason as Error);
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort);
    const free = (): void => signal.removeEventListener("abort", abort);
    work.then(resolve, reject).finally(free);
  });
}

export function pauseFor(ms: number, signal: AbortSignal): Promise<void> {
  let timer: ReturnType<typeof setTimeout>;
  const over = new Promise<void>((resolve) => (timer = setTimeout(resolve, ms)));
  return unlessAborted(over, signal).finally(() => clearTimeout(timer));
}

/** Runs work with a signal that is aborted as TIMEOUT once nothing was heard for `ms`. `heard` begins the time anew. */
export async function within<T>(
  ms: number,
  signals: readonly (AbortSignal | undefined)[],
  work: (signal: AbortSignal, heard: () => void) => Promise<T>,
): Promise<T> {
  const { controller, free } = anyOf(...signals);
  let timer: ReturnType<typeof setTimeout> | undefined;
  const heard = (): void => {
    clearTimeout(timer);
    if (controller.signal.aborted) return;
    timer = setTimeout(() => controller.abort(new TidemarkError("TIMEOUT", `no answer in ${ms} ms`, { ms })), ms);
  };
  if (ms < Infinity) heard();
  try {
    // Work whose signal is aborted is not begun: it would ask for a token, or open a socket.
    controller.signal.throwIfAborted();
    return await unlessAborted(work(controller.signal, heard), controller.signal);
  } finally {
    clearTimeout(timer);
    free();
    controller.abort();
  }
}
