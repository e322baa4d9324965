/**
 * Short histories of sync that are written down: those that once failed, and those that show what the drawn ones
 * (world.ts) meet too seldom. Each must pass, and fails with the planted bugs that name it (rule-mutants.ts).
 */
import type { SessionState } from "../../../src/sync/session-state.ts";
import { HARD_CASES, HARD_SEEDS } from "./hard-cases.ts";
import { LET_GO } from "./let-go.ts";
import { PUT_BACK } from "./put-back.ts";
import { REFUSED_WRITES, WRITE_SEEDS } from "./refused-writes.ts";
import { ROUND_TRIPS } from "./round-trips.ts";
import { Stage } from "./stage.ts";
import { TOPIC_HISTORIES, TOPIC_SEEDS, TOPICS } from "./topic-histories.ts";

type History = (stage: Stage) => Promise<void>;

/** Each history has so many: what is on its way takes another time in each. Hard cases and round trips differ less. */
const SEEDS = 40;
/** So long a batch needs to be pushed. */
const SENT_MS = 60;
const WAKE_MS = 200;
/** Longer than a timer may be late before it shows that the device slept. */
const ASLEEP_MS = 40_000;
const PUSHES = 12;
const OTHERS = 4;
const BATCHES = 6;
/** So long a full edge is tried, and so often at most: once in 15 s in the mean, and more often at first. */
const FULL_MS = 120_000;
const FULL_TRIES_MAX = 25;
/** Writes of the edge's database around a seal. */
const SEAL_WRITES = 12;
/** Operations of a device's volume while a batch is set aside for the first time. */
const ASIDE_STEPS = 40;

/** While a reader looks, its records settle and their place is passed. What it was shown is as of before. */
async function lookWhileSettling(stage: Stage): Promise<void> {
  const { edge } = stage;
  await stage.time.until(edge.make());
  const device = stage.device();
  await stage.level(device);
  edge.isReachable = false;
  edge.cutAll();
  await stage.write(device);
  const storage = device.opening!.storage!;
  const shown = storage.shown.bind(storage);
  storage.shown = async () => {
    const before = await shown();
    edge.isReachable = true;
    while (!stage.isLevel(device)) await stage.time.sleep(1);
    edge.cutAll();
    while (device.passedTo === 0) await stage.time.sleep(1);
    return before;
  };
  await stage.judge.look(device);
  storage.shown = shown;
  await stage.end();
}

/** A copy has taken over. The other one has nothing to claim for, and an append is under way as it looks. */
async function appendWhileLeaving(stage: Stage): Promise<void> {
  await stage.time.until(stage.edge.make());
  const device = stage.device();
  await stage.write(device);
  await stage.level(device);
  const { store } = device.opening!.storage!;
  const claimStand = store.claimStand.bind(store);
  let isFirst = true;
  store.claimStand = (look) => {
    if (isFirst) void device.opening!.append([stage.record()]);
    isFirst = false;
    return claimStand(look);
  };
  stage.device({ disk: device.disk.copy() });
  await stage.until("nobody claims", () => !isFirst);
  await stage.end();
}

/** A leader hangs with a push on its way, and another one joins. Both reach an object that wakes. */
async function pushOfFormerLeader(stage: Stage): Promise<void> {
  const { edge } = stage;
  await stage.time.until(edge.make());
  const device = stage.device();
  await stage.write(device);
  await stage.level(device);
  device.opening!.socket!.hold();
  await stage.write(device);
  await stage.run(SENT_MS);
  const hung = device.takeOver();
  await stage.until("nobody joins", () => device.opening?.session?.state.at === "joining");
  edge.wakesWithin = WAKE_MS;
  edge.wake();
  hung.socket!.release();
  await stage.run(WAKE_MS);
  hung.end();
  await stage.end();
}

/** The device sleeps between a ping and its answer, and wakes long after the answer came. */
async function sleepInPing(stage: Stage): Promise<void> {
  await stage.time.until(stage.edge.make());
  const device = stage.device();
  await stage.level(device);
  const { gate, link } = device.opening!;
  link!.hint("returned");
  gate.sleep();
  await stage.run(ASLEEP_MS);
  gate.wake();
  await stage.end();
}

/** Appends one after the other, while no push is answered. */
async function manyPushes(stage: Stage): Promise<void> {
  await stage.time.until(stage.edge.make());
  const device = stage.device();
  await stage.write(device);
  await stage.level(device);
  device.opening!.socket!.hold();
  for (let i = 0; i < PUSHES; i++) {
    await stage.write(device);
    await stage.run(SENT_MS);
  }
  device.opening!.socket!.release();
  await stage.end();
}

/** A crash leaves settled batches that fill the index, and behind it are some that the edge has not. */
async function fullIndex(stage: Stage): Promise<void> {
  const { edge, seed } = stage;
  await stage.time.until(edge.make());
  const device = stage.device({ indexMax: 2 });
  await stage.level(device);
  edge.isReachable = false;
  edge.cutAll();
  for (let i = 0; i < BATCHES; i++) await stage.write(device);
  edge.isReachable = true;
  const { disk } = device;
  let isOver = false;
  disk.trap = { left: seed, spring: () => (device.crash("process"), (isOver = true)) };
  await stage.until("neither level nor ended", () => isOver || stage.isLevel(device));
  disk.trap = undefined;
  device.open();
  await stage.end();
}

