/**
 * Many tabs with one log: what a follower's durable append costs beside the leader's, how much eight followers receive,
 * and the processor time of an idle tide with eight followers. Leader and follower take turns in one run.
 */
import { setTimeout as wait } from "node:timers/promises";
import { median, quantile } from "../support/figures.mjs";
import { descendantsOf, nanosecondsOf } from "../tabs/processes.ts";
import { browserOf, memoryOf, openTab } from "./tab.mjs";

const FOLLOWERS = 8;
const BYTES = 1024;

/**
 * Processor time of all the browser's processes, in percent of one core. It waits first: for a while after it has
 * worked a process still collects garbage.
 */
async function idleUse(profile, seconds) {
  await wait(seconds * 1000);
  const main = browserOf(profile);
  const total = () => [main, ...descendantsOf(main)].reduce((sum, pid) => sum + nanosecondsOf(pid), 0);
  const before = total();
  await wait(seconds * 1000);
  return ((total() - before) / 1e9 / seconds) * 100;
}

export async function tabs(bench, size, { ratios, figures }) {
  const { rounds, tabBatches, pour, idleSeconds } = size;
  const leader = await openTab(bench);
  const followers = [];
  for (let i = 0; i < FOLLOWERS; i++) followers.push(await openTab(bench));
  figures["tabs.idle.withoutTide.percentOfCore"] = await idleUse(bench.profile, idleSeconds);
  if ((await leader.run("tabOpen", "tabs")) !== "leader") throw new Error("the first tab does not lead");
  for (const follower of followers)
    if ((await follower.run("tabOpen", "tabs")) !== "follower") throw new Error("a second tab leads");
  for (const [count, batches] of Object.entries(tabBatches)) {
    const pairs = [];
    for (const tab of [leader, followers[0]]) await tab.run("tabAppend", Math.ceil(batches / 4), Number(count), BYTES);
    for (let round = 0; round < rounds; round++)
      pairs.push([
        await leader.run("tabAppend", batches, Number(count), BYTES),
        await followers[0].run("tabAppend", batches, Number(count), BYTES),
      ]);
    const mid = pairs.map((pair) => pair.map(median));
    ratios[`tabs.batch${count}.followerLatencyVsLeader`] = median(mid.map(([lead, follow]) => follow / lead));
    for (const [i, who] of ["leader", "follower"].entries()) {
      figures[`tabs.batch${count}.${who}.p50Ms`] = median(mid.map((pair) => pair[i]));
      figures[`tabs.batch${count}.${who}.p99Ms`] = median(pairs.map((pair) => quantile(pair[i], 0.99)));
      figures[`tabs.batch${count}.${who}.recordsPerSecond`] = median(
        pairs.map((pair) => (batches * Number(count) * 1000) / pair[i].reduce((sum, ms) => sum + ms, 0)),
      );
    }
    process.stderr.write(
      `  batch ${count}: ${mid.map(([lead, follow]) => `${lead.toFixed(2)} and ${follow.toFixed(2)} ms`).join("; ")}\n`,
    );
  }
  for (const follower of followers) await follower.run("tabFollow");
  const rates = [];
  for (let round = 0; round < rounds; round++) {
    const arrived = followers.map((follower) => follower.run("tabDelivered", pour * 100));
    const began = await leader.run("tabPour", pour, 100, BYTES);
    const last = Math.max(...(await Promise.all(arrived)));
    rates.push((FOLLOWERS * pour * 100 * 1000) / (last - began));
  }
  figures["tabs.8followers.deliveredRecordsPerSecond"] = median(rates);
  figures["tabs.idle.leaderAnd8Followers.percentOfCore"] = await idleUse(bench.profile, idleSeconds);
  // The first two tabs in line keep a standby worker each; so does the last one, because it is visible.
  const own = [];
  for (const follower of followers) own.push((await memoryOf(bench.profile, follower)).now());
  figures["tabs.standingBy.MiB"] = median(own.slice(0, 2)) - median(own.slice(2, -1));
  for (const { page } of [...followers, leader]) await page.close();
}
