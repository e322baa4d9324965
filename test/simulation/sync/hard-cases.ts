/**
 * Hard cases of docs/sync.md over the product's code: profiles that are copied, put back, or copied while they run, an
 * edge that forgets or ends what it took, a device that is full. Each history is written down; what differs between its
 * seeds is said there.
 */
import { FrameType } from "../../../src/sync/frames.ts";
import { readPush } from "../../../src/sync/sync-frames.ts";
import type { Device } from "./device.ts";
import { batchOf, type NamedRecord } from "./records.ts";
import type { Stage } from "./stage.ts";
import { deskOf, TOKEN_CASES } from "./token-cases.ts";
import { OTHER_OWNER, OWNER } from "./tokens.ts";

/** Each history has so many. */
export const HARD_SEEDS = 6;
const SENT_MS = 60;
/** A claim comes so many of these later once more: at times behind the join of the next id. */
const CLAIM_MS = 60;
const DAY_MS = 86_400_000;
const YEAR_MS = 365 * DAY_MS;
/** A producer that copies of a running machine share. */
const PRODUCER = 77;
const GENERATIONS = 5;
/** So long an edge ends each connection at once, and this many may be opened meanwhile. */
const REFUSING_MS = 300_000;
const OPENED_MAX = 60;
/** The edge ends a socket that it does not serve, or says each time that it restarts. */
const NOT_SERVED = [1011, 1012];
/** More bytes than a slot of a device has. */
const SLOT_BYTES = 16 * 1024;

/** A device with a log at the edge, with one record that is level. */
async function begun(stage: Stage): Promise<Device> {
  await stage.time.until(stage.edge.make());
  const device = stage.device();
  await stage.write(device);
  await stage.level(device);
  return device;
}

function away(stage: Stage): void {
  stage.edge.isReachable = false;
  stage.edge.cutAll();
}

/** A copy of a device's profile, which nobody has opened yet, and of what was acknowledged there. */
const profileOf = ({ disk, outbox }: Device) => ({ disk: disk.copy(), outbox: [...outbox] });

function openCopy(stage: Stage, { disk, outbox }: ReturnType<typeof profileOf>): Device {
  const copy = stage.device({ disk: disk.copy() });
  copy.outbox = [...outbox];
  return copy;
}

/** The operator's age of entries has passed, and the next seal forgets those that nobody has used since. */
async function forget({ edge, time }: Stage): Promise<void> {
  await time.until(edge.catchUp());
  edge.clockMs += 2 * DAY_MS;
  await time.until(edge.seal());
}

/** All of these are at the edge. That none is there twice is seen at each commit. */
async function standThere({ edge, time, fail }: Stage, names: readonly string[]): Promise<void> {
  await time.until(edge.catchUp());
  for (const name of names) if (!edge.ledger.hasTaken(name)) fail(`lost: ${name} is not at the edge`);
}

function claims(stage: Stage, least: number, most: number): void {
  const { claimed = 0 } = stage.counts;
  if (claimed < least || claimed > most) stage.fail(`claims: ${claimed}, and not ${least} to ${most}`);
}

/** H6, H7: a profile is put back from a backup, and writes fewer or more records than it had pushed since. */
async function putBack(stage: Stage, written: number): Promise<void> {
  const { edge } = stage;
  const device = await begun(stage);
  const backup = profileOf(device);
  for (let i = 0; i < 2; i++) await stage.write(device);
  await stage.level(device);
  const names = device.outbox.map(({ name }) => name);
  away(stage);
  device.crash("process");
  device.disk = backup.disk;
  device.topics[0]!.begin({ outbox: backup.outbox, offer: undefined });
  device.open();
  for (let i = 0; i < written; i++) await stage.write(device);
  names.push(...device.outbox.map(({ name }) => name));
  edge.isReachable = true;
  await stage.level(device);
  await standThere(stage, names);
  claims(stage, 1, 1);
  await stage.write(device);
  await stage.end();
}

/**
 * H8: a copy pushes the batch that the original has not settled, and the original comes a year later. Meanwhile the
 * copy has written more (every other seed), and the edge has forgotten both (every third).
 */
