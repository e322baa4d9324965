/**
 * Histories in which the edge is put back to an earlier moment, as from a backup, and what devices offer again then.
 *
 *   edge  r0 r1 | r2 r3        put back to |, and others write: a device that has r2 and r3 stops as DIVERGED, and a
 *   edge  r0 r1 | r9 r2 r3     person lets it offer them again
 */
import type { SessionState } from "../../../src/sync/session-state.ts";
import type { Device } from "./device.ts";
import type { Stage } from "./stage.ts";

/** So long a batch needs to be pushed. */
const SENT_MS = 60;
const OTHERS = 4;

/**
 * An answer told of a batch that the follow had not brought. The edge is put back to before it, grows again, and a copy
 * of the device pushes another batch at that position: the first one is at the edge no more.
 */
async function toldAndLost(stage: Stage): Promise<void> {
  const { edge } = stage;
  await stage.time.until(edge.make());
  const device = stage.device();
  await stage.write(device);
  await stage.level(device);
  const disk = device.disk.copy();
  const backup = (await stage.time.until(edge.backup()))!;
  const { store } = device.opening!.storage!;
  const told = store.told.bind(store);
  let isTold = false;
  store.told = (taken) => {
    told(taken);
    isTold ||= taken.next > 1;
    if (taken.next > 1) edge.isReachable = false;
    if (taken.next > 1) edge.cutAll();
  };
  await stage.write(device);
  await stage.until("nothing is told", () => isTold);
  await stage.run(SENT_MS);
  store.told = told;
  // The follow was faster.
  if (store.firstUnsettled === store.end) return;
  await stage.time.until(edge.putBack(backup));
  for (let i = 0; i < OTHERS; i++) await stage.time.until(edge.append(stage.record()));
  const { opening } = device;
  opening!.gate.sleep();
  edge.isReachable = true;
  const copy = stage.device({ disk });
  await stage.write(copy);
  await stage.level(copy);
  opening!.gate.wake();
  await stage.end();
}

/**
 * The edge was put back, and then its log is made anew, before a device may offer again what was lost. The process ends
 * when the first frame has been taken, and before the device knows it.
 */
async function offerAnew(stage: Stage): Promise<void> {
  const { edge } = stage;
  await stage.time.until(edge.make());
  const device = stage.device();
  for (let i = 0; i < OTHERS; i++) await stage.write(device);
  await stage.level(device);
  const backup = (await stage.time.until(edge.backup()))!;
  for (let i = 0; i < OTHERS; i++) await stage.write(device);
  await stage.level(device);
  await stage.time.until(edge.putBack(backup));
  const { opening } = device;
  await stage.until("it does not stop", () => opening!.session!.state.at === "stopped");
  await stage.time.until(edge.remove());
  await stage.time.until(edge.make());
  const { state } = opening!.session!;
  const agreedTo = state.at === "stopped" ? Number(state.details["agreedTo"]) : 0;
  if (agreedTo === 0) stage.fail(`the edge was put back to ${OTHERS}, and agrees nowhere`);
  // Its process ends meanwhile.
  void opening!.offerAgain(agreedTo);
  await stage.until("nothing is offered", () => edge.committed > 0);
  device.crash("process");
  device.open();
  await stage.end();
}

/**
 * The edge is put back, and somebody writes where a device's record stood. Another device offers again what stood
 * behind it, which stands where it stood before then. The first device's record is offered, too, when that one comes.
 * In every other history the edge has lost lives of its log.
 */
async function offerBehindOthers(stage: Stage): Promise<void> {
  const { edge, time } = stage;
  await time.until(edge.make());
  const [device, other] = [stage.device(), stage.device()];
  for (const each of [device, other]) await stage.write(each);
  for (const each of [device, other]) await stage.level(each);
  const backup = (await time.until(edge.backup()))!;
  const lives = stage.seed % 2 === 0 ? 2 : 0;
  await otherLives(stage, lives);
  await stage.write(device);
  for (const each of [device, other]) await stage.level(each);
  for (let i = 0; i < OTHERS; i++) {
    await stage.write(other);
    await stage.level(other);
  }
  await stage.level(device);
  device.crash("process");
  await time.until(edge.putBack(backup));
  for (let i = 0; i <= lives; i++) await time.until(edge.append(stage.record()));
  await offered(stage, other);
  await stage.level(other);
  await otherLives(stage, lives);
  device.open();
  await offered(stage, device);
  await stage.end();
}

/** The edge's object starts anew so often, and somebody writes then. */
async function otherLives(stage: Stage, lives: number): Promise<void> {
  for (let i = 0; i < lives; i++) {
    stage.edge.reset(false);
    await stage.time.until(stage.edge.append(stage.record()));
  }
}

/** A device that an edge has stopped which went back offers again what is lost. */
async function offered(stage: Stage, device: Device): Promise<void> {
  const at = (): SessionState | undefined => device.opening?.session?.state;
  await stage.until("it does not stop", () => at()?.at === "stopped");
  const state = at();
  const agreedTo = state?.at === "stopped" ? Number(state.details["agreedTo"]) : 0;
  await stage.time.until(device.opening!.offerAgain(agreedTo));
}

/**
 * A device begins at the log's end, and nothing comes. The edge is put back to before that, and a batch of another one
 * spans the place: a join has nothing to compare, and what follows does not go on here.
 */
async function nothingToCompare(stage: Stage): Promise<void> {
  const { edge, time } = stage;
  await time.until(edge.make());
  const backup = (await time.until(edge.backup()))!;
  for (let i = 0; i < OTHERS; i++) await time.until(edge.append(stage.record()));
  const device = stage.device({ from: "latest" });
  await stage.level(device);
  device.crash("process");
  await time.until(edge.putBack(backup));
  const other = stage.device();
  for (let i = 0; i < 2; i++)
    await stage.write(
      other,
      Array.from({ length: OTHERS - 1 }, () => stage.record()),
    );
  await stage.level(other);
  device.open();
  await offered(stage, device);
  await stage.end();
}

export const PUT_BACK = {
  "told, and lost": toldAndLost,
  "an offer to a log that was made anew": offerAnew,
  "an offer behind those of others": offerBehindOthers,
  "nothing to compare": nothingToCompare,
};
