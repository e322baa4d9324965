/**
 * What goes wrong in a history of sync, by name: each fault is counted when it happened, and a long run in which one
 * never did fails. `share` is its weight among the steps of a history that has it (`when`).
 *
 *   network   cut, away, half-open, held          device   crash, power, hang, sleep, copy, restore, clock, device full
 *   edge      reset, evict, edge power, edge full, refused, seal, trim, compact, forget, put back, remove, close
 *   people    pause, another device's records, poison, and the faults of tokens (tokens.ts)
 */
import { FrameType } from "../../../src/sync/frames.ts";
import type { Device, Opening } from "./device.ts";
import type { SimEdge } from "./edge.ts";
import type { TopicLife } from "./topic-life.ts";
import type { World } from "./world.ts";

export interface Fault {
  readonly name: string;
  readonly share: number;
  /** Only histories of this kind have it; undefined: all. */
  readonly when?: keyof World["kind"];
  /** False: it could not happen now. */
  strike(world: World): boolean | Promise<boolean>;
}

const AWAY_MS = 4_000;
const DOWN_MS = 1_500;
const HANG_MS = 8_000;
const SLEEP_MS = 300_000;
const FULL_MS = 20_000;
const BARRED_MS = 120_000;
const DAY_MS = 86_400_000;
const OTHERS_MAX = 5;
const MINUTE_MS = 60_000;
const SOON_FRAMES = 6;

/** One of those that are open; undefined where none is. */
const anyOpen = (world: World): Device | undefined => {
  const open = world.devices.filter(({ isOpen }) => isOpen);
  return open.length > 0 ? world.random.pick(open) : undefined;
};

/** The object of one of the logs. */
const anyLog = ({ edges, random }: World): SimEdge => random.pick(edges);

function crash(world: World, how: "process" | "power"): boolean {
  const up = world.devices.filter(({ isUp }) => isUp);
  if (up.length === 0) return false;
  const device = world.random.pick(up);
  device.crash(how);
  world.time.after(world.random.int(DOWN_MS), () => device.open());
  return true;
}

function hang(world: World): boolean {
  const device = anyOpen(world);
  if (!device) return false;
  const hung: Opening = device.takeOver();
  world.time.after(world.random.int(HANG_MS), () => {
    hung.socket?.release();
    hung.gate.wake();
    // Its life lock is gone: it ends when it hears of that.
    world.time.after(world.random.int(100), () => hung.end());
  });
  return true;
}

function sleep(world: World): boolean {
  const device = anyOpen(world);
  const { opening } = device ?? {};
  if (!opening) return false;
  opening.gate.sleep();
  const ms = world.random.int(world.random.chance(0.2) ? SLEEP_MS : HANG_MS);
  world.time.after(ms, () => opening.gate.wake());
  return true;
}

function restore(world: World): boolean {
  const device = world.random.pick(world.devices);
  const backup = world.backups.get(device);
  if (!backup) {
    if (!device.isOpen) return false;
    world.backups.set(device, { disk: device.disk.copy(), past: device.past });
    return false;
  }
  world.backups.delete(device);
  device.crash("process");
  device.disk = backup.disk;
  device.topics.forEach((topic, i) => topic.begin(backup.past[i]!));
  device.open();
  return true;
}

function copy(world: World): boolean {
  const device = anyOpen(world);
  if (!device || world.devices.length >= OTHERS_MAX) return false;
  world.add(device.disk.copy(), device.past);
  return true;
}

function full(world: World): boolean {
  const { disk } = world.random.pick(world.devices);
  disk.isFull = true;
  world.time.after(world.random.int(FULL_MS), () => (disk.isFull = false));
  return true;
}

async function putBack(world: World): Promise<boolean> {
  const edge = anyLog(world);
  const backup = world.edgeBackups.get(edge);
  if (!backup) {
    const made = await edge.backup();
    if (made) world.edgeBackups.set(edge, made);
    return false;
  }
  world.edgeBackups.delete(edge);
  await edge.putBack(backup);
  return true;
}

