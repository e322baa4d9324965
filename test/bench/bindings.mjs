/**
 * What a page of each framework still draws while it appends: `--only bindings`. The target is 50 frames a second while
 * 10,000 records a second are appended.
 */
import { quantile } from "../support/figures.mjs";

const FRAMEWORKS = ["react", "vue", "svelte", "solid"];

export async function bindings(bench, size, result) {
  const [perSecond, seconds] = size.frames;
  for (const framework of FRAMEWORKS) {
    await bench.reload();
    const { frames, appended, idleFrameMs } = await bench.run("frames", framework, perSecond, seconds);
    const ms = frames.reduce((all, each) => all + each, 0);
    const recordsPerSecond = (appended / ms) * 1000;
    const named = {
      frameMs: ms / frames.length,
      frameP99Ms: quantile(frames, 0.99),
      frameWorstMs: Math.max(...frames),
      idleFrameMs,
      recordsPerSecond,
    };
    for (const [name, figure] of Object.entries(named)) result.figures[`bindings.${framework}.${name}`] = figure;
    result.ratios[`bindings.${framework}.appendedVsAsked`] = recordsPerSecond / perSecond;
  }
}
