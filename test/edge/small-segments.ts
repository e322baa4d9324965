import type { PlantedBug } from "../support/planted-bug.ts";

/** A worker whose segments have `kib` KiB each instead of 4 MiB: otherwise a short test would not fill one. */
export const smallSegments = (kib: number): PlantedBug => ({
  name: "small segments",
  file: "worker/store/chunk-log.ts",
  find: "const SEGMENT_BYTES = 4 * 1024 * 1024;",
  replace: `const SEGMENT_BYTES = ${kib} * 1024;`,
});
