/**
 * Histories of several topics on one link that are written down: what stands still in one of them holds up no other,
 * and ends no socket.
 */
import type { Range } from "../../../src/sync/topic-store.ts";
import { LEVEL_BYTES } from "../../../src/sync/window-budget.ts";
import type { Device } from "./device.ts";
import type { SimSocket } from "./network.ts";
import type { NamedRecord } from "./records.ts";
import type { Stage } from "./stage.ts";
import { WINDOWS } from "./wire-judge.ts";

const LEFT_MS = 500;
/** So long what is refused is asked for again and again. */
const REFUSED_MS = 20_000;
/** The largest window where windows are looked at, and what grows it. */
const WIDE_BYTES = 512 * 1024;
const LARGE_BYTES = 10_000;
const OTHERS_RECORDS = 24;
const OWN_RECORDS = 8;

interface Begun {
  readonly device: Device;
  readonly other: Device;
  /** The device's, as of then. */
  readonly socket: SimSocket | undefined;
}

/** Two devices with all topics, level. */
async function begun(stage: Stage): Promise<Begun> {
  for (const edge of stage.edges) await stage.time.until(edge.make());
  const [device, other] = [stage.device(), stage.device()];
  await stage.level(device);
  await stage.level(other);
  return { device, other, socket: device.opening!.socket };
}

/** Each topic but the first is written to, and both devices become level in them, over the same socket. */
async function othersGoOn(stage: Stage, { device, other, socket }: Begun): Promise<void> {
  for (const topic of device.topics.slice(1)) await stage.time.until(topic.opening!.append([stage.record()]));
  for (const of of [device, other]) for (const topic of of.topics.slice(1)) await stage.level(topic);
  if (device.opening!.socket !== socket || !socket!.isOpen)
    stage.fail(`storm: ${device.name} has given up a socket that its other topics need`);
}

/** Nobody answers for the one that is blocked until the others have gone on. */
async function blockedTopic(stage: Stage): Promise<void> {
  const all = await begun(stage);
  const { device } = all;
  const { session, storage } = device.opening!;
  const poison = stage.record({ name: "p", isPoison: true });
  await stage.write(device, [poison]);
  await stage.until("nothing is blocked", () => session!.block !== undefined);
  await othersGoOn(stage, all);
  if (stage.failed !== undefined) return;
  if (session!.state.at !== "blocked") stage.fail(`it is ${session!.state.at}, and nobody has answered`);
  stage.discarded.add(poison.name);
  for (const [from, to] of session!.block!.ranges)
    await stage.time.until(storage!.store.retract(from, to, "discarded"));
  device.opening!.unblock();
  await stage.end();
}

/** Its session and its logs are closed, and opened again later. */
async function leftTopic(stage: Stage): Promise<void> {
  const all = await begun(stage);
  const { opening } = all.device;
  await stage.write(all.device);
  const left = opening!.leave(opening!.lives[0]!, LEFT_MS);
  await othersGoOn(stage, all);
  await stage.time.until(left);
  await stage.write(all.device);
  await stage.end();
}

/** A person answers, and the topic is left before the answer is noted: it reaches a session that has ended. */
async function answeredAndLeft(stage: Stage): Promise<void> {
  const all = await begun(stage);
  const { opening } = all.device;
  const { session, storage } = opening!;
  const poison = stage.record({ name: "p", isPoison: true });
  await stage.write(all.device, [poison]);
  await stage.until("nothing is blocked", () => session!.block !== undefined);
  const { block } = session!;
  const [[from, to]] = block!.ranges as [Range];
  stage.discarded.add(poison.name);
  const answered = storage!.store.retract(from, to, "discarded").then(() => session!.unblock());
  const left = opening!.leave(opening!.lives[0]!, LEFT_MS);
  await stage.time.until(answered);
  if (session!.state.at !== "waiting") stage.fail(`a session that has ended is ${session!.state.at} behind an answer`);
  await othersGoOn(stage, all);
  await stage.time.until(left);
  await stage.write(all.device);
  await stage.end();
}

/** The object of one log refuses all that it is asked, and later takes it. */
async function refusingLog(stage: Stage): Promise<void> {
  const all = await begun(stage);
  stage.edge.refuses = "BACKPRESSURE";
  await stage.write(all.device);
  await stage.run(REFUSED_MS);
  await othersGoOn(stage, all);
  stage.edge.refuses = undefined;
  await stage.end();
}

/** Once it is gone the topic waits for a person. */
async function deletedLog(stage: Stage): Promise<void> {
  const all = await begun(stage);
  await stage.write(all.device);
  await stage.level(all.device);
  await stage.time.until(stage.edge.remove());
  await stage.time.until(stage.edge.make());
  const { opening } = all.device;
  await stage.until("it does not stop", () => opening!.session!.state.at === "stopped");
  await othersGoOn(stage, all);
  await stage.end(({ topics }) => topics.slice(1));
}

/**
 * A device comes back to much that others have written, and pushes much of its own meanwhile: its catch-up ends with
 * frames that cost no credits. What the edge may send of a topic that is level is little again.
 */
async function wideWindows(stage: Stage): Promise<void> {
  stage.windows = { ...WINDOWS, most: WIDE_BYTES };
  const { device, other } = await begun(stage);
  device.opening!.link!.step({ on: "pause", why: "user" });
  const large = (): NamedRecord[] => [stage.record({ padding: LARGE_BYTES })];
  for (let i = 0; i < OTHERS_RECORDS; i++) await stage.write(other, large());
  for (let i = 0; i < OWN_RECORDS; i++) await stage.write(device, large());
  await stage.level(other);
  device.opening!.link!.step({ on: "resume" });
  await stage.level(device);
  await stage.run(LEFT_MS);
  for (const { edge, name } of device.topics) {
    const credits = device.opening!.judge.creditsOf(edge.path);
    if (credits > LEVEL_BYTES) stage.fail(`bounds: ${name} is level, and the edge has ${credits} credits`);
  }
  await stage.end();
}

type History = (stage: Stage) => Promise<void>;

export const TOPICS = 3;
/** Each history has so many: with three topics and two devices one takes as long as some with one. */
export const TOPIC_SEEDS = 10;
export const TOPIC_HISTORIES: Readonly<Record<string, History>> = {
  "a topic that is blocked, beside others": blockedTopic,
  "a topic that is left, beside others": leftTopic,
  "an answer to a topic that is left": answeredAndLeft,
  "a log that refuses, beside others": refusingLog,
  "a log that was deleted, beside others": deletedLog,
  "a window that own batches have left wide": wideWindows,
};