/** Mostly minutes, at times hours, seldom days: as long as tokens live, and longer than the edge remembers outboxes. */
function far(world: World): boolean {
  const { random } = world;
  const [minutes, hours] = [random.between(1, 40), random.between(1, 8)];
  const roll = random.int(100);
  const days = roll < 2 ? random.between(1, 3) : 0;
  world.goFar(days > 0 ? days * DAY_MS : roll < 20 ? hours * 60 * MINUTE_MS : minutes * MINUTE_MS);
  return false;
}

/** From a frame of this type on nothing more comes from the log's object. */
const silence = (type: number, name: string): Fault => ({
  name,
  share: 1,
  when: "silences",
  strike: ({ front, random }) => ((front.silentFrom = { type, left: random.int(SOON_FRAMES), name }), false),
});

/** The front asks the log's object a second time. */
const double = (type: number, name: string, share: number): Fault => ({
  name,
  share,
  when: "doubles",
  strike: ({ front }) => (front.doubles.set(type, name), false),
});

async function leave(world: World): Promise<boolean> {
  const topics = world.topics.filter(({ isOpen, device, opening }) => {
    return isOpen && device.isOpen && opening?.session?.state.at !== "stopped";
  });
  if (topics.length === 0) return false;
  const life: TopicLife = world.random.pick(topics).opening!;
  const left = life.opening.leave(life, world.random.int(HANG_MS));
  left.catch((thrown: unknown) => world.left(life, thrown));
  return true;
}

