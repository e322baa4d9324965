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
      get ended() {
        return closing.aborted ? (closing.reason as TidemarkError) : undefined;
      },
      on(_, heard) {
        closing.addEventListener("abort", heard);
        return () => closing.removeEventListener("abort", heard);
      },
    },
    tellsAcks: true,
    laterTurn: () => new Promise((resolve) => setTimeout(resolve)),
  });
