/**
 * What a seek costs where calls of one turn share batches, beside a log of the same records in which each call is a
 * batch of its own. Both are sought in turns, and processor time is that of all of the browser's processes.
 */
import { median, quantile } from "../support/figures.mjs";
import { descendantsOf, nanosecondsOf } from "../tabs/processes.ts";
import { browserOf } from "./tab.mjs";

const SIDES = ["apart", "shared"];
const KINDS = ["offset", "time", "few"];

export async function seekShared(bench, { rounds, shared: [bytes, seeks] }, { figures, ratios }) {
  for (const side of SIDES) figures[`seek.${side}.recordsPerBatch`] = await bench.run("fillForSeeks", side, bytes);
  const pid = browserOf(bench.profile);
  const spent = () => [pid, ...descendantsOf(pid)].reduce((sum, each) => sum + nanosecondsOf(each), 0) / 1e6;
  const key = (side, kind) => `seek.${side}.${kind}`;
  const found = Object.fromEntries(
    SIDES.flatMap((side) => KINDS.map((kind) => [key(side, kind), { ms: [], cpu: [] }])),
  );
  // The first round is not counted: its code is cold.
  for (let round = 0; round <= rounds; round++) {
    for (const kind of KINDS) {
      for (let i = 0; i < SIDES.length; i++) {
        const side = SIDES[(round + i) % SIDES.length];
        const before = spent();
        const ms = await bench.run("seekIn", side, kind, seeks);
        const cpu = (spent() - before) / seeks;
        if (round === 0) continue;
        found[key(side, kind)].ms.push(...ms);
        found[key(side, kind)].cpu.push(cpu);
      }
    }
  }
  for (const [name, { ms, cpu }] of Object.entries(found)) {
    figures[`${name}.p50Ms`] = median(ms);
    figures[`${name}.p99Ms`] = quantile(ms, 0.99);
    figures[`${name}.cpuMs`] = median(cpu);
  }
  for (const kind of KINDS) {
    const [apart, shared] = SIDES.map((side) => found[key(side, kind)].cpu);
    ratios[`seek.${kind}.cpuSharedVsApart`] = median(shared.map((cpu, round) => cpu / apart[round]));
  }
  await bench.run("closeSeeks");
  for (const side of SIDES) await bench.run("forget", side);
}