/** The log is sealed while pushes wait for the commit before them, and then the power is cut. */
async function sealBetweenPushes(stage: Stage): Promise<void> {
  const { edge, seed } = stage;
  await stage.time.until(edge.make());
  const devices = [stage.device(), stage.device(), stage.device()];
  for (const device of devices) {
    await stage.write(device);
    await stage.level(device);
  }
  edge.sealsAtPush = seed % SEAL_WRITES;
  for (let i = 0; i < BATCHES; i++)
    await stage.time.until(Promise.all(devices.map(({ opening }) => opening!.append([stage.record()]))));
  await stage.end();
}

/** A batch is blocked, and two tabs set it aside at once; another one answers late, when it is settled. */
async function asideTwice(stage: Stage): Promise<void> {
  await stage.time.until(stage.edge.make());
  const device = stage.device();
  await stage.level(device);
  const poison = stage.record({ name: "p", isPoison: true });
  await stage.write(device, [poison]);
  await stage.write(device);
  const { session, storage } = device.opening!;
  await stage.until("nothing is blocked", () => session!.block !== undefined);
  const { block } = session!;
  const { ranges } = block!;
  stage.aside.add(poison.name);
  const answer = (): Promise<void> => storage!.setAside(ranges, block!);
  await stage.time.until(Promise.all([answer(), answer()]));
  await stage.time.until(answer());
  const names = await stage.time.until(storage!.namesAside());
  if (names.length !== 1) stage.fail(`aside: ${names.join()} stand there, and ${poison.name} was set aside`);
  device.opening!.unblock();
  await stage.end();
}

/**
 * A device is away for longer than tombstones live, and at some step of its return its process ends. What others have
 * deleted is not here any more then; what it wrote meanwhile is. Who has read the tombstones keeps its copy.
 */
async function longAway(stage: Stage): Promise<void> {
  const { edge, seed } = stage;
  await stage.time.until(edge.make());
  const [writer, away] = [stage.device(), stage.device()];
  await stage.write(writer, [stage.record({ key: "a" })]);
  const deleted = stage.record({ key: "b" });
  await stage.write(writer, [deleted]);
  await stage.level(writer);
  await stage.level(away);
  away.opening!.link!.step({ on: "pause", why: "user" });
  const own = stage.record();
  await stage.write(away, [own]);
  await stage.write(writer, [stage.record({ key: "b", isDeletion: true })]);
  await stage.write(writer, [stage.record({ key: "c" })]);
  await stage.level(writer);
  await stage.time.until(edge.catchUp());
  await stage.time.until(edge.seal());
  await stage.time.until(edge.forgetDeletions());
  let isOver = false;
  away.disk.trap = { left: seed * 2, spring: () => (away.crash("power"), (isOver = true)) };
  away.opening!.link!.step({ on: "resume" });
  edge.cutAll();
  await stage.until("neither level nor ended", () => isOver || stage.isLevel(away));
  away.disk.trap = undefined;
  away.open();
  await stage.level(away);
  await stage.level(writer);
  const shown = await stage.judge.look(away);
  if (shown?.below.has(deleted.name)) stage.fail(`undead: ${away.name} still has ${deleted.name}`);
  if (!shown?.below.has(own.name)) stage.fail(`lost: ${away.name} has not ${own.name}`);
  if (writer.opening?.storage?.store.replicaNote?.anew) stage.fail(`undead: ${writer.name} had read the tombstone`);
  await stage.end();
}

/** The power goes somewhere in an answer that sets a batch aside. It is given once more if the batch is still there. */
async function asideWithoutPower(stage: Stage): Promise<void> {
  const { seed } = stage;
  await stage.time.until(stage.edge.make());
  const device = stage.device();
  await stage.level(device);
  const poison = stage.record({ name: "p", isPoison: true });
  await stage.write(device, [poison]);
  stage.aside.add(poison.name);
  const isBlocked = (): boolean => device.opening?.session?.block !== undefined;
  let isOver = false;
  for (let tries = 0; tries < 2 && !isOver; tries++) {
    await stage.until("nothing is blocked", () => isBlocked() || stage.isLevel(device));
    if (!isBlocked()) break;
    const { session, storage } = device.opening!;
    const { block } = session!;
    let isDown = false;
    const spring = (): void => (device.crash("power"), void (isDown = true));
    if (tries === 0) device.disk.trap = { left: seed % ASIDE_STEPS, spring };
    void storage!.setAside(block!.ranges, block!).then(() => (isOver = true));
    await stage.until("the answer does not end", () => isOver || isDown);
    device.disk.trap = undefined;
    if (!isDown) device.crash("power");
    device.open();
    await stage.until("it does not open", () => device.isOpen);
    await stage.judge.look(device);
  }
  await stage.end();
}

