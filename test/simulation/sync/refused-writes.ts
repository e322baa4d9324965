/**
 * A device whose storage has no room from some write on, whichever that is: an append, the copy of the edge's log, its
 * fillers, a note, a trim, a claim, or an opening. Whoever calls is told so. What was acknowledged stays. Once there is
 * room all goes on by itself: the device's worker opens its store again when it hears that it has failed, as the
 * product's does.
 */
import { TidemarkError } from "../../../src/errors.ts";
import type { Device } from "./device.ts";
import { Stage } from "./stage.ts";

/** As in worker-host.ts: a failed store is opened again, and while there is no room not at once. */
const REOPEN_MS = 1_000;
const TICK_MS = 50;
/** So long there is no room: a session tries again meanwhile. */
const FULL_MS = 45_000;
/** An application that is refused tries again. */
const AGAIN_MS = 2_000;
const SLOT_BYTES = 16 * 1024;
/** The history of a seed begins to refuse at its so-manieth write; `npm run sim -- --sync --writes` walks them all. */
const WRITES_A_SEED = 21;
export const WRITE_SEEDS = 8;

/** What a full storage may say to who appends. */
const TOLD: ReadonlySet<string> = new Set(["QUOTA_EXCEEDED", "OUTCOME_UNKNOWN", "CLOSED"]);

/** A device, its worker, and a person who appends until it is taken. */
class Worker {
  readonly #stage: Stage;
  readonly device: Device;
  #openedAt = -Infinity;
  #isOver = false;

  constructor(stage: Stage, device: Device) {
    this.#stage = stage;
    this.device = device;
    this.#watch(0);
  }

  #watch(heard: number): void {
    const { time, counts } = this.#stage;
    time.after(TICK_MS, () => {
      if (this.#isOver) return;
      const failed = counts["failed"] ?? 0;
      if (failed > heard && time.ms - this.#openedAt < REOPEN_MS) return this.#watch(heard);
      if (failed > heard) this.reopen();
      this.#watch(failed);
    });
  }

  reopen(): void {
    this.#openedAt = this.#stage.time.ms;
    this.device.reopen();
  }

  async write(padding = 0): Promise<void> {
    const stage = this.#stage;
    for (let tries = 0; !stage.failed; tries++) {
      await stage.until(`${this.device.name} is not open`, () => this.device.isOpen);
      const { opening } = this.device;
      const error = await stage.time.until(
        opening!.append([stage.record({ padding })]).then(
          (isTold) => (isTold ? undefined : new TidemarkError("CLOSED", "nobody was told", {})),
          (thrown: unknown) => TidemarkError.from(thrown),
        ),
      );
      if (!error) return;
      if (!TOLD.has(error.code)) stage.fail(`refused: an append is told ${String(error)}`);
      if (tries > 60) stage.fail(`liveness: an append is refused for ever: ${String(error)}`);
      // The port tells the worker of calls that a failed store has refused.
      if (error.kind === "reopen" || error.details["poisoned"]) stage.hear(opening!.lives[0]!, "failed");
      await stage.run(AGAIN_MS);
    }
  }

  end(): void {
    this.#isOver = true;
  }
}

/**
 * A device writes, hears of others, meets holes and a gap, rolls segments, is copied, and claims. From write `n` of its
 * volume on there is no room.
 */
export async function refusedWrite(stage: Stage, n: number): Promise<boolean> {
  const { edge, time } = stage;
  await time.until(edge.make());
  const worker = new Worker(stage, stage.device());
  const { device } = worker;
  const disk = device.disk;
  disk.refusesIn = n;
  const full = (): void =>
    void (disk.refused.length > 0
      ? time.after(FULL_MS, () => (disk.refusesIn = undefined))
      : time.after(TICK_MS, full));
  full();
  await worker.write();
  await worker.write();
  await stage.level(device);
  // Holes: two of others' records go before they are read, and the device is away for a gap.
  edge.isReachable = false;
  edge.cutAll();
  for (const key of ["a", "a", "b"]) await time.until(edge.append(stage.record({ key })));
  await time.until(edge.catchUp());
  await time.until(edge.seal());
  await time.until(edge.compact());
  await worker.write(SLOT_BYTES / 4);
  edge.isReachable = true;
  await stage.level(device);
  edge.isReachable = false;
  edge.cutAll();
  for (let i = 0; i < 3; i++) await time.until(edge.append(stage.record()));
  await time.until(edge.catchUp());
  await time.until(edge.seal());
  await time.until(edge.trim(1));
  await time.until(edge.append(stage.record()));
  edge.isReachable = true;
  for (let i = 0; i < 6; i++) await worker.write(SLOT_BYTES / 4);
  await stage.level(device);
  // A copy of it claims, and then this one does.
  const copy = stage.device({ disk: disk.copy() });
  await stage.write(copy);
  await stage.level(copy);
  await worker.write();
  await stage.level(device);
  worker.reopen();
  await worker.write();
  disk.refusesIn = undefined;
  await stage.end();
  worker.end();
  const { counts } = stage;
  if (disk.refused.length > 0 && !counts["failed"] && !counts["quota device"]) stage.fail("silence: nobody is told");
  return disk.refused.length > 0;
}

/** Every write of the story, in so many timings of it: what fails, and how many there were. */
export async function runRefusedWrites(
  seed: number,
): Promise<{
  readonly writes: number;
  readonly failures: readonly { readonly write: number; readonly why: string }[];
}> {
  const failures: { write: number; why: string }[] = [];
  for (let write = 0; ; write++) {
    const stage = new Stage(seed * 1_000 + write);
    const wasRefused = await refusedWrite(stage, write).catch((thrown: unknown) => {
      stage.fail(`thrown: ${String(thrown)}`);
      return true;
    });
    if (stage.failed !== undefined) failures.push({ write, why: stage.failed });
    if (!wasRefused) return { writes: write, failures };
  }
}

export const REFUSED_WRITES: Readonly<Record<string, (stage: Stage) => Promise<void>>> = {
  "H29: a write is refused, and all that come for a while": async (stage) =>
    void (await refusedWrite(stage, stage.seed * WRITES_A_SEED)),
};
