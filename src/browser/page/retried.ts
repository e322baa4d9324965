/** Calls of topics and tides that are made again, because their store is opened anew or another tab leads now. */
import { TidemarkError } from "../../errors.ts";
import { isLasting } from "../../delivery/producer.ts";
import { sleep } from "../platform/timing.ts";

/** Pauses before a call that storage refuses is repeated: 10, 20, 40, 80, 160 ms. Then its error is the caller's. */
const REFUSED_MS = 10;
const REFUSED_MS_MAX = 160;

/** What a call needs of its tide. */
interface Opening {
  /** Resolves when the logs are open, here or in another tab. Rejects when they never will be. */
  ready(): Promise<void>;
}

/**
 * A call that met a failing store, or a leader that went, is repeated where the logs are open again. `ready` rejects if
 * they never will be.
 */
export async function retried<T>(tide: Opening, call: () => Promise<T>, signal?: AbortSignal): Promise<T> {
  for (let waitMs = REFUSED_MS; ; waitMs *= 2) {
    try {
      return await call();
    } catch (thrown) {
      // A read that its reader has left ends with the reader's reason, whatever that is.
      if (signal?.aborted || !(thrown instanceof TidemarkError) || thrown.kind !== "reopen") throw thrown;
      if (isLasting(thrown)) {
        if (waitMs > REFUSED_MS_MAX) throw thrown;
        await sleep(waitMs);
      }
      await tide.ready();
    }
  }
}
