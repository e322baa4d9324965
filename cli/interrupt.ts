/** SIGINT and SIGTERM: the first asks the command to end well, the second ends the process. */

/** 128 + SIGINT, as shells have it. */
export const INTERRUPTED = 130;

let controller: AbortController | undefined;

/** Aborted by the first signal. A command that asks for it ends by itself, soon. */
export function stopSignal(): AbortSignal {
  if (controller) return controller.signal;
  const stop = (controller = new AbortController());
  for (const name of ["SIGINT", "SIGTERM"] as const)
    process.on(name, () => {
      if (stop.signal.aborted) process.exit(INTERRUPTED);
      stop.abort();
    });
  return stop.signal;
}

export const wasInterrupted = (): boolean => controller?.signal.aborted === true;
