/** When a view's snapshot is due, and who writes it: the keeper, however late it becomes that. */
import { afterEach, expect, test, vi } from "vitest";
import { Keeping } from "../../src/browser/page/view-keeping.ts";
import type { SnapshotPlace } from "../../src/browser/page/view-snapshots.ts";
import { laterTurn } from "../../src/browser/platform/timing.ts";

const EVERY_MS = 30_000;
afterEach(() => void vi.useRealTimers());

/** Snapshots whose keeper's lock is given by hand, and whose writes fail as often as it says. */
function world(failures = 0, bytes = 1) {
  let keep: () => void;
  const isKeeper = new Promise<void>((resolve) => (keep = resolve));
  const written: SnapshotPlace[] = [];
  const tries: (() => void)[] = [];
  const snapshots = {
    all: async () => [],
    keeper: (signal: AbortSignal) =>
      Promise.race([
        isKeeper,
        new Promise<never>((_, reject) => signal.addEventListener("abort", () => reject(signal.reason as Error))),
      ]),
    async write(_: Uint8Array, place: SnapshotPlace) {
      tries.splice(0).forEach((tried) => tried());
      if (failures-- > 0) throw new Error("the disk is full");
      written.push(place);
    },
  };
  const made = { count: 0 };
  const serialize = (state: number): Uint8Array => {
    made.count++;
    return new Uint8Array(bytes).fill(state);
  };
  const keeping = new Keeping<number>(snapshots, { everyRecords: 10, everyMs: EVERY_MS, serialize });
  const abort = new AbortController();
  let offset = 0;
  return {
    snapshots,
    written,
    made,
    abort,
    keep: () => keep(),
    tried: () => new Promise<void>((resolve) => tries.push(resolve)),
    grow(changes: number, foldMs = 0) {
      offset += changes;
      keeping.grown({ changes, foldMs }, () => keeping.write(offset, { stream: "s", offset }), abort.signal);
    },
  };
}
const turns = async (): Promise<void> => {
  for (let turn = 0; turn < 20; turn++) await laterTurn();
};

test("what was due before this tab became the keeper is saved when it does", async () => {
  const { written, grow, keep, tried } = world();
  grow(30);
  await turns();
  expect(written).toEqual([]);
  const saved = tried();
  keep();
  await saved;
  await turns();
  expect(written).toEqual([{ stream: "s", offset: 30 }]);
});

test("a save that fails is due again everyMs after the next change, and no state is made before", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout"] });
  const { written, made, grow, keep, tried } = world(2);
  keep();
  const first = tried();
  grow(10);
  await first;
  await turns();
  for (let failed = 1; failed <= 2; failed++) {
    for (let more = 0; more < 5; more++) {
      grow(10);
      await turns();
    }
    await vi.advanceTimersByTimeAsync(EVERY_MS - 1);
    await turns();
    expect(made.count).toBe(failed);
    const next = tried();
    await vi.advanceTimersByTimeAsync(1);
    await next;
    await turns();
  }
  expect(written).toEqual([{ stream: "s", offset: 110 }]);
  // It has not failed any more: enough changes are saved at once.
  const third = tried();
  grow(10);
  await third;
  await turns();
  expect(written.at(-1)).toEqual({ stream: "s", offset: 120 });
});

test("a snapshot is written only where folding what came since takes longer than writing it", async () => {
  // 20 MB, which take 100 ms.
  const { written, grow, keep, tried } = world(0, 20_000_000);
  keep();
  const first = tried();
  grow(10, 1);
  await first;
  await turns();
  for (let more = 0; more < 9; more++) {
    grow(10, 11);
    await turns();
  }
  expect(written.map(({ offset }) => offset)).toEqual([10]);
  const second = tried();
  grow(10, 11);
  await second;
  await turns();
  expect(written.map(({ offset }) => offset)).toEqual([10, 110]);
});

test("a view that was closed saves nothing", async () => {
  // Its waits end without an error that nobody catches, which Vitest would report.
  for (const changes of [1, 10]) {
    const { written, grow, keep, abort } = world();
    grow(changes);
    await turns();
    abort.abort();
    keep();
    await turns();
    expect(written).toEqual([]);
  }
});

test("serialize() may give one buffer for the snapshots of several views", async () => {
  const written: number[][] = [];
  const { snapshots } = world();
  const write = async (bytes: Uint8Array): Promise<void> => {
    await laterTurn();
    written.push([...bytes]);
  };
  const shared = new Uint8Array(1);
  const serialize = (state: number): Uint8Array => shared.fill(state);
  const save = (state: number) =>
    new Keeping<number>({ ...snapshots, write }, { serialize }).write(state, { stream: "s", offset: 1 });
  await Promise.all([save(1), save(2)]);
  expect(written).toEqual([[1], [2]]);
});

const circle: unknown[] = [];
circle.push(circle);
test.each([
  ["a bigint", 5n],
  ["a circle", circle],
])("a state that JSON can't hold (%s) is refused by name where no serialize is given", async (_, state) => {
  const { snapshots, written } = world();
  const keeping = new Keeping<unknown>(snapshots, {});
  await expect(keeping.write(state, { stream: "s", offset: 1 })).rejects.toMatchObject({
    code: "INVALID_ARGUMENT",
    details: { field: "snapshot" },
    message: expect.stringContaining("give serialize and deserialize") as string,
  });
  expect(written).toEqual([]);
});
