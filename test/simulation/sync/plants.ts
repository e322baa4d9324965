/** Bugs for the simulation of sync to find, each with the check that must name it. */
import type { TakenTo } from "../../../src/sync/topic-store.ts";
import { MemoryTopicStore } from "./memory-store.ts";

/** An answer settles, although what it told of is not here yet. */
class SettlesAtOk extends MemoryTopicStore {
  override told(taken: TakenTo): void {
    super.told(taken);
    this.settle(this.disk.own.filter(({ at }) => at < taken.next));
  }
}

/** A trim takes what nobody has taken yet. */
class TrimsAll extends MemoryTopicStore {
  override async trim(): Promise<void> {
    this.trimNow(this.end);
  }
}

/** What is at the edge already is not known again. */
class KnowsNothing extends MemoryTopicStore {
  protected override look(): void {}
}

/** Acknowledged before it is flushed. */
class AcksEarly extends MemoryTopicStore {
  override async append(batch: Uint8Array): Promise<number> {
    void super.append(batch);
    return this.end;
  }
}

/** A frame is counted before it is kept. */
class DropsFrames extends MemoryTopicStore {
  #frames = 0;
  override receive(delivered: { readonly bytes: Uint8Array; readonly nextOffset: number }): Promise<void> {
    const isDropped = ++this.#frames % 7 === 0;
    return super.receive(isDropped ? { ...delivered, bytes: new Uint8Array(0) } : delivered);
  }
}

/** By what the check says first. */
export const PLANTS: readonly (readonly [name: string, Store: typeof MemoryTopicStore, found: RegExp])[] = [
  ["an answer settles", SettlesAtOk, /^invisible/],
  ["a trim takes what nobody has taken", TrimsAll, /^(invisible|lost|device . is stopped)/],
  ["own batches at the edge are not known again", KnowsNothing, /^(visible twice|twice)/],
  ["acknowledged before it is flushed", AcksEarly, /^(invisible|lost)/],
  ["a frame is dropped", DropsFrames, /^(invisible|device . is stopped.*DIVERGED|replica)/],
];
