/**
 * What a log's object tells a Worker of its segments in object storage, so that the Worker reads them itself
 * (archived-reads.ts).
 */
import type { ArchiveEntry } from "../store/archive-tables.ts";

/** To an object: the asking Worker can read segments. From it: the body is a manifest. */
export const MANIFEST_HEADER = "x-tidemark-manifest";

/** What an object says of its segments, from the wanted offset on. */
export interface Manifest {
  readonly id: string;
  readonly contentType: string;
  readonly start: number;
  readonly end: number;
  readonly closed: boolean;
  /** Milliseconds since 1970, where the stream has such an end. */
  readonly expires?: number | undefined;
  readonly entries: readonly ArchiveEntry[];
}
