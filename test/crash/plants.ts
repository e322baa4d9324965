/**
 * Planted bugs, so that the crash test is seen to fail: a lie of the page, and pieces of the product replaced while the
 * page is built. A piece that no longer stands there exactly once fails the build, so the list keeps up with the code.
 */
import type { Anomaly } from "../checker/checker.ts";

export interface Plant {
  readonly what: string;
  /** One of these must be reported. */
  readonly caughtAs: readonly Anomaly[];
  /** Absent: the page itself lies. */
  readonly source?: { readonly file: string; readonly find: string; readonly replace: string };
}

export const PLANTS: Readonly<Record<string, Plant>> = {
  "early-ack": { what: "acks are told before anything was appended", caughtAs: ["lost-write", "unseen"] },
  resend: {
    what: "a producer now and then sends an acked batch again, under a new sequence",
    caughtAs: ["duplicate"],
    source: {
      file: "src/delivery/producer.ts",
      find: "const result = await this.#send(draft);",
      replace: `const result = await this.#send(draft);
      if (Math.random() < 0.05) {
        draft.owner = { ...draft.owner!, baseSequence: this.#sequence };
        this.#sequence = (this.#sequence + draft.builder.count) % SEQUENCES;
        await this.#send(draft);
      }`,
    },
  },
};
