/** One more tab of the bench's browser, and what its process uses. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { busiestOf, descendantsOf } from "../tabs/processes.ts";

export async function openTab(bench) {
  const page = await bench.context.newPage();
  await page.goto(bench.url);
  await page.waitForFunction(() => document.title === "ready");
  return {
    page,
    run: (name, ...args) => page.evaluate(([method, params]) => window.workloads[method](...params), [name, args]),
  };
}

/** The main process of the browser with this profile. */
export function browserOf(profile) {
  const lines = execFileSync("ps", ["-eo", "pid=,args="], { encoding: "utf8" }).split("\n");
  return Number(
    lines
      .find((line) => line.includes(`--user-data-dir=${profile}`) && !line.includes("--type="))
      .trim()
      .split(/\s+/)[0],
  );
}

/**
 * Memory of the tab's process that no other process shares, in MiB: `now()` reads it. The tab's process is found by
 * making the tab work.
 */
export async function memoryOf(profile, { page }) {
  const work = () =>
    page.evaluate(() => {
      for (const until = performance.now() + 300; performance.now() < until;);
    });
  const pid = await busiestOf(descendantsOf(browserOf(profile)), work);
  return {
    now() {
      const parts = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8").matchAll(/^Private_\w+: +(\d+) kB/gm);
      return [...parts].reduce((sum, [, kib]) => sum + Number(kib) / 1024, 0);
    },
  };
}
