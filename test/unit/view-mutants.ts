/** Bugs planted in views and changes, each with the promise (docs/sync.md, "Views") by which it must be found. */
import type { PlantedBug } from "../support/planted-bug.ts";

export interface ViewMutant extends PlantedBug {
  readonly found: RegExp;
}

const FOLD = "src/sync/view-fold.ts";
const READER = "src/sync/change-reader.ts";

export const VIEW_MUTANTS: readonly ViewMutant[] = [
  {
    name: "the current state is not made anew",
    file: "src/browser/page/topic-view.ts",
    find: "if (isStale || (isDated && pending.size <= Math.max(changes, DATED_PENDING_MAX))) await this.#makeAnew();",
    replace: "",
    found: /^V1/,
  },
  {
    name: "what has settled stays pending",
    file: FOLD,
    find: "this.pending.delete(record.id);",
    replace: "",
    found: /^V1/,
  },
  {
    name: "a retraction leaves what is shown as it is",
    file: FOLD,
    find: "this.pending.delete(change.id); this.isStale = true;",
    replace: "this.pending.delete(change.id);",
    found: /^V1/,
  },
  {
    name: "another's record is not shown below own ones",
    file: FOLD,
    find: "if (isFirst) this.isDated = true; else this.isStale = true;",
    replace: "if (isFirst) this.isDated = true;",
    found: /^V1/,
  },
  {
    name: "own records that are told anew stay behind those that stayed",
    file: FOLD,
    find: "if (record.offset < this.#newest) this.#sort();",
    replace: "",
    found: /^V1/,
  },
  {
    name: "the last record of a cut is asked for once more",
    file: READER,
    find: "this.committed = cut.nextOffset;",
    replace: "this.committed = Math.max(this.committed, cut.nextOffset - 1);",
    found: /^V3/,
  },
  {
    name: "what compaction took stays on top",
    file: READER,
    find: "if (!run && position >= settled) continue;",
    replace: "if (!run) continue;",
    found: /^V1/,
  },
  {
    name: "what is settled and still to come is retracted",
    file: READER,
    find: "const settled = nextOffset >= highWatermark ? firstUnsettled : 0;",
    replace: "const settled = nextOffset >= 0 || highWatermark > 0 ? firstUnsettled : 0;",
    found: /^changes/,
  },
  {
    name: "a view goes as far as is committed, less its own records",
    file: FOLD,
    find: "this.offset = change.watermark;",
    replace: "this.offset = change.watermark - this.pending.size;",
    found: /^V2/,
  },
  {
    name: "own records are told once they have their place",
    file: "src/browser/page/topic-view.ts",
    find: 'if (change.type === "reset") this.#isReady = this.#isOwed = false; this.#fold.take(change);',
    replace: `
      if (change.type === "reset") this.#isReady = this.#isOwed = false;
      if (change.type !== "append" || !change.record.provisional) this.#fold.take(change);`,
    found: /^V4/,
  },
  {
    name: "a snapshot holds own records without a place",
    file: "src/browser/page/topic-view.ts",
    find: "const { committed, offset } = this.#fold; if (this.#stream !== null)",
    replace: "const { current: committed, offset } = this.#fold; if (this.#stream !== null)",
    found: /^V5/,
  },
  {
    name: "a record that has its place is folded as it was without one",
    file: FOLD,
    find: "this.committed = noPromise(apply(this.committed, record));",
    replace: "this.committed = noPromise(apply(this.committed, this.pending.get(record.id) ?? record));",
    found: /^V6/,
  },
  {
    name: "what comes back committed is told as another record",
    file: READER,
    find: 'return { type: "settle", id, provisionalOffset: pending.offset, record };',
    replace: 'return { type: "append", record };',
    found: /^changes/,
  },
];
