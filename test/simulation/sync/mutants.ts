/**
 * Bugs planted in sync for its simulation to find: the product with one piece of its source replaced
 * (test/support/planted-bug.ts), each with the check that must name it.
 */
import type { PlantedBug } from "../../support/planted-bug.ts";

export interface SyncMutant extends PlantedBug {
  /** By what a history fails first. */
  readonly found: RegExp;
  /** The search begins at this seed, a little before the first one known to catch the bug. */
  readonly from?: number;
}

const STORAGE = "src/sync/topic-storage.ts";

export const SYNC_MUTANTS: readonly SyncMutant[] = [
  {
    name: "an answer settles, although what it told of is not here yet",
    file: STORAGE,
    find: "if (!this.#taken || !isReceived(this.watermark, this.#taken.lastOffset)) return [];",
    replace: "if (!this.#taken) return [];",
    found: /^(invisible|visible twice)/,
    from: 8,
  },
  {
    name: "a trim takes what nobody has taken yet",
    file: STORAGE,
    find: "await this.outbox.trim(this.firstUnsettled); this.#settleTaken();",
    replace: "await this.outbox.trim(this.end); this.#settleTaken();",
    found: /^(invisible|lost|device . is stopped.*DIVERGED)/,
  },
  {
    name: "own batches at the edge are not known again",
    file: STORAGE,
    find: "if (own) found.push([own, header.baseOffset]);",
    replace: "",
    found: /^(visible twice|twice)/,
  },
  {
    name: "acknowledged before it is flushed",
    file: "src/log/log.ts",
    find: 'const acks = options.acks ?? "flushed";',
    replace: 'const acks = options.acks ?? "written";',
    found: /^(invisible|lost)/,
    from: 12,
  },
  {
    name: "a frame counts before it is flushed",
    file: "src/sync/replica.ts",
    find: "await this.log.flush();",
    replace: "void this.log.flush();",
    found: /^(invisible|replica|lost)/,
  },
];
