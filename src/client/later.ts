/** Files of the client that are loaded when a call needs them first: tools/package/side-entries.mjs lists them. */
import { TidemarkError } from "../errors.ts";

/** LOAD_FAILED says what to do. The next call tries again; some browsers keep that it failed until a reload. */
export const loaded = <T>(part: Promise<T>): Promise<T> =>
  part.catch((cause: unknown) => {
    throw new TidemarkError(
      "LOAD_FAILED",
      "a file of tidemark/client can't be loaded: try again, or reload. In a service worker: " +
        "import tidemark/client-whole",
      {},
      { cause },
    );
  });
