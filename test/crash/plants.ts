/**
 * Planted bugs, which show that the crash test can fail: one is a page that reports acks too early, the others replace
 * pieces of the product's source while the page is built.
 */
import { MUTANTS } from "../simulation/mutants.ts";
import type { PlantedBug } from "../support/planted-bug.ts";

export interface Plant {
  readonly what: string;
  /** Absent for "early-ack", where the page itself has the bug. */
  readonly bug?: PlantedBug;
}

export const PLANTS: Readonly<Record<string, Plant>> = {
  "early-ack": { what: "the page tells acks before it appends anything" },
  resend: {
    what: "a producer sends each tenth acked batch again, under a new sequence",
    bug: {
      name: "resend",
      file: "src/delivery/producer.ts",
      find: "const result = await this.#send(draft);",
      replace: `const result = await this.#send(draft);
      if ((globalThis.planted = (globalThis.planted ?? 0) + 1) % 10 === 0) {
        draft.owner = { ...draft.owner!, baseSequence: this.#sequence };
        this.#sequence = (this.#sequence + draft.builder.count) % SEQUENCES;
        await this.#send(draft);
      }`,
    },
  },
  "early-commit": {
    what: "every ack goes out before its commit",
    bug: {
      name: "early-commit",
      file: "src/log/log.ts",
      find: 'if (taken.acks === "accepted") this.#acknowledge(taken);',
      replace: "this.#acknowledge(taken);",
    },
  },
  "lost-names": {
    what: "new names may stand behind a torn one",
    bug: {
      name: "lost-names",
      file: "src/browser/volume/opfs-volume.ts",
      find: "if (this.#tornIn) {",
      replace: "if (false) {",
    },
  },
  // The simulation's planted bugs. A kill loses no written bytes, so the test must not find "flush left out".
  ...Object.fromEntries(
    MUTANTS.filter(({ reference }) => !reference).map((bug) => [bug.name, { what: `in ${bug.file}`, bug }]),
  ),
};
