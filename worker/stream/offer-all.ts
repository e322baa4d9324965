/** Appends of several batches that belong together: in one commit, or not at all. */
import { TidemarkError } from "../../src/errors.ts";
import type { Log } from "../../src/log/log.ts";
import type { AppendResult, LogAppendOptions } from "../../src/log/types.ts";

/**
 * All batches, in one turn. The error of the first one that is refused, whose index is `details.batch`: then none is
 * appended.
 */
export async function offerAll(
  log: Log,
  batches: readonly Uint8Array[],
  options: LogAppendOptions,
): Promise<AppendResult[]> {
  const { ifEnd: _, ...others } = options;
  // The first new batch moves the log's end, so the condition `ifEnd` holds for it alone.
  let asked = options;
  return Promise.all(
    log.allOrNone(() =>
      batches.map((batch, i) => {
        try {
          const { isNew, done } = log.offer(batch, asked);
          if (isNew) asked = others;
          // Nobody waits for it if a later batch is refused.
          done.catch(() => undefined);
          return done;
        } catch (thrown) {
          throw TidemarkError.from(thrown).with({ batch: i });
        }
      }),
    ),
  );
}
