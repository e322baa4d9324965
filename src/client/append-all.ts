/** appendAll() of a topic of the client. Its first call loads this file. */
import type { TidemarkError } from "../errors.ts";
import { type AppendSource, appendSource } from "../topic/append-all.ts";
import type { AppendedAll } from "./api.ts";

interface AppendingClient {
  readonly inFlightBytesMax: number;
  /** Aborted once the client closes. */
  readonly closing: AbortSignal;
}

/** Appends a whole source to a topic of this client. */
export const appendAllBy = <T>(
  given: Pick<AppendSource<T>, "records" | "append" | "producer" | "options">,
  { inFlightBytesMax, closing }: AppendingClient,
): Promise<AppendedAll> =>
  appendSource({
    ...given,
    inFlightBytesMax,
    tide: {
      ended: closing.aborted ? (closing.reason as TidemarkError) : undefined,
      on(_, heard) {
        const close = (): void => heard({ reason: (closing.reason as Error).message });
        closing.addEventListener("abort", close);
        return () => closing.removeEventListener("abort", close);
      },
    },
    tellsAcks: true,
    laterTurn: () => new Promise((resolve) => setTimeout(resolve)),
  });
