/** The public entries, by the names that an app imports, with their sources. */
import { SIDE_ENTRIES } from "../package/side-entries.mjs";

export const ENTRIES = {
  tidemark: "src/index.ts",
  "tidemark/browser": "src/browser/index.ts",
  "tidemark/worker": "worker/library.ts",
  ...Object.fromEntries(Object.entries(SIDE_ENTRIES).map(([name, { source }]) => [`tidemark/${name}`, source])),
};
