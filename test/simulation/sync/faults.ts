/**
 * What goes wrong in a history of sync, by name: each fault is counted when it happened, and a long run in which one
 * never did fails. `share` is its weight among the steps of a history that has it (`when`).
 *
 *   network   cut, away, half-open, held          device   crash, power, hang, sleep, copy, restore, clock, device full
 *   edge      reset, evict, edge power, edge full, refused, seal, trim, compact, forget, put back, remove, close
 *   people    pause, another device's records, poison, and the faults of tokens (tokens.ts)
 */
import type { Device, Opening } from "./device.ts";
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

/** One of those that are open; undefined where none is. */
const anyOpen = (world: World): Device | undefined => {
  const open = world.devices.filter(({ isOpen }) => isOpen);
  return open.length > 0 ? world.random.pick(open) : undefined;
};

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
    world.backups.set(device, {
      disk: device.disk.copy(),
      outbox: [...device.outbox],
      offer: device.offer && { ...device.offer },
    });
    return false;
  }
  world.backups.delete(device);
  device.crash("process");
  device.disk = backup.disk;
  device.armed = undefined;
  device.passedTo = 0;
  device.offer = backup.offer;
  device.outbox = backup.outbox;
  device.open();
  return true;
}

function copy(world: World): boolean {
  const device = anyOpen(world);
  if (!device || world.devices.length >= OTHERS_MAX) return false;
  const added = world.add(device.disk.copy(), [...device.outbox]);
  added.offer = device.offer && { ...device.offer };
  return true;
}

function full(world: World): boolean {
  const { disk } = world.random.pick(world.devices);
  disk.isFull = true;
  world.time.after(world.random.int(FULL_MS), () => (disk.isFull = false));
  return true;
}

async function putBack(world: World): Promise<boolean> {
  if (!world.edgeBackup) {
    world.edgeBackup = await world.edge.backup();
    return false;
  }
  const backup = world.edgeBackup;
  world.edgeBackup = undefined;
  await world.edge.putBack(backup);
  return true;
}

export const FAULTS: readonly Fault[] = [
  { name: "cut", share: 18, strike: ({ edge, random }) => ((edge.cutAfter = random.between(1, 12)), true) },
  {
    name: "away",
    share: 4,
    strike({ edge, random, time }) {
      edge.isReachable = false;
      edge.cutAll();
      time.after(random.int(AWAY_MS), () => (edge.isReachable = true));
      return true;
    },
  },
  {
    name: "half-open",
    share: 1,
    strike({ edge, random }) {
      const { open } = edge;
      if (open.length === 0) return false;
      random.pick(open).isHalfOpen = true;
      return true;
    },
  },
  {
    name: "held",
    share: 2,
    strike({ edge, random, time }) {
      const { open } = edge;
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
      if (socket?.isOpen) world.edge.cut(socket, 1006);
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
    strike: ({ edge, random }) => ((edge.sealsAtPush = random.int(9)), false),
  },
  {
    name: "join lost",
    share: 2,
    when: "drops",
    strike: ({ edge, random }) => ((edge.losesJoins = random.between(1, 2)), false),
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
  { name: "reset", share: 5, strike: ({ edge, random }) => (edge.reset(random.chance(0.5)), true) },
  { name: "evict", share: 3, strike: ({ edge }) => edge.isIdle && (edge.wake(), true) },
  { name: "edge power", share: 2, strike: ({ edge, random }) => (edge.losePower(random.int(6)), true) },
  {
    name: "edge full",
    share: 1,
    strike({ edge, random, time }) {
      edge.fill(true);
      time.after(random.int(FULL_MS), () => edge.fill(false));
      return true;
    },
  },
  {
    name: "refused",
    share: 1,
    strike({ edge, random, time }) {
      edge.refuses = random.pick(["TOO_MANY_REQUESTS", "BACKPRESSURE", "INTERNAL"] as const);
      time.after(random.int(AWAY_MS), () => (edge.refuses = undefined));
      return true;
    },
  },
  { name: "seal", share: 3, strike: ({ edge }) => edge.seal() },
  {
    name: "trim",
    share: 3,
    when: "trims",
    async strike({ edge, random }) {
      await edge.catchUp();
      return edge.trim(random.int(100) / 99);
    },
  },
  {
    name: "compact",
    share: 4,
    when: "compacts",
    async strike({ edge }) {
      await edge.catchUp();
      await edge.seal();
      return edge.compact();
    },
  },
  { name: "forget", share: 2, when: "forgets", strike: ({ edge }) => ((edge.clockMs += DAY_MS), edge.seal()) },
  { name: "put back", share: 5, when: "goesBack", strike: putBack },
  { name: "remove", share: 1, when: "goesBack", strike: async ({ edge }) => (await edge.remove(), true) },
  { name: "close", share: 3, when: "closes", strike: ({ edge }) => edge.close() },
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
      await world.edge.append(world.newRecord());
      return true;
    },
  },
];
