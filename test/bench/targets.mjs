/**
 * The project's targets. Those of ratios must be at least this high, and those of times and counts must not be higher.
 */

export const TARGETS = {
  "append.batch1000.vsRawOpfs": 1,
  "append.batch1000.vsSqlite": 10,
  "append.batch1000.1KiB.vsRawOpfs": 0.8,
  "append.deep.100B.vsRawOpfs": 1,
  "append.deep.1KiB.vsRawOpfs": 0.8,
  "append.single.vsSqlite": 5,
  "append.single.vsRawOpfs": 0.56,
  "append.unawaited1000.vsSqlite": 9,
  "replay.vsSqlite": 10,
  "replay.vsDexie": 20,
  "crc.vsJsTable": 3.5,
  "bindings.react.appendedVsAsked": 0.99,
  "bindings.vue.appendedVsAsked": 0.99,
  "bindings.svelte.appendedVsAsked": 0.99,
  "bindings.solid.appendedVsAsked": 0.99,
};

export const LIMITS = {
  "seek.p99Ms": 1.5,
  "seek.time.p99Ms": 3,
  "open.clean1GiBMs": 100,
  "open.unclean1GiBMs": 1000,
  "open.clean1GiB100TopicsMs": 100,
  "compaction.appendP99Ms": 50,
  "compaction.leaderChanges": 0,
  "bindings.react.frameMs": 20,
  "bindings.vue.frameMs": 20,
  "bindings.svelte.frameMs": 20,
  "bindings.solid.frameMs": 20,
  "sync.view.applyFactor": 1.3,
  "sync.view.rebase10kMs": 15,
  "tabs.batch1.followerLatencyVsLeader": 1.3,
  "tabs.batch100.followerLatencyVsLeader": 1.3,
  "tabs.batch1000.followerLatencyVsLeader": 1.3,
};

/**
 * Those that count what the code does, whatever the machine: a whole run that misses one of them fails. All others are
 * figures of the machine as well, and a miss is only told.
 */
export const COUNTED = ["sync.view.applyFactor"];

/** Notes in `result.targets` which targets the measured figures meet. */
export function judge(result) {
  for (const [name, least] of Object.entries(TARGETS))
    if (name in result.ratios) result.targets[name] = result.ratios[name] >= least;
  const measured = { ...result.figures, ...result.ratios };
  for (const [name, most] of Object.entries(LIMITS))
    if (name in measured) result.targets[name] = measured[name] <= most;
}

/** What is printed behind a figure that has a target and was judged. */
export function verdict(name, targets) {
  if (!(name in targets)) return "";
  const bound = name in TARGETS ? `at least ${TARGETS[name]}` : `at most ${LIMITS[name]}`;
  return `   ${bound}: ${targets[name] ? "met" : "MISSED"}`;
}
