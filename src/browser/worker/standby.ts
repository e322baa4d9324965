/**
 * A standby worker: it looks up everything that can be known of the tide before it leads, watches the leader, and opens
 * the files as soon as they are free (standby-workers.ts is its page's side).
 */
import { TidemarkError } from "../../errors.ts";
import { holdForLife, lockEnd, WORKER_END_MS, workerEnd } from "../platform/locks.ts";
import { SETTLED_MS } from "../platform/terms.ts";
import { sleep } from "../platform/timing.ts";
import type { Follow, HostOptions, Last, StandBy } from "../port/protocol.ts";
import type { VolumeOpener } from "../volume/engine.ts";
import { openVolume } from "../volume/open-volume.ts";
import { FilesAhead } from "../volume/preopened-files.ts";
import { rehearse, type HostOver } from "./warm-up.ts";

/** A leader, as a standby worker sees it. */
class Leader {
  isGone = false;
  /** Requested while the leader lives, so that the answer comes as soon as it ends. */
  readonly ended: Promise<void>;

  constructor(readonly lock: string) {
    this.ended = lockEnd(lock, () => void (this.isGone = true));
  }

  /** Rejects if the leader hangs. */
  async end(): Promise<void> {
    const late = sleep(WORKER_END_MS).then(() => Promise.reject(new Error("it has not ended")));
    await Promise.race([this.ended, late]);
  }
}

/**
 * When another worker shall lead, this one keeps its files open for this long and then releases them: a successor that
 * deposed a leader reads no file before SUCCESSOR_WAIT_MS, and must find the files free.
 */
const RELEASE_MS = 300;

export function standBy(
  { standBy: port, lock, name, engine, durability, kernel, leader: first }: StandBy,
  hostOver: HostOver,
): void {
  const found = engine === "opfs" ? FilesAhead.find(name) : import("../volume/idb-volume.ts").then(() => undefined);
  found.catch(() => undefined);
  let leader: Leader;
  let isOrdered = false;
  let asked: Promise<void> | undefined;
  let isFirst = true;
  const openKnown: VolumeOpener = async (choice) => {
    // Only for the first opening: a store that fails is opened again from what is on disk then.
    if (!isFirst) return openVolume(choice);
    isFirst = false;
    let files: FilesAhead | undefined;
    try {
      files = await found;
      await asked;
      return await openVolume({ ...choice, known: { engine, durability, ...(files && { files }) } });
    } catch (thrown) {
      await files?.drop();
      const { code } = TidemarkError.from(thrown);
      // The tide has changed since it was looked up, so it is opened from the beginning.
      if (code === "ALREADY_OPEN" || code === "CLOSED") throw thrown;
      return openVolume(choice);
    }
  };
  const host = hostOver(openKnown);
  const follow = async (lifeLock: string, settledMs = 0): Promise<void> => {
    const now = (leader = new Leader(lifeLock));
    await sleep(settledMs);
    const files = await found;
    await files?.prepare(() => !now.isGone);
    // What fails here fails again, and is told, when it is needed.
    if (files?.mayHaveSealed !== false) import("../../store/roll.ts").catch(() => undefined);
    await now.ended;
    await sleep(RELEASE_MS);
    if (now === leader && !isOrdered) await files?.release();
  };
  const lead = ({ last, ...options }: HostOptions & Last): void => {
    isOrdered = true;
    void host.open(options);
    if (last === undefined) return void (asked = found.then((files) => files?.release()).catch(() => undefined));
    const end = last === "" ? Promise.resolve() : last === leader.lock ? leader.end() : workerEnd(last);
    const ended = end.catch((cause: unknown) =>
      Promise.reject(new TidemarkError("ALREADY_OPEN", "the last leader's worker has not ended", {}, { cause })),
    );
    // By now it has asked for its lock, by which it can be deposed if it hangs with files locked.
    asked = found.then((files) => (files ? void files.openAhead(ended).catch(() => undefined) : ended));
    for (const each of [ended, asked]) each.catch(() => undefined);
  };
  port.onmessage = ({ data }: MessageEvent<Follow | (HostOptions & Last)>) => {
    if ("leader" in data) void follow(data.leader, SETTLED_MS).catch(() => undefined);
    else lead(data);
  };
  void follow(first).catch(() => undefined);
  void rehearse(hostOver, kernel).catch(() => undefined);
  holdForLife(lock, () => port.postMessage(0)).catch(() => undefined);
}
