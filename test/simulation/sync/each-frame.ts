/**
 * Every frame of a session (D2 of docs/sync.md): a history is told once, and its messages are counted. Then it is told
 * again for each message, and something goes wrong exactly there. Whatever that is, all must end as without it.
 *
 *   told once ─▶ messages 1 … n ─▶ for each k and each fault: told again, message k is struck ─▶ level? ─▶ judged
 */
import { FrameType } from "../../../src/sync/frames.ts";
import type { Device } from "./device.ts";
import type { SimSocket } from "./network.ts";
import { Stage } from "./stage.ts";

/**
 * `lost`: this message alone, of those that are awaited for a limited time. Of others a socket that goes on loses none:
 * they are lost with all that is behind them, `silent` or `cut`.
 */
export const FRAME_FAULTS = ["lost", "silent", "cut", "crash", "power", "reset", "edge power"] as const;
export type FrameFault = (typeof FRAME_FAULTS)[number];

const AWAITED: ReadonlySet<number> = new Set([FrameType.OPEN, FrameType.HELLO, FrameType.JOIN, FrameType.JOINED]);

const SENT_MS = 60;

export interface FrameFailure {
  readonly fault: FrameFault;
  readonly message: number;
  readonly why: string;
}

export interface FramesRun {
  /** The messages of the history in which nothing goes wrong. */
  readonly messages: number;
  readonly histories: number;
  readonly failures: readonly FrameFailure[];
}

/** One record. The device's process may end before it is acknowledged: then nobody was told, and nothing is due. */
async function write(stage: Stage, device: Device): Promise<void> {
  await stage.until(`${device.name} is not open`, () => device.isOpen);
  const { opening } = device;
  let isOver = false;
  const over = (): void => void (isOver = true);
  opening?.append([stage.record()]).then(over, over);
  await stage.until("an append does not end", () => isOver || device.opening !== opening);
}

/** What is told: a device joins a log that others wrote, writes, hears others, is copied, and both copies write. */
async function session(stage: Stage): Promise<void> {
  const { edge, time } = stage;
  await time.until(edge.make());
  for (let i = 0; i < 2; i++) await time.until(edge.append(stage.record()));
  const device = stage.device();
  await write(stage, device);
  await stage.level(device);
  for (let i = 0; i < 2; i++) await write(stage, device);
  await stage.run(SENT_MS);
  await time.until(edge.append(stage.record()));
  await stage.level(device);
  const { outbox } = device;
  const copy = stage.device({ disk: device.disk.copy() });
  copy.outbox = [...outbox];
  await write(stage, copy);
  await write(stage, device);
  await stage.run(SENT_MS);
  for (const each of [device, copy]) await write(stage, each);
  await stage.end();
}

/** Strikes at a message, which has just been delivered or is just to be. */
function strike(stage: Stage, fault: Exclude<FrameFault, "lost">, socket: SimSocket): void {
  const { edge, time } = stage;
  const device = stage.devices.find(({ opening }) => opening?.socket === socket);
  if (fault === "silent") socket.isHalfOpen = true;
  else if (fault === "cut") socket.end(1006, false);
  else if (fault === "reset") edge.reset(time.random.chance(0.5));
  else if (fault === "edge power") edge.losePower(0);
  else if (device) crash(device, fault === "power" ? "power" : "process");
}

function crash(device: Device, how: "process" | "power"): void {
  device.crash(how);
  device.open();
}

/** Why the history fails if its message `at` is struck, of messages of either way. Undefined: it passes. */
async function told(seed: number, at: number, fault: FrameFault): Promise<string | undefined> {
  const stage = new Stage(seed);
  let messages = 0;
  if (fault === "lost") stage.front.loses = ({ type }) => ++messages === at && AWAITED.has(type);
  else
    stage.front.delivered = (socket) => {
      if (++messages === at) strike(stage, fault, socket);
    };
  await session(stage).catch((thrown: unknown) => stage.fail(`it throws: ${String(thrown)}`));
  return stage.failed;
}

async function countOf(seed: number): Promise<number> {
  const stage = new Stage(seed);
  let messages = 0;
  stage.front.delivered = () => void messages++;
  await session(stage);
  if (stage.failed !== undefined) throw new Error(stage.failed);
  return messages;
}

/** `step`: every so-manieth message; the seed says which is the first. */
export async function runFrames(
  seed: number,
  faults: readonly FrameFault[] = FRAME_FAULTS,
  step = 1,
): Promise<FramesRun> {
  const messages = await countOf(seed);
  const failures: FrameFailure[] = [];
  let histories = 0;
  for (const fault of faults)
    for (let message = 1 + (seed % step); message <= messages; message += step) {
      const why = await told(seed, message, fault);
      histories++;
      if (why !== undefined) failures.push({ fault, message, why });
    }
  return { messages, histories, failures };
}
