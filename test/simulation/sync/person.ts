/** What a person answers when an outbox is blocked: at first anything, in the end what lets it go on. */
import type { Opening } from "./device.ts";
import type { World } from "./world.ts";

const THINKS_MS = 5_000;

export class Person {
  readonly #world: World;
  readonly #thinks = new WeakSet<Opening>();

  constructor(world: World) {
    this.#world = world;
  }

  asked(opening: Opening): void {
    if (this.#thinks.has(opening)) return;
    this.#thinks.add(opening);
    const { time, random, isHealing } = this.#world;
    time.after(isHealing ? 500 : random.int(THINKS_MS), () => {
      this.#thinks.delete(opening);
      if (opening.isOpen && opening.isCurrent) void this.#answer(opening);
    });
  }

  async #answer(opening: Opening): Promise<void> {
    const world = this.#world;
    const { session, storage, device } = opening;
    const { block } = session!;
    // A log that is closed stays closed.
    if (!block || (world.isHealing && block.code === "STREAM_CLOSED")) return;
    // Another token may be allowed to write.
    if (block.code === "FORBIDDEN") return opening.link!.step({ on: "authenticate" });
    const isDoubt = block.code === "IN_DOUBT";
    if (isDoubt && !this.#isDoubtExplained()) return world.fail(`in doubt without need: ${device.name}`);
    const discards = block.ranges.length > 0 && (world.isHealing ? !isDoubt : world.random.chance(0.5));
    world.count(`${isDoubt ? "doubt" : block.code} ${discards ? "discarded" : "again"}`);
    const names = device.outbox
      .filter(({ at }) => block.ranges.some(([from, to]) => at >= from && at < to))
      .map(({ name }) => name);
    if (!discards) {
      if (isDoubt) for (const name of names) world.edge.ledger.mayBeTwice.add(name);
      return session!.unblock(isDoubt ? block.ranges : []);
    }
    if (!isDoubt && names.some((name) => !name.startsWith("p")))
      return world.fail(`blocked at what is good: ${device.name}'s ${names.join()} ${block.code}`);
    // As of the call: a crash may come before the note says it.
    for (const name of names) world.discarded.add(name);
    for (const [from, to] of block.ranges) await storage!.store.retract(from, to, "discarded");
    session!.unblock();
  }

  /** Copies, or an edge that forgets, and records that the edge let go. */
  #isDoubtExplained(): boolean {
    const world = this.#world;
    return (
      world.has("trim", "compact", "put back", "remove") ||
      world.devices.some(({ options }) => options.from !== "earliest")
    );
  }
}