/** The edge is full at the first join of its log. Others append before the next join, and then its object wakes. */
async function firstLifeUnwritten(stage: Stage): Promise<void> {
  const { edge, time } = stage;
  await time.until(edge.make());
  edge.fill(true);
  const device = stage.device();
  await stage.until("no join is tried", () => device.opening?.session?.failure !== undefined);
  edge.isReachable = false;
  edge.cutAll();
  edge.fill(false);
  await time.until(edge.append(stage.record()));
  edge.isReachable = true;
  await stage.write(device);
  await stage.level(device);
  edge.reset(true);
  await time.until(edge.append(stage.record()));
  await stage.end();
}

/** The edge is full, and then the device: each is told as what it is, and sync goes on by itself once there is room. */
async function fullPlaces(stage: Stage): Promise<void> {
  const { edge, counts } = stage;
  await stage.time.until(edge.make());
  const device = stage.device();
  await stage.level(device);
  edge.fill(true);
  await stage.write(device);
  await stage.until("nobody is told of a full edge", () => (counts["quota edge"] ?? 0) > 0);
  await stage.run(FULL_MS);
  if ((counts["quota edge"] ?? 0) > FULL_TRIES_MAX) stage.fail(`quota: ${counts["quota edge"]} tries at a full edge`);
  if (counts["quota device"]) stage.fail("quota: the device is not full");
  edge.fill(false);
  await stage.level(device);
  const told = counts["quota edge"];
  device.disk.isFull = true;
  const padding = 10_000;
  for (let i = 0; i < OTHERS; i++) await stage.time.until(edge.append(stage.record({ padding })));
  await stage.until("nobody is told of a full device", () => (counts["quota device"] ?? 0) > 0);
  if (counts["quota edge"] !== told) stage.fail("quota: the edge is not full");
  device.disk.isFull = false;
  await stage.end();
}

/** A closed log is deleted while the socket, or HTTP, goes on: with something that waits for a person, or without. */
async function closedThenDeleted(stage: Stage): Promise<void> {
  const { edge, random } = stage;
  await stage.time.until(edge.make());
  const device = stage.device();
  device.isBarred = stage.seed % 4 === 0;
  await stage.write(device);
  await stage.level(device);
  await stage.time.until(edge.close());
  const state = (): SessionState | undefined => device.opening?.session?.state;
  if (random.chance(0.5)) {
    await stage.write(device);
    await stage.until("nobody is asked", () => state()?.at === "blocked");
  }
  await stage.run(SENT_MS);
  const { socket } = device.opening!;
  await stage.time.until(edge.remove());
  await stage.until("it does not stop", () => state()?.at === "stopped");
  if (!device.isBarred && !socket?.isOpen) stage.fail("the socket has ended as well");
}

/** A full edge refuses to close its log, and nobody is told that it is closed, then or later. */
async function closeRefused(stage: Stage): Promise<void> {
  const { edge, time } = stage;
  await time.until(edge.make());
  const device = stage.device();
  await stage.write(device);
  await stage.level(device);
  edge.fill(true);
  let isRefused = false;
  edge.close().catch(() => (isRefused = true));
  await stage.until("a full edge closes its log", () => isRefused);
  edge.fill(false);
  await stage.write(device);
  await stage.end();
}

export const HISTORIES: Readonly<Record<string, History>> = {
  "a look while records settle": lookWhileSettling,
  "an append while an id is left": appendWhileLeaving,
  "a push of a former leader": pushOfFormerLeader,
  "a sleep in a ping": sleepInPing,
  "many pushes without an answer": manyPushes,
  "a full index behind a crash": fullIndex,
  "a seal between pushes": sealBetweenPushes,
  "two answers at once, and a late one": asideTwice,
  "away for longer than tombstones live": longAway,
  "set aside, and the power goes": asideWithoutPower,
  "a first life that is not written": firstLifeUnwritten,
  "a full edge, and a full device": fullPlaces,
  "a closed log that is deleted": closedThenDeleted,
  "a close that a full edge refuses": closeRefused,
  ...LET_GO,
  ...PUT_BACK,
  ...HARD_CASES,
  ...REFUSED_WRITES,
  ...ROUND_TRIPS,
  ...TOPIC_HISTORIES,
};

const seedsOf = (name: string): number =>
  name in REFUSED_WRITES
    ? WRITE_SEEDS
    : name in HARD_CASES || name in ROUND_TRIPS
      ? HARD_SEEDS
      : name in TOPIC_HISTORIES
        ? TOPIC_SEEDS
        : SEEDS;

/** Why one of the histories of this name fails, with its seed; undefined: they pass. */
export async function runHistory(name: string, seeds = seedsOf(name)): Promise<string | undefined> {
  for (let seed = 1; seed <= seeds; seed++) {
    const stage = new Stage(seed, name in TOPIC_HISTORIES ? TOPICS : 1);
    await HISTORIES[name]!(stage).catch((thrown: unknown) => {
      // What is behind a failure may find less than it needs.
      if (stage.failed === undefined) throw thrown;
    });
    if (stage.failed !== undefined) return stage.failed;
  }
  return undefined;
}
