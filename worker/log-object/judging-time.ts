/**
 * The time that the schema of a stream has to answer. One that asks a server which never answers must not hold up the
 * stream's later appends for ever.
 */
import { TidemarkError } from "../../src/errors.ts";
import { JUDGING_MS } from "../../src/typed/turns.ts";

/** Settles as `judged` does, or rejects with TIMEOUT after JUDGING_MS. */
export async function inTime<T>(judged: Promise<T>, pattern: string): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const over = new Promise<never>((_, reject) => {
    const message = `the schema of ${pattern} gave no answer in ${JUDGING_MS} ms: nothing was appended`;
    timer = setTimeout(() => reject(new TidemarkError("TIMEOUT", message, { ms: JUDGING_MS })), JUDGING_MS);
  });
  try {
    return await Promise.race([judged, over]);
  } finally {
    if (timer !== undefined) clearTimeout(timer);
  }
}
