/**
 * Histories that are written down of what an edge lets go of, by trims and by compaction, before a device has read it:
 * the device notes the gap, passes the place, and may end in the middle of that; or the edge goes back behind it.
 */
import type { SessionState } from "../../../src/sync/session-state.ts";
import type { Device } from "./device.ts";
import type { NamedRecord } from "./records.ts";
import type { Stage } from "./stage.ts";

/** So long a batch needs to be pushed. */
const SENT_MS = 60;
const OTHERS = 4;
const BATCHES = 6;
/** Operations of a device's volume while it becomes level. */
const DISK_STEPS = 20;

/** The edge lets go of records, and nobody writes: those that are level hear of it all the same. */
async function trimAlone(stage: Stage): Promise<void> {
  const { edge } = stage;
  await stage.time.until(edge.make());
  const device = stage.device();
  for (let i = 0; i < BATCHES; i++) await stage.write(device);
  await stage.level(device);
  await stage.time.until(edge.catchUp());
  await stage.time.until(edge.trim(0.5));
  await stage.end();
}

/** The edge has taken a record and compacted it away. The process ends while the replica passes its place. */
async function passedByCompaction(stage: Stage): Promise<void> {
  const { edge, seed } = stage;
  await stage.time.until(edge.make());
  const device = stage.device();
  await stage.write(device);
  await stage.level(device);
  if (!(await toldUnread(stage, device, 2, { key: "k" }))) return;
  for (let i = 0; i < 2; i++) await stage.time.until(edge.append(stage.record({ key: "k" })));
  await stage.time.until(edge.catchUp());
  await stage.time.until(edge.seal());
  await stage.time.until(edge.compact());
  await endedOnReturn(stage, device, seed % DISK_STEPS);
  edge.isReachable = true;
  await stage.end();
}

/**
 * The edge lets go of what a device has not read, and the process ends while the device notes that. In half of the
 * histories the edge is then put back to before, and has those records again.
 */
async function endedInGap(stage: Stage): Promise<void> {
  const { edge, seed, time } = stage;
  await time.until(edge.make());
  const device = stage.device();
  await stage.write(device);
  await stage.level(device);
  edge.isReachable = false;
  edge.cutAll();
  for (let i = 0; i < OTHERS; i++) await time.until(edge.append(stage.record()));
  const backup = (await time.until(edge.backup()))!;
  await time.until(edge.trim(1));
  await endedOnReturn(stage, device, seed % DISK_STEPS);
  const { watermark } = device.opening!.storage!.store;
  if (seed >= DISK_STEPS && watermark < edge.committed) await time.until(edge.putBack(backup));
  edge.isReachable = true;
  await stage.end();
}

/**
 * The edge has taken a record, lets go of it before the device has read it there, and is put back to before all that.
 * Then the device offers again what the edge has lost. That record nobody has any more, and its other ones are there.
 */
async function goneBeforeRead(stage: Stage): Promise<void> {
  const { edge, time } = stage;
  await time.until(edge.make());
  const device = stage.device();
  await stage.write(device);
  await stage.level(device);
  const backup = (await time.until(edge.backup()))!;
  await stage.write(device);
  await stage.level(device);
  if (!(await toldUnread(stage, device, 3))) return;
  for (let i = 0; i < 2; i++) await time.until(edge.append(stage.record()));
  await time.until(edge.catchUp());
  await time.until(edge.trim(1));
  edge.isReachable = true;
  await stage.level(device);
  await time.until(edge.putBack(backup));
  const { opening } = device;
  await stage.until("it does not stop", () => opening!.session!.state.at === "stopped");
  const { state } = opening!.session!;
  const agreedTo = state.at === "stopped" ? Number(state.details["agreedTo"]) : 0;
  await time.until(opening!.offerAgain(agreedTo));
  await stage.end();
}

/** The edge can be reached, and at a step of becoming level the process ends. Readers look, and reach no edge then. */
async function endedOnReturn(stage: Stage, device: Device, left: number): Promise<void> {
  const { edge } = stage;
  let isOver = false;
  device.disk.trap = { left, spring: () => (device.crash("process"), (isOver = true)) };
  edge.isReachable = true;
  await stage.until("neither level nor ended", () => isOver || stage.isLevel(device));
  device.disk.trap = undefined;
  edge.isReachable = false;
  edge.cutAll();
  device.open();
  await stage.until("it does not open", () => device.isOpen);
  await stage.judge.look(device);
}

/**
 * A device writes a record, is told that the edge has taken all before position `next`, and can't reach it from then
 * on. False if it has read the record there all the same: the follow was faster.
 */
async function toldUnread(stage: Stage, device: Device, next: number, more?: Partial<NamedRecord>): Promise<boolean> {
  const { edge } = stage;
  const { store } = device.opening!.storage!;
  const told = store.told.bind(store);
  let isTold = false;
  store.told = (taken) => {
    told(taken);
    if (taken.next < next) return;
    isTold = true;
    edge.isReachable = false;
    edge.cutAll();
  };
  await stage.write(device, [stage.record(more)]);
  await stage.until("nothing is told", () => isTold);
  store.told = told;
  await stage.run(SENT_MS);
  return store.firstUnsettled < store.end;
}

/**
 * The edge is put back and closed, so that it takes nothing that is offered again. The process of the device ends at
 * some step of that. Somebody hears all the same that records stay in the kept copy.
 */
async function endedAfterOffer(stage: Stage): Promise<void> {
  const { edge, seed, time } = stage;
  await time.until(edge.make());
  const device = stage.device();
  await stage.write(device);
  await stage.level(device);
  const backup = (await time.until(edge.backup()))!;
  for (let i = 0; i < OTHERS; i++) await stage.write(device);
  await stage.level(device);
  await time.until(edge.putBack(backup));
  await time.until(edge.close());
  const stopped = (): SessionState | undefined => device.opening?.session?.state;
  await stage.until("it does not stop", () => stopped()?.at === "stopped");
  const state = stopped();
  await time.until(device.opening!.offerAgain(state?.at === "stopped" ? Number(state.details["agreedTo"]) : 0));
  let isOver = false;
  const isHeard = (): boolean => (stage.counts["offered"] ?? 0) > 0;
  const spring = (): void => (device.crash("process"), void (isOver = true));
  device.disk.trap = { left: seed, spring, isBehind: true };
  await stage.until("neither offered nor ended", () => isOver || (isHeard() && stage.isLevel(device)));
  device.disk.trap = undefined;
  if (isOver) device.open();
  await stage.end();
}

export const LET_GO: Readonly<Record<string, (stage: Stage) => Promise<void>>> = {
  "a trim, and nobody writes": trimAlone,
  "a place that compaction took is passed": passedByCompaction,
  "a gap, and the process ends": endedInGap,
  "an offer that leaves records, and the process ends": endedAfterOffer,
  "gone before it was read, and an edge that goes back": goneBeforeRead,
};
