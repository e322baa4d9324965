/**
 * Loads what the log, its store, sync and the Worker load on demand. Loading a file takes time of the machine that no
 * simulation owns: a history that is the first to need one would go another way. loaded-ahead.test.ts keeps the list
 * complete. What is bundled (product.ts, the commands) has everything in one file anyway.
 */
await Promise.all([
  import("../../src/log/few-records.ts"),
  import("../../src/log/remembering.ts"),
  import("../../src/log/time-seek.ts"),
  import("../../src/log/upkeep.ts"),
  import("../../src/record/codec.ts"),
  import("../../src/store/catalog-copy.ts"),
  import("../../src/store/check-catalog.ts"),
  import("../../src/store/examine.ts"),
  import("../../src/store/hops.ts"),
  import("../../src/store/lost-log.ts"),
  import("../../src/store/recover-log.ts"),
  import("../../src/store/roll.ts"),
  import("../../src/store/sections.ts"),
  import("../../src/store/slot-read.ts"),
  import("../../src/store/time-lookup.ts"),
  import("../../src/store/trim-and-replace.ts"),
  import("../../src/store/whose-catalog.ts"),
  import("../../src/sync/adopted-look.ts"),
  import("../../src/sync/claim-look.ts"),
  import("../../src/sync/claimer.ts"),
  import("../../src/sync/offer-again.ts"),
]);

export {};
