/** appendAll() of a topic of a tide. Loaded by the first such call. */
import type { TidemarkError } from "../../errors.ts";
import { type AppendSource, appendSource } from "../../topic/append-all.ts";
import type { Tide } from "../api.ts";
import { laterTurn } from "../platform/timing.ts";

export interface AppendAllInput<T> extends Omit<AppendSource<T>, "laterTurn" | "tide"> {
  readonly tide: Pick<Tide, "on"> & { readonly ended: TidemarkError | undefined };
}

export const appendAll = <T>({ tide, ...input }: AppendAllInput<T>): ReturnType<typeof appendSource> =>
  appendSource({
    ...input,
    laterTurn,
    tide: {
      get ended() {
        return tide.ended;
      },
      on: (type, heard) => tide.on(type, heard),
    },
  });