async function aYearLater(stage: Stage): Promise<void> {
  const { edge, seed } = stage;
  const device = await begun(stage);
  away(stage);
  await stage.write(device);
  const copied = profileOf(device);
  device.crash("process");
  edge.isReachable = true;
  const copy = openCopy(stage, copied);
  await stage.level(copy);
  if (seed % 2 === 0) await stage.write(copy);
  await stage.level(copy);
  copy.crash("process");
  if (seed % 3 === 0) await forget(stage);
  edge.clockMs += YEAR_MS;
  device.open();
  await stage.level(device);
  await stage.write(device);
  copy.open();
  await stage.end();
}

/** Two copies of a profile whose openings have one term and one generation. */
async function twins(stage: Stage): Promise<readonly [Device, Device]> {
  const device = await begun(stage);
  away(stage);
  device.crash("process");
  const copy = openCopy(stage, profileOf(device));
  device.open();
  const both = [device, copy] as const;
  await stage.until("both open", () => both.every(({ isOpen }) => isOpen));
  const [one, two] = both.map(({ opening }) => opening!.storage!);
  if (one!.term !== two!.term || one!.store.outboxNote.generation !== two!.store.outboxNote.generation)
    stage.fail("the twins differ");
  return both;
}

/** H10: both write. Each ends with an id of its own, behind one claim for each drain. */
async function equalStanding(stage: Stage): Promise<void> {
  const both = await twins(stage);
  const { outbox } = both[0].opening!.storage!.store.outboxNote;
  for (const device of both) for (let i = 0; i < 2; i++) await stage.write(device);
  stage.edge.isReachable = true;
  for (let drain = 0; drain < 3; drain++) {
    for (const device of both) await stage.level(device);
    if (drain < 2) for (const device of both) await stage.write(device);
  }
  claims(stage, 1, 3);
  const ids = both.map(({ opening }) => opening?.storage?.store.outboxNote.outbox);
  if (ids.includes(outbox) || ids[0] === ids[1]) stage.fail(`ids: ${ids.join()} behind ${outbox}`);
  await stage.end();
}

/** H10a: two frames of one twin are on their way, and the other's push brings the edge to where the second begins. */
async function meetingPushes(stage: Stage): Promise<void> {
  const { edge } = stage;
  const [one, two] = await twins(stage);
  edge.isReachable = true;
  for (const device of [one, two]) await stage.level(device);
  two.opening!.socket!.hold();
  for (let i = 0; i < 2; i++) {
    await stage.write(two);
    await stage.run(SENT_MS);
  }
  await stage.write(one);
  await stage.until("nothing is pushed", () => edge.committed === 2);
  two.opening!.socket!.release();
  await stage.end();
}

/** H10: the claim of one twin reaches the edge twice, the second time when its next id has joined, or before that. */
async function claimTwice(stage: Stage): Promise<void> {
  const { front, seed } = stage;
  const both = await twins(stage);
  let claimed = 0;
  front.repeats = ({ type, payload }) => {
    const isClaim = type === FrameType.PUSH && readPush(payload)!.readTo !== undefined;
    return isClaim && ++claimed === 1 ? seed * CLAIM_MS : undefined;
  };
  for (const device of both) await stage.write(device);
  stage.edge.isReachable = true;
  for (const device of both) await stage.level(device);
  for (const device of both) await stage.write(device);
  for (const device of both) await stage.level(device);
  if (claimed === 0) stage.fail("claims: none");
  await stage.run(HARD_SEEDS * CLAIM_MS);
  await stage.end();
}

/** H10: a machine is copied while it runs, with its pages: both write under one identity, and not the same. */
async function equalIdentity(stage: Stage): Promise<void> {
  const both = await twins(stage);
  for (const device of both) {
    const record = stage.record();
    const batch = batchOf([record], { producerId: PRODUCER, producerEpoch: 0, baseSequence: 0 });
    stage.made.add(batch);
    device.acked([record], await stage.time.until(device.opening!.storage!.append(batch)));
  }
  stage.edge.isReachable = true;
  await stage.end();
}

