/**
 * Round trips of sync, counted (histories.ts). Messages take a fixed time that is long beside all else, so the time of
 * a work says how often the network is crossed, one crossing after the other.
 */
import type { Stage } from "./stage.ts";

/** A message takes so long each way: much longer than all that devices and the edge do. */
const WAY_MS = 400;
const BATCHES = 6;
/** A device that was level for this long begins its back-off anew. */
const QUIET_MS = 11_000;
/** What somebody else writes, each in a frame of its own: more than a follow's window takes at once. */
const FOREIGN = { records: 20, padding: 8 * 1024 };

/**
 * D1: three devices have written while their links were paused, as somebody else has, and come back in one turn. A push
 * waits for no pull and for no other device, so each outbox is at the edge two round trips behind the channel's hello:
 * one for the join, one for the push. What somebody else wrote takes more of them.
 */
async function threeReturn(stage: Stage): Promise<void> {
  const { edge, time } = stage;
  await time.until(edge.make());
  const devices = [stage.device(), stage.device(), stage.device()];
  for (const device of devices) {
    await stage.write(device);
    await stage.level(device);
  }
  for (const { opening } of devices) opening!.link!.step({ on: "pause", why: "user" });
  for (const device of devices) for (let i = 0; i < BATCHES; i++) await stage.write(device);
  for (let i = 0; i < FOREIGN.records; i++) await time.until(edge.append(stage.record({ padding: FOREIGN.padding })));
  stage.front.wayMs = WAY_MS;
  const frames = new Map<object, number>();
  edge.onPush = (socket) => void frames.set(socket, (frames.get(socket) ?? 0) + 1);
  const began = time.ms;
  const drained = devices.map(({ opening }) => {
    const { store } = opening!.storage!;
    const told = store.told.bind(store);
    return new Promise<{ readonly ms: number; readonly isBehind: boolean }>((resolve) => {
      store.told = (taken) => {
        told(taken);
        if (taken.next === store.end) resolve({ ms: time.ms - began, isBehind: store.watermark < edge.committed });
      };
    });
  });
  for (const { opening } of devices) opening!.link!.step({ on: "resume" });
  const ends = await time.until(Promise.all(drained));
  stage.front.wayMs = undefined;
  if (ends.every(({ isBehind }) => !isBehind)) stage.fail("trips: nobody had anything left to pull");
  const trips = ends.map(({ ms }) => ms / (2 * WAY_MS));
  // Between the trips come opens of sockets, reads, proofs and commits: they take less than a quarter of one.
  if (Math.max(...trips) > 3.25) stage.fail(`trips: outboxes were at the edge after ${trips.join(", ")} round trips`);
  const pushes = [...frames.values()];
  if (pushes.join() !== "1,1,1") stage.fail(`trips: ${pushes.join(", ")} pushes for an outbox of one frame`);
  await stage.end();
}

/**
 * A connection is lost on which a topic was level for long, and nothing was written meanwhile. On the next one it is
 * level two round trips behind the channel's hello at most, for the join and a tide: no wait is in between.
 */
async function backWithoutNews(stage: Stage): Promise<void> {
  const { edge, time, front } = stage;
  await time.until(edge.make());
  const device = stage.device();
  await stage.write(device);
  await stage.level(device);
  await stage.run(QUIET_MS);
  front.wayMs = WAY_MS;
  for (let lost = 0; lost < 3; lost++) {
    const { socket } = device.opening!;
    edge.cutAll();
    await stage.until("there is no other socket", () => device.opening!.socket !== socket);
    const began = time.ms;
    await stage.level(device);
    const trips = (time.ms - began) / (2 * WAY_MS);
    if (trips > 3.25) stage.fail(`trips: level ${trips} round trips behind the socket`);
    await stage.run(QUIET_MS);
  }
  front.wayMs = undefined;
  await stage.end();
}

/** H3: the leader ends between a push and its answer, three times in a row, and each next one joins once. */
async function killedInPush(stage: Stage): Promise<void> {
  const { edge, time } = stage;
  await time.until(edge.make());
  const device = stage.device();
  await stage.write(device);
  await stage.level(device);
  for (let killed = 0; killed < 3; killed++) {
    let isOver = false;
    edge.onPush = () => void (isOver = true);
    await stage.write(device);
    await stage.until("nothing is pushed", () => isOver);
    edge.onPush = () => undefined;
    const before = device.opening!;
    device.crash("process");
    if (killed > 0 && before.joins > 1) stage.fail(`trips: a leader has joined ${before.joins} times`);
    device.open();
  }
  await stage.level(device);
  if (device.opening!.joins > 1) stage.fail(`trips: a leader has joined ${device.opening!.joins} times`);
  await stage.end();
}

export const ROUND_TRIPS = {
  "H3: killed between push and ok": killedInPush,
  "three return at once": threeReturn,
  "back without news": backWithoutNews,
};
