/** Takes settled batches off a topic's outbox: at once when all are settled, and else a moment after the last frame. */
import { TidemarkError } from "../errors.ts";
import type { SyncHost } from "./sync-host.ts";
import type { TopicStore } from "./topic-store.ts";

/** Settled batches leave the outbox this long after the last frame or tide. */
const TRIM_MS = 2_000;

export interface TrimHost extends Pick<SyncHost, "after"> {
  readonly store: TopicStore;
  /** A trim makes room in the index, and then there may be more to send. */
  trimmed(): void;
  failed(error: TidemarkError): void;
}

export class TrimSoon {
  readonly #host: TrimHost;
  #cancel: (() => void) | undefined;

  constructor(host: TrimHost) {
    this.#host = host;
  }

  look(): void {
    const { store, after, trimmed, failed } = this.#host;
    this.cancel();
    if (store.trimmable.batches === 0) return;
    const trim = (): void => {
      const done = store.trim().then(() => trimmed());
      done.catch((thrown: unknown) => failed(TidemarkError.from(thrown)));
    };
    if (store.firstUnsettled === store.end) trim();
    else this.#cancel = after(TRIM_MS, trim);
  }

  cancel(): void {
    this.#cancel?.();
    this.#cancel = undefined;
  }
}