/** H12: the edge forgets entries of a day's age, and the device was away for two. So was a copy that never joined. */
async function forgotten(stage: Stage): Promise<void> {
  const { edge } = stage;
  await stage.time.until(edge.make());
  edge.isReachable = false;
  const device = stage.device();
  await stage.write(device);
  const copied = profileOf(device);
  edge.isReachable = true;
  await stage.level(device);
  away(stage);
  await stage.write(device);
  await forget(stage);
  edge.isReachable = true;
  const copy = openCopy(stage, copied);
  await stage.write(copy);
  await stage.end();
}

/**
 * H12a: three copies share an id that was not registered, and a batch. One has pushed it, and the edge has forgotten.
 * Another has read it under a token that may not write, and writes; it joins before the third one, or behind it.
 */
async function threeCopies(stage: Stage): Promise<void> {
  const { edge, seed, time } = stage;
  await time.until(edge.make());
  edge.isReachable = false;
  const reader = stage.device();
  await stage.write(reader);
  const copied = profileOf(reader);
  reader.crash("process");
  edge.isReachable = true;
  const first = openCopy(stage, copied);
  await stage.level(first);
  first.crash("process");
  await forget(stage);
  let write = false;
  stage.desk = deskOf(stage, () => ({ owner: OWNER, write }));
  reader.open();
  const isRead = (): boolean => reader.opening?.storage?.store.watermark === edge.committed;
  await stage.until("the batch is not read", isRead);
  await stage.write(reader);
  write = true;
  if (seed % 2 === 0) {
    reader.opening!.link!.step({ on: "authenticate" });
    await stage.level(reader);
  } else away(stage);
  edge.isReachable = true;
  const third = openCopy(stage, copied);
  await stage.level(third);
  await stage.write(third);
  reader.opening!.link!.step({ on: "authenticate" });
  first.open();
  await stage.end();
}

/**
 * H12b: a profile is copied while it runs, and the copy pushes what both have. The edge forgets, or compacts it away
 * (every other seed). Then the original joins, in the same opening: it knows the batch again, or asks.
 */
async function copiedRunning(stage: Stage): Promise<void> {
  const { edge, seed, time } = stage;
  const device = await begun(stage);
  const isCompacted = seed % 2 === 0;
  away(stage);
  await stage.write(device, [stage.record({ key: "k" })]);
  const { opening } = device;
  opening!.gate.sleep();
  edge.isReachable = true;
  const copy = openCopy(stage, profileOf(device));
  await stage.level(copy);
  if (isCompacted) {
    for (let i = 0; i < 2; i++) await time.until(edge.append(stage.record({ key: "k" })));
    await time.until(edge.catchUp());
    await time.until(edge.seal());
    if (!(await time.until(edge.compact()))) stage.fail("nothing was compacted");
  } else {
    copy.crash("process");
    await forget(stage);
    copy.open();
  }
  opening!.gate.wake();
  const { session } = opening!;
  await stage.until("nothing comes of it", () => session!.block !== undefined || stage.isLevel(device));
  if (isCompacted !== (session!.block?.code === "IN_DOUBT")) stage.fail(`doubt: ${JSON.stringify(session!.block)}`);
  await discard(stage, device);
  await stage.end();
}

/** A person discards what is blocked. */
async function discard(stage: Stage, device: Device): Promise<void> {
  const { opening } = device;
  const { store } = opening!.storage!;
  for (const [from, to] of opening!.session!.block?.ranges ?? []) {
    for (const { at, name } of device.outbox) if (at >= from && at < to) stage.discarded.add(name);
    await stage.time.until(store.retract(from, to, "discarded"));
  }
  opening!.unblock();
}

/**
 * H12c: copies of one profile have claimed one after the other, and each wrote more before it was level. Then the edge
 * forgets. The one of the first generation claims before the one of the newest does.
 */
