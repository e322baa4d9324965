/**
 * What a log's object tells a Worker about its segments in object storage, so that the Worker can read them itself
 * (archived-reads.ts).
 */
import type { ArchiveEntry } from "../store/archive-tables.ts";

/** In a request: the Worker can read segments itself. In an answer: the body is a manifest. */
export const MANIFEST_HEADER = "x-tidemark-manifest";

/** The segments that an object has in object storage, from the wanted offset on. */
export interface Manifest {
  readonly id: string;
  readonly contentType: string;
  readonly start: number;
  readonly end: number;
  readonly closed: boolean;
  /** When the stream expires, in milliseconds since 1970, if it has such a time. */
  readonly expires?: number | undefined;
  readonly entries: readonly ArchiveEntry[];
}
