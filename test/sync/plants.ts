/** Planted bugs, which show that the end-to-end run can fail. Each replaces a piece of the product's source. */
import { type Plant, PLANTS as CRASH_PLANTS } from "../crash/plants.ts";

export const PLANTS: Readonly<Record<string, Plant>> = {
  resend: CRASH_PLANTS["resend"]!,
  "drops-frames": {
    what: "now and then a received frame is counted, and none of its records are kept",
    bug: {
      name: "drops-frames",
      file: "src/sync/receiver.ts",
      find: ".then(() => store.receive(frame))",
      replace: ".then(() => store.receive(Math.random() < 0.02 ? { ...frame, bytes: new Uint8Array(0) } : frame))",
    },
  },
  "trims-early": {
    what: "a trim takes all that is in the outbox, also what nobody has taken yet",
    bug: {
      name: "trims-early",
      file: "src/sync/topic-storage.ts",
      find: "await this.outbox.trim(this.firstUnsettled); this.#settleTaken();",
      replace: "await this.outbox.trim(this.end); this.#settleTaken();",
    },
  },
  "places-untold": {
    what: "tabs are not told all places that their records have",
    bug: {
      name: "places-untold",
      file: "src/browser/sync/tide-sync.ts",
      find: 'this.#host.tell({ type: "settled", topic, runs });',
      replace: 'if (Math.random() < 0.9) this.#host.tell({ type: "settled", topic, runs });',
    },
  },
};
