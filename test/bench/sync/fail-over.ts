/**
 * How soon sync goes on when the tab that has the connection ends, or hangs (D20): from the strike until an append of
 * another tab of the device is at the edge. That is a fail-over, a connection, a join and a push.
 */
import { quantile } from "../../support/figures.mjs";
import type { Device, SyncTab } from "../../sync/device.ts";
import type { SyncBench } from "./sync-bench.ts";

const TABS = 3;

async function roles(device: Device): Promise<{ readonly leader: SyncTab; readonly follower: SyncTab }> {
  for (;;) {
    const leader = await device.leader();
    // The newest tab is the one that is seen.
    const follower = device.tabs.findLast((tab) => tab !== leader);
    if (leader && follower) return { leader, follower };
  }
}

export async function failOver(bench: SyncBench): Promise<void> {
  const { crashes, hangs } = bench.size;
  const { fleet } = bench;
  const device = await fleet.add("fail-over", { config: { path: bench.newLog() } });
  let next = 0;
  const replicated = async (tab: SyncTab, since: number): Promise<number> => {
    await tab.call("writeThrough", `through-${next++}`);
    return performance.now() - since;
  };
  const filled = async (): Promise<void> => {
    while (device.tabs.length < TABS) await device.open();
    for (const tab of device.tabs) await tab.call("level");
  };
  const [crashed, hung]: [number[], number[]] = [[], []];
  for (let i = 0; i < crashes; i++) {
    await filled();
    const { leader, follower } = await roles(device);
    const pid = await leader.process(device.pid);
    const struck = performance.now();
    process.kill(pid, "SIGKILL");
    crashed.push(await replicated(follower, struck));
    device.forget(leader);
    await leader.page.close();
  }
  for (let i = 0; i < hangs; i++) {
    await filled();
    const { leader, follower } = await roles(device);
    const pid = await leader.process(device.pid);
    const struck = performance.now();
    process.kill(pid, "SIGSTOP");
    try {
      hung.push(await replicated(follower, struck));
    } finally {
      process.kill(pid, "SIGCONT");
    }
  }
  bench.keep("sync.failOver.crash.p50Ms", crashed, quantile(crashed, 0.5));
  bench.keep("sync.failOver.crash.maxMs", [], Math.max(...crashed));
  if (hung.length > 0) bench.keep("sync.failOver.hang.maxMs", hung, Math.max(...hung));
  await fleet.remove(device);
}
