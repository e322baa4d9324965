/** What large logs, and many of them, cost: seeks, opening, compaction beside appends, and how cost grows. */
import { median, quantile } from "../support/figures.mjs";
import { memoryOf, openTab } from "./tab.mjs";

const p = (name, ms, figures) => {
  figures[`${name}.p50Ms`] = median(ms);
  figures[`${name}.p99Ms`] = quantile(ms, 0.99);
  process.stderr.write(`  ${name}: p50 ${median(ms).toFixed(2)} ms, p99 ${quantile(ms, 0.99).toFixed(2)} ms\n`);
};

/** Opens a log that was closed properly, each time in a fresh page. Returns the median of the times. */
async function cleanOpen(bench, name, times) {
  const ms = [];
  for (let i = 0; i < times; i++) {
    await bench.reload();
    const found = await bench.run("openOnce", name);
    if (!found.clean) throw new Error("the log was closed, but it opened as not clean");
    ms.push(found.ms);
  }
  return median(ms);
}

/** Seeks and opens of one log as it grows to 1 GiB. */
export async function seek(bench, size, { figures }) {
  for (const bytes of size.big) {
    const label = `${Math.round(bytes / 1024 / 1024)}MiB`;
    await bench.run("fill", "big", bytes);
    await bench.reload();
    const { ms, segments } = await bench.run("seeks", "big", size.seeks);
    p(`seek.${label}`, ms, figures);
    await bench.reload();
    const byTime = await bench.run("timeSeeks", "big", size.seeks);
    p(`seek.time.${label}`, byTime.ms, figures);
    figures[`open.clean.${label}.ms`] = await cleanOpen(bench, "big", size.opens);
    if (bytes !== size.big.at(-1)) continue;
    p("seek", ms, figures);
    p("seek.time", byTime.ms, figures);
    p("seek.time.cold", byTime.cold, figures);
    figures["seek.segments"] = segments;
    figures["open.clean1GiBMs"] = figures[`open.clean.${label}.ms`];
  }
  const unclean = [];
  for (let i = 0; i < size.opens; i++) {
    await bench.run("openAndAppend", "big");
    await bench.kill();
    await bench.start();
    // A first tide of another name is opened before, so that the start of the browser is not measured.
    await bench.run("openOnce", "warm-up");
    const after = await bench.run("openOnce", "big");
    if (after.clean) throw new Error("the browser was killed, but the log opened as clean");
    unclean.push(after.ms);
  }
  figures["open.unclean1GiBMs"] = median(unclean);
  await bench.reload();
  const before = await bench.heapMiB();
  const { records, ms } = await bench.run("replayAll", "big");
  figures["replay.heapGrowthMiB"] = (await bench.heapMiB()) - before;
  figures["replay.1KiB.recordsPerSecond"] = (records * 1000) / ms;
  await bench.run("forget", "big");
}

/** The same bytes in a hundred topics, and what one topic more costs. */
export async function topics(bench, size, { figures }) {
  const [count, bytes] = size.topics;
  await bench.run("fill", "hundred", bytes, count);
  figures["open.clean1GiB100TopicsMs"] = await cleanOpen(bench, "hundred", size.opens);
  await bench.reload();
  figures["open.firstRead1GiB100TopicsMs"] = median(await bench.run("firstReads", "hundred", Math.min(count, 20)));
  await bench.run("forget", "hundred");
  for (const many of size.manyTopics) {
    await bench.reload();
    const { making, appending } = await bench.run("manyTopics", `topics-${many}`, many, size.singles);
    figures[`topics.${many}.makeMs`] = median(making);
    p(`topics.${many}.append`, appending, figures);
    figures[`topics.${many}.open.cleanMs`] = await cleanOpen(bench, `topics-${many}`, size.opens);
    await bench.run("forget", `topics-${many}`);
  }
}

/**
 * A log of 1 GiB, in which each key has four records, is compacted while 200 appends a second come. A second tab stands
 * by, and would take the lead if the first one seemed to hang. Memory is the tab's own, its worker's included.
 */
export async function compaction(bench, size, { figures }) {
  const [keys, versions, bytes] = size.compaction;
  await bench.run("fillKeys", "keyed", keys, versions, bytes);
  await bench.page.close();
  const leader = await openTab(bench);
  const follower = await openTab(bench);
  await leader.run("watch", "keyed");
  await follower.run("watch", "keyed");
  const memory = await memoryOf(bench.profile, leader);
  const idle = memory.now();
  let most = idle;
  const sampling = setInterval(() => (most = Math.max(most, memory.now())), 100);
  const found = await leader.run("compactBeside", size.compactionMs);
  clearInterval(sampling);
  p("compaction.append", found.ms, figures);
  Object.assign(figures, {
    "compaction.appendP99Ms": quantile(found.ms, 0.99),
    "compaction.seconds": found.seconds,
    "compaction.recordsRemoved": found.removed,
    "compaction.leaderChanges": (await leader.run("changes")) + (await follower.run("changes")),
    "compaction.memoryIdleMiB": idle,
    "compaction.memoryMostMiB": most,
  });
  for (const { page, run } of [follower, leader]) {
    await run("leave");
    await page.close();
  }
  await bench.reload();
  await bench.run("forget", "keyed");
}
