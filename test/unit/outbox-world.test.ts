/**
 * Seeded runs of the registry's world (outbox-world.ts), histories with the power lost at each of their writes, and
 * bugs planted in the registry: each must be found.
 */
import { expect, it } from "vitest";
import { importPlanted } from "../support/bundle-planted.ts";
import { releaseKernel } from "../support/kernels.ts";
import type { PlantedBug } from "../support/planted-bug.ts";
import { outboxWorld } from "./outbox-world.ts";
import type * as Entry from "./outbox-world.ts";

const kernel = await releaseKernel();
const SEEDS = 40;
/** Searched from a bug's first seed on. */
const PLANTED_SEEDS = 300;
const STEPS = 60;

it("keeps every entry through joins, pushes, claims, seals, sleeps and power cuts", { timeout: 240_000 }, async () => {
  const fired: Record<string, number> = {};
  for (let seed = 1; seed <= SEEDS; seed++) {
    const { failures, fired: here } = await outboxWorld(kernel, seed, STEPS);
    expect(failures, `seed ${seed}`).toEqual([]);
    for (const [name, times] of Object.entries(here)) fired[name] = (fired[name] ?? 0) + times;
  }
  const rare = ["power lost", "spill", "claimed", "duplicate", "FENCED_LEADER", "FORBIDDEN", "seal before"];
  expect(rare.filter((name) => (fired[name] ?? 0) < 25)).toEqual([]);
});

it("is the same when the power is lost at any one write of a history", { timeout: 240_000 }, async () => {
  for (const seed of [3, 11]) {
    const { writes, failures } = await outboxWorld(kernel, seed, 30, Infinity);
    expect(failures).toEqual([]);
    for (let killAt = 0; killAt < writes; killAt++) {
      const { failures: found } = await outboxWorld(kernel, seed, 30, killAt);
      expect(found, `seed ${seed}, write ${killAt}`).toEqual([]);
    }
  }
});

const REGISTRY = "worker/stream/outboxes.ts";
const MEMORY = "worker/stream/outbox-memory.ts";
const LOG = "worker/store/chunk-log.ts";
interface Bug extends PlantedBug {
  /** The search begins at this seed, a little before the first one known to find the bug. */
  readonly from?: number;
}
const BUGS: readonly Bug[] = [
  {
    name: "a row has no note of the pushes in it",
    file: LOG,
    find: "origins: this.#options.book?.notes(baseOffset, nextOffset) ?? null",
    replace: "origins: (this.#options.book?.notes(baseOffset, nextOffset), null)",
  },
  {
    name: "a snapshot says what is queued",
    file: MEMORY,
    find: ".map(([id, { written }]) => [id, written!] as const)",
    replace: ".map(([id, { at }]) => [id, at] as const)",
  },
  {
    name: "an entry leaves the memory and its row is not written",
    file: MEMORY,
    find: "this.#tables.save(id, hot.at);",
    replace: "",
  },
  {
    name: "an entry leaves the memory without a look at a newer row",
    file: MEMORY,
    find: "this.find(id); this.#tables.save(id, hot.at);",
    replace: "this.#tables.save(id, hot.at);",
    from: 68,
  },
  {
    name: "a snapshot's entry is not compared with a newer row",
    file: MEMORY,
    find: "queued: 0, isChecked: false, isSaved: false",
    replace: "queued: 0, isChecked: true, isSaved: false",
  },
  {
    name: "an entry leaves the memory between seals though its row is older",
    file: MEMORY,
    find: "queued > 0 || !isChecked || !isSaved",
    replace: "queued > 0 || !isChecked",
  },
  {
    name: "a raised term is held in memory only",
    file: REGISTRY,
    find: "if (order > 0) this.#tables.save(id, entry);",
    replace: "",
  },
  {
    name: "terms are not compared",
    file: REGISTRY,
    find: "a.generation - b.generation || a.term - b.term;",
    replace: "a.generation - b.generation;",
  },
  {
    name: "the chain is not looked at",
    file: REGISTRY,
    find: "push.at === known.next && push.previous === known.lastCrc",
    replace: "push.at === known.next",
  },
  {
    name: "an unknown outbox is taken for a new one",
    file: REGISTRY,
    find: "if (registered || this.#forgotten.at > 0)",
    replace: "if (this.#forgotten.at > 0)",
  },
  {
    name: "a claim is granted to one who has not read",
    file: REGISTRY,
    find: "if (readTo < mustHaveRead || readTo > end)",
    replace: "if (readTo > end)",
    from: 11,
  },
  {
    name: "an owner is not compared",
    file: REGISTRY,
    find: 'if (known && known.owner !== speaker.owner) return { refusal: "FORBIDDEN" };',
    replace: "",
  },
  {
    name: "of two books the older counts",
    file: MEMORY,
    find: "(a.generation - b.generation || a.next - b.next) >= 0 ? a : b",
    replace: "(a.generation - b.generation || a.next - b.next) >= 0 ? b : a",
  },
  {
    name: "the row of a claim of an unknown outbox is written by itself",
    file: REGISTRY,
    find: "return this.#queue.some(({ note, isNew }) => isNew && note.lastOffset < nextOffset);",
    replace: "return false && nextOffset;",
  },
  {
    name: "a pushed batch's producer is remembered",
    file: "src/log/log.ts",
    find: "options.isCounted ? { ...header, producerId: -1 } : header",
    replace: "header",
  },
  {
    name: "a woken log remembers the producers of pushed batches",
    file: LOG,
    find: "this.#options.book?.hasCounted(header.baseOffset) ? { ...header, producerId: -1 } : header",
    replace: "header",
  },
  {
    name: "an opening's life is not written",
    file: REGISTRY,
    find: "return originsOf(life,",
    replace: "return originsOf(undefined,",
  },
];

it.each(BUGS.map((bug) => [bug.name, bug] as const))(
  "planted bug is found: %s",
  { timeout: 240_000 },
  async (_, bug) => {
    const planted = await importPlanted<typeof Entry>("test/unit/outbox-world.ts", bug);
    const { from = 1 } = bug;
    for (let seed = from; seed < from + PLANTED_SEEDS; seed++) {
      const { failures } = await planted.outboxWorld(kernel, seed, STEPS);
      if (failures.length > 0) return;
    }
    expect.fail(`no one of ${PLANTED_SEEDS} seeds from ${from} on finds it`);
  },
);
