/** What a person answers when an outbox is blocked: at first anything, in the end what lets it go on. */
import { TidemarkError } from "../../../src/errors.ts";
import type { SimEdge } from "./edge.ts";
import { few, namesIn } from "./records.ts";
import type { OpenedTopic } from "./opened-topic.ts";
import type { TopicLife } from "./topic-life.ts";
import type { World } from "./world.ts";
import type { Block } from "../../../src/sync/pump.ts";
import type { Session } from "../../../src/sync/session.ts";
import { blockedRuns } from "../../../src/sync/set-aside.ts";
import type { Range } from "../../../src/sync/topic-store.ts";

const AGAIN: ReadonlySet<string> = new Set(["QUOTA_EXCEEDED", "LIMIT_EXCEEDED", "CLOSED", "OUTCOME_UNKNOWN"]);
const THINKS_MS = 5_000;
/** In the end most of what is in doubt is sent again. */
const DOUBT_DISCARDED = 0.3;

export class Person {
  readonly #world: World;
  readonly #thinks = new WeakSet<TopicLife>();

  constructor(world: World) {
    this.#world = world;
  }

  asked(opening: TopicLife): void {
    if (this.#thinks.has(opening)) return;
    this.#thinks.add(opening);
    const { time, random, isHealing } = this.#world;
    time.after(isHealing ? 500 : random.int(THINKS_MS), () => {
      this.#thinks.delete(opening);
      if (opening.isOpen && opening.isCurrent)
        this.#answer(opening).catch((thrown: unknown) => this.#refused(opening, thrown));
    });
  }

  /** The edge went back: what it has lost of this device's records goes there again, unless a copy is kept already. */
  stopped(opening: TopicLife): void {
    const world = this.#world;
    if (!world.kind.offers || world.isHealing) return;
    // What the edge says of what it holds is true until it loses more, and that may be before the answer.
    const { past } = opening.topic.edge.ledger;
    world.time.after(world.random.int(THINKS_MS), () => {
      const state = opening.session?.state;
      if (!opening.isOpen || !opening.isCurrent || opening.gate.isAsleep) return;
      if (state?.at !== "stopped" || state.code !== "DIVERGED" || opening.storage!.hasKept) return;
      world.count("offer again");
      opening.offerAgain(Number(state.details["agreedTo"] ?? 0), past).catch((thrown: unknown) => {
        const error = TidemarkError.from(thrown);
        if (!AGAIN.has(error.code) && !error.details["poisoned"])
          return world.fail(`an offer of ${opening.device.name} fails: ${error.stack ?? error.message}`);
        world.hear(opening, "failed");
      });
    });
  }

  /** The device is full, or its volume must be opened again: then the question comes again. */
  #refused(opening: TopicLife, thrown: unknown): void {
    const world = this.#world;
    const error = TidemarkError.from(thrown);
    if (!AGAIN.has(error.code) && !error.details["poisoned"])
      return world.fail(`an answer of ${opening.device.name} fails: ${error.stack ?? error.message}`);
    world.count(`answer ${error.code}`);
    if (opening.isOpen && opening.session?.state.at === "blocked") this.asked(opening);
  }

  async #answer(opening: TopicLife): Promise<void> {
    const world = this.#world;
    const { session, storage, device } = opening;
    const { random } = world;
    const { block } = session!;
    // A log that is closed stays closed.
    if (!block || (world.isHealing && block.code === "STREAM_CLOSED")) return;
    // Another token may be allowed to write.
    if (block.code === "FORBIDDEN") return opening.link!.step({ on: "authenticate" });
    const isDoubt = block.code === "IN_DOUBT";
    if (isDoubt && !this.#isDoubtExplained(device.edge)) return world.fail(`in doubt without need: ${device.name}`);
    const discards = block.ranges.length > 0 && random.chance(!world.isHealing ? 0.5 : isDoubt ? DOUBT_DISCARDED : 1);
    world.count(`${isDoubt ? "doubt" : block.code} ${discards ? "discarded" : "again"}`);
    if (world.kind.asides && random.chance(world.isHealing ? 0.2 : 0.5)) return this.#setAside(opening, block);
    const names = await this.#named(storage!, block.ranges);
    if (opening.gate.isOver || session!.block !== block) return;
    if (!discards) {
      if (isDoubt) for (const name of names) device.edge.ledger.mayBeTwice.add(name);
      return this.#goOn(opening, session!, block, isDoubt ? block.ranges : []);
    }
    if (!isDoubt && names.some((name) => !name.startsWith("p")))
      return world.fail(`blocked at what is good: ${device.name}'s ${few(names)} ${block.code}`);
    // As of the call: a crash may come before the note says it.
    for (const name of names) world.discarded.add(name);
    for (const [from, to] of block.ranges) await storage!.store.retract(from, to, "discarded");
    this.#goOn(opening, session!, block);
  }

  /**
   * As the product does it (src/browser/sync/answers.ts): it may have been answered by another one meanwhile, or be
   * blocked by something else. If the topic was left, its session has ended, and hears of it all the same.
   */
  #goOn(opening: TopicLife, session: Session, block: Block, again: readonly Range[] = []): void {
    if (session.block !== block) return;
    if (opening.session === session) opening.unblock(again);
    else session.unblock(again);
  }

  /** Sets records aside. For a closed log that is everything that waits. */
  async #setAside(opening: TopicLife, block: Block): Promise<void> {
    const world = this.#world;
    const { session, storage } = opening;
    const runs = await blockedRuns(storage!.store, block);
    const names = await this.#named(storage!, runs);
    if (opening.gate.isOver || session!.block !== block) return;
    world.count("set aside");
    // As of the call: a crash may come before the note says it.
    for (const name of names) world.aside.add(name);
    await storage!.setAside(runs, block);
    this.#goOn(opening, session!, block);
  }

  /** Also those that nobody was told of: a crash may have come between their flush and the ack. */
  async #named({ store }: OpenedTopic, ranges: readonly Range[]): Promise<string[]> {
    const names: string[] = [];
    for (const [from, to] of ranges)
      for (let at = from; at < to;) {
        const run = await store.unsettledFrom(at, { bytes: 1, batches: 1, records: 1 });
        if (!run || run.at >= to) break;
        for (const batch of run.batches) for (const [, name] of namesIn(batch)) names.push(name);
        at = run.next;
      }
    return names;
  }

  /**
   * Copies, or an edge that forgets, and records that the edge let go. A compaction that a power cut ended is not
   * counted, and may have taken some.
   */
  #isDoubtExplained({ ledger }: SimEdge): boolean {
    const world = this.#world;
    return (
      ledger.now.gone.size > 0 ||
      world.has("trim", "compact", "put back", "remove") ||
      world.devices.some(({ topics }) => topics.some(({ options }) => options.from !== "earliest"))
    );
  }
}