export const FAULTS: readonly Fault[] = [
  { name: "cut", share: 18, strike: ({ front, random }) => ((front.cutAfter = random.between(1, 12)), true) },
  {
    name: "away",
    share: 4,
    strike(world) {
      const { front, random, time } = world;
      front.isReachable = false;
      front.cutAll();
      time.after(random.int(AWAY_MS), () => (front.isReachable = !world.isFar));
      return true;
    },
  },
  {
    name: "half-open",
    share: 1,
    strike({ front, random }) {
      const { open } = front;
      if (open.length === 0) return false;
      random.pick(open).isHalfOpen = true;
      return true;
    },
  },
  {
    name: "held",
    share: 2,
    strike({ front, random, time }) {
      const { open } = front;
      if (open.length === 0) return false;
      const socket = random.pick(open);
      socket.hold();
      time.after(random.int(AWAY_MS), () => socket.release());
      return true;
    },
  },
  {
    name: "barred",
    share: 3,
    when: "http",
    strike(world) {
      const device = anyOpen(world);
      if (!device || device.isBarred) return false;
      device.isBarred = true;
      const { socket } = device.opening!;
      if (socket?.isOpen) world.front.cut(socket, 1006);
      // In the end some are still barred.
      if (world.random.chance(0.5)) world.time.after(world.random.int(BARRED_MS), () => (device.isBarred = false));
      return true;
    },
  },
  {
    name: "returned",
    share: 2,
    when: "late",
    strike(world) {
      const device = anyOpen(world);
      const { link, gate } = device?.opening ?? {};
      if (!link) return false;
      link.hint("returned");
      if (!world.random.chance(0.5)) return true;
      gate!.sleep();
      world.time.after(world.random.int(SLEEP_MS / 4), () => gate!.wake());
      return true;
    },
  },
  { name: "crash", share: 4, strike: (world) => crash(world, "process") },
  { name: "power", share: 4, strike: (world) => crash(world, "power") },
  { name: "hang", share: 3, strike: hang },
  { name: "sleep", share: 2, strike: sleep },
  {
    name: "inside",
    share: 6,
    when: "inside",
    strike(world) {
      const device = anyOpen(world);
      if (!device) return false;
      const how = world.random.pick(["process", "power"] as const);
      const { disk } = device;
      disk.trap = {
        left: world.random.between(1, 24),
        spring: () => {
          if (!device.isUp || device.disk !== disk) return;
          device.crash(how);
          world.count("inside");
          world.time.after(world.random.int(DOWN_MS), () => device.open());
        },
      };
      return false;
    },
  },
  {
    name: "power in seal",
    share: 3,
    when: "seals",
    strike: (world) => ((anyLog(world).sealsAtPush = world.random.int(9)), false),
  },
  {
    name: "join lost",
    share: 2,
    when: "drops",
    strike: ({ front, random }) => ((front.losesJoins = random.between(1, 2)), false),
  },
  { name: "copy", share: 2, when: "copies", strike: copy },
  { name: "restore", share: 3, when: "copies", strike: restore },
  {
    name: "clock",
    share: 1,
    strike({ devices, random }) {
      random.pick(devices).clockMs = random.between(-30, 30) * DAY_MS;
      return true;
    },
  },
  { name: "device full", share: 1, strike: full },
  { name: "reset", share: 5, strike: (world) => (anyLog(world).reset(world.random.chance(0.5)), true) },
  {
    name: "evict",
    share: 3,
    strike(world) {
      const edge = anyLog(world);
      return edge.isIdle && (edge.wake(), true);
    },
  },
  { name: "edge power", share: 2, strike: (world) => (anyLog(world).losePower(world.random.int(6)), true) },
  {
    name: "edge full",
    share: 1,
    strike(world) {
      const edge = anyLog(world);
      edge.fill(true);
      world.time.after(world.random.int(FULL_MS), () => edge.fill(false));
      return true;
    },
  },
  {
    name: "refused",
    share: 1,
    strike(world) {
      const { random, time } = world;
      const edge = anyLog(world);
      edge.refuses = random.pick(["TOO_MANY_REQUESTS", "BACKPRESSURE", "INTERNAL"] as const);
      time.after(random.int(AWAY_MS), () => (edge.refuses = undefined));
      return true;
    },
  },
  { name: "seal", share: 3, strike: (world) => anyLog(world).seal() },
  {
    name: "trim",
    share: 3,
    when: "trims",
    async strike(world) {
      const edge = anyLog(world);
      await edge.catchUp();
      return edge.trim(world.random.int(100) / 99);
    },
  },
  {
    name: "compact",
    share: 4,
    when: "compacts",
    async strike(world) {
      const edge = anyLog(world);
      await edge.catchUp();
      await edge.seal();
      return edge.compact();
    },
  },
  {
    name: "forget",
    share: 2,
    when: "forgets",
    strike: (world) => ((world.front.clockMs += DAY_MS), anyLog(world).seal()),
  },
  { name: "put back", share: 5, when: "goesBack", strike: putBack },
  { name: "remove", share: 1, when: "goesBack", strike: async (world) => (await anyLog(world).remove(), true) },
  { name: "close", share: 3, when: "closes", strike: (world) => anyLog(world).close() },
  {
    name: "pause",
    share: 1,
    strike(world) {
      const device = anyOpen(world);
      const link = device?.opening?.link;
      if (!link) return false;
      link.step({ on: "pause", why: world.random.pick(["user", "hidden"] as const) });
      world.time.after(world.random.int(HANG_MS), () => link.step({ on: "resume" }));
      return true;
    },
  },
  {
    name: "others",
    share: 6,
    async strike(world) {
      await anyLog(world).append(world.newRecord());
      return true;
    },
  },
  { name: "far", share: 2, when: "far", strike: far },
  { name: "leave", share: 3, when: "leaves", strike: leave },
  double(FrameType.PUSH, "push doubled", 3),
  double(FrameType.JOIN, "join doubled", 2),
  silence(FrameType.HELLO, "silent from hello on"),
  silence(FrameType.JOINED, "silent from joined on"),
  silence(FrameType.OK, "silent from ok on"),
  silence(FrameType.ERROR, "silent from error on"),
  silence(FrameType.BATCHES, "silent from batches on"),
  silence(FrameType.OWN, "silent from own on"),
  silence(FrameType.TIDE, "silent from tide on"),
];