async function generations(stage: Stage): Promise<void> {
  const { edge } = stage;
  const device = await begun(stage);
  const copied = profileOf(device);
  away(stage);
  await stage.write(device);
  device.crash("process");
  let newest = await grantedTo(stage, copied, 1);
  for (let generation = 2; generation <= GENERATIONS; generation++) {
    // Nobody has the one before any more, and what it had not pushed.
    stage.devices.splice(stage.devices.indexOf(newest), 1);
    newest = await grantedTo(stage, copied, generation);
  }
  await forget(stage);
  edge.isReachable = true;
  device.open();
  await stage.level(device);
  newest.open();
  await stage.level(newest);
  for (const each of [device, newest]) await stage.write(each);
  await stage.level(newest);
  claims(stage, GENERATIONS + 1, Infinity);
  await stage.end();
}

/**
 * A copy pushes a record, in the first generation or by a claim, and writes another one while that is on its way. Then
 * the edge is away, and the copy ends.
 */
async function grantedTo(stage: Stage, copied: ReturnType<typeof profileOf>, wanted: number): Promise<Device> {
  const { edge } = stage;
  const copy = openCopy(stage, copied);
  await stage.write(copy);
  const { store } = copy.opening!.storage!;
  const granted = store.granted.bind(store);
  let isGranted = false;
  store.granted = async (grant) => {
    await granted(grant);
    away(stage);
    isGranted = true;
  };
  let isPushed = false;
  edge.onPush = () => {
    if (!isPushed) void copy.opening!.append([stage.record()]);
    isPushed = true;
  };
  edge.isReachable = true;
  await stage.until("nothing is granted", () => isGranted || (wanted === 1 && stage.isLevel(copy)));
  edge.onPush = () => undefined;
  away(stage);
  const { generation } = store.outboxNote;
  if (generation !== wanted) stage.fail(`generation: ${generation} in place of ${wanted}`);
  copy.crash("process");
  return copy;
}

/** H22: the edge takes sockets, and ends each before it has served anything. Tries come ever later. */
async function endedAtOnce(stage: Stage): Promise<void> {
  const { edge, front, seed, time } = stage;
  await time.until(edge.make());
  const connect = front.connect.bind(front);
  let opened = 0;
  front.connect = (...asked) => {
    const socket = connect(...asked);
    opened++;
    time.after(1, () => front.cut(socket, NOT_SERVED[seed % 2]!));
    return socket;
  };
  const device = stage.device();
  await stage.run(REFUSING_MS);
  if (opened > OPENED_MAX) stage.fail(`storm: ${device.name} opens ${opened} connections in ${REFUSING_MS} ms`);
  front.connect = connect;
  await stage.end();
}

/** H29: the device is full while frames come. Once there is room the follow goes on where the replica ends. */
async function fullWhileFollowing(stage: Stage): Promise<void> {
  const { edge, time } = stage;
  await time.until(edge.make());
  const device = stage.device();
  await stage.level(device);
  device.disk.isFull = true;
  for (let bytes = 0; bytes < 3 * SLOT_BYTES; bytes += SLOT_BYTES / 8)
    await time.until(edge.append(stage.record({ padding: SLOT_BYTES / 8 })));
  await stage.until("it is not full", () => (stage.counts["quota device"] ?? stage.counts["failed"]) !== undefined);
  device.disk.isFull = false;
  await stage.end();
}

export const HARD_CASES: Readonly<Record<string, (stage: Stage) => Promise<void>>> = {
  "H6: a profile is put back, and writes less than it had pushed": (stage) => putBack(stage, stage.seed % 2),
  "H7: a profile is put back, and writes more than it had pushed": (stage) => putBack(stage, 3),
  "H8: a copy comes first, and the original a year later": aYearLater,
  "H10: two copies of one standing": equalStanding,
  "H10: two copies of a machine that runs": equalIdentity,
  "H10: a claim that reaches the edge twice": claimTwice,
  "H10a: pushes of two copies that meet": meetingPushes,
  "H12: the edge has forgotten a device, and a copy of it": forgotten,
  "H12a: three copies of an id that was not registered": threeCopies,
  "H12b: a profile that is copied while it runs": copiedRunning,
  "H12c: the edge forgets five generations": generations,
  "H22: an edge that ends each connection": endedAtOnce,
  ...TOKEN_CASES,
  "H29: a full device that follows": fullWhileFollowing,
};
