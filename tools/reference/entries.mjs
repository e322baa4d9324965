/** The public entries, by the names that an app imports, with their sources. */
import { SIDE_ENTRIES } from "../package/side-entries.mjs";

export const ENTRIES = {
  tidemark: "src/index.ts",
  "tidemark/browser": "src/browser/index.ts",
  "tidemark/worker": "worker/library.ts",
  ...Object.fromEntries(
    Object.entries(SIDE_ENTRIES)
      // Another build of the same source has the same calls.
      .filter(([, { source }], i, all) => all.findIndex(([, each]) => each.source === source) === i)
      .map(([name, { source }]) => [`tidemark/${name}`, source]),
  ),
};
