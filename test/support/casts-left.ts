/**
 * Casts over `unknown` that stay, for the structure test. None is in the sources. In tests they stand where a fake has
 * only what the tested code uses of a large interface, and where a package's types or the platform's are other than the
 * things are. A cast that names both types (`x as typeof x & Y`) needs no entry: the compiler still checks it.
 */
export const CASTS_LEFT: readonly string[] = [
  "test/browser/guests.test.ts casts to GuestHost",
  "test/browser/guests.test.ts casts to GuestHost",
  "test/crash/crash.test.ts casts to ServerResponse",
  "test/simulation/sync-gzip.ts casts to typeof CompressionStream",
  "test/simulation/sync-gzip.ts casts to typeof DecompressionStream",
  "test/support/tidy.ts casts to Node",
  "test/unit/control.test.ts casts to Connected",
  "test/unit/control.test.ts casts to Controlled",
  "test/unit/control.test.ts casts to TopicHost",
  "test/unit/edge-held-forks.test.ts casts to Peer",
  "test/unit/edge-news.test.ts casts to Response",
  "test/unit/edge-passed.test.ts casts to Response",
  "test/unit/edge-passed.test.ts casts to SocketHost",
  "test/unit/edge-shared-watch.test.ts casts to Response",
  "test/unit/edge-silent.test.ts casts to Response",
  "test/unit/page-fixtures.ts casts to TopicHost",
  "test/unit/spare.test.ts casts to Member",
  "test/unit/subscription-notifier.test.ts casts to Env",
];
