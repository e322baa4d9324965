/** A blocked outbox over the real storage: what blocks it, and what each answer leaves (H20, H36). */
import { describe, expect, it } from "vitest";
import { TidemarkError } from "../../src/errors.ts";
import { Log } from "../../src/log/log.ts";
import { decodeBatch, splitBatches } from "../../src/record/record-batch.ts";
import { MemoryVolume } from "../../src/store/memory-volume.ts";
import type { Volume } from "../../src/store/volume.ts";
import type { EdgeLog } from "../../src/sync/edge-socket.ts";
import { type Block, Pump, type PumpEnd } from "../../src/sync/pump.ts";
import { CLASSED_CODES, classOf } from "../../src/sync/push-answers.ts";
import { ASIDE_HEADERS, blockedRuns, contentsOf, setAside } from "../../src/sync/set-aside.ts";
import { Signal } from "../../src/sync/signal.ts";
import type { Push, Pushed } from "../../src/sync/sync-frames.ts";
import { WindowBudget } from "../../src/sync/window-budget.ts";
import { clock, namesIn, Synced } from "../contract/synced-fixture.ts";
import { releaseKernel } from "../support/kernels.ts";

const kernel = await releaseKernel();
const SLOT = 64 * 1024;

function made(): Promise<Synced> {
  return Synced.make({
    kernel,
    newVolume: async (slotBytes) => new MemoryVolume({ slotBytes }),
    reopen: async (volume) => volume,
  });
}

/** An edge that refuses frames with these batches, and takes all others. */
class ScriptedEdge {
  readonly taken: string[] = [];
  frames = 0;
  constructor(
    readonly bad: string,
    readonly code: string,
  ) {}

  readonly push = async (_: Omit<Push, "batches">, batches: readonly Uint8Array[]): Promise<Pushed> => {
    this.frames++;
    await Promise.resolve();
    const names = batches.flatMap((batch) => namesIn(kernel, batch));
    const index = batches.findIndex((batch) => namesIn(kernel, batch).includes(this.bad));
    if (index >= 0)
      throw TidemarkError.fromWire({ code: "INVALID_ARGUMENT", message: "no", details: { edge: this.code, index } });
    if (this.#refusedBefore(names)) throw TidemarkError.fromWire(conflict);
    this.taken.push(...names);
    return {
      generation: 1,
      next: this.taken.length,
      appended: [],
      duplicate: false,
      lastOffset: this.taken.length - 1,
    };
  };
  /** The chain: nothing behind a refused frame is taken. */
  #refusedBefore(names: readonly string[]): boolean {
    return Number(names[0]!.slice(1)) !== this.taken.length;
  }
}
const conflict = { code: "INTERNAL", message: "", details: { edge: "OUTBOX_CONFLICT" } } as const;

/** Runs a pump until it has nothing to send, and gives the block that it met. */
async function pumped(synced: Synced, edge: ScriptedEdge, bytes: number): Promise<Block | PumpEnd | undefined> {
  const changed = new Signal();
  let block: Block | undefined;
  let isOver = false;
  const host = {
    store: synced.storage,
    changed,
    limits: { frameBytes: bytes, batches: 1_000, records: 65_536 },
    internals: { at: -1, count: 0 },
    get block() {
      return block;
    },
    setBlock: (found: Block) => (block = found),
    proveTerm: () => Promise.resolve(),
    isOver: () => isOver,
    taken: () => undefined,
  };
  const socket = { windows: new WindowBudget() } as EdgeLog["socket"];
  const log = { push: edge.push, socket } as Partial<EdgeLog> as EdgeLog;
  const run = new Pump(host, log, { expected: 0, previous: 0 }).run();
  for (let quiet = 0, before = -1; quiet < 20; quiet = edge.frames === before ? quiet + 1 : 0, before = edge.frames)
    await new Promise((resolve) => setImmediate(resolve));
  isOver = true;
  changed.set();
  return (await run) ?? block;
}

const reason = { code: "BAD_REQUEST", message: "not JSON" };
const POISON = CLASSED_CODES.filter((code) => classOf(code) === "poison");
const names = Array.from({ length: 9 }, (_, i) => `r${i}`);

describe("a batch that the edge refuses for good (H20)", () => {
  it.each(POISON.flatMap((code) => ["r0", "r4", "r8"].map((bad) => [code, bad] as const)))(
    "%s of %s blocks exactly that batch, in one frame and in several: those before are taken, those behind are not",
    async (code, bad) => {
      for (const bytes of [1_000_000, 200]) {
        const synced = await made();
        for (const name of names) await synced.append(name);
        const edge = new ScriptedEdge(bad, code);
        const position = names.indexOf(bad);
        expect(await pumped(synced, edge, bytes)).toEqual({ code, message: "no", ranges: [[position, position + 1]] });
        expect(edge.taken).toEqual(names.slice(0, position));
      }
    },
  );

  it("INTERNAL ten times in a row for the same batch blocks it; before that it joins again", async () => {
    const synced = await made();
    await synced.append("r0");
    expect(await pumped(synced, new ScriptedEdge("r0", "INTERNAL"), 1_000_000)).toEqual({ then: "join" });
  });
});

describe("an outbox that is damaged (H36)", () => {
  it("blocks with the positions; what stands before goes out, and what is behind once they are given up", async () => {
    const synced = await made();
    for (const name of names) await synced.append(name);
    await synced.log.close();
    await synced.store.close();
    await rot(synced.volume, "r4");
    await synced.reopen();
    const edge = new ScriptedEdge("none", "");
    const block = (await pumped(synced, edge, 200)) as Block;
    expect(block).toMatchObject({ code: "CORRUPT_RANGE", ranges: [[4, 5]] });
    expect(edge.taken).toEqual(names.slice(0, 4));
    const runs = await blockedRuns(synced.storage, block);
    expect(runs).toEqual([[4, 5]]);
    const log = await aside(synced);
    await setAside({ storage: synced.storage, kernel, log, reason: block }, runs);
    expect((await recordsOf(log)).map(({ headers }) => headers[ASIDE_HEADERS.positions])).toEqual(["4-5"]);
    await synced.storage.retract(4, 5, "aside");
    expect((await synced.shown()).provisional).toEqual(names.filter((name) => name !== "r4"));
  });
});

describe("an answer that comes a second time (H36)", () => {
  it("means nothing behind its run: a damaged batch there is not set aside", async () => {
    const synced = await made();
    for (const name of names) await synced.append(name);
    await synced.log.close();
    await synced.store.close();
    await rot(synced.volume, "r4");
    await synced.reopen();
    const block = { ranges: [[3, 4]] as const };
    const runs = await blockedRuns(synced.storage, block);
    const log = await aside(synced);
    await setAside({ storage: synced.storage, kernel, log, reason }, runs);
    await synced.storage.retract(3, 4, "aside");
    await setAside({ storage: synced.storage, kernel, log, reason }, runs);
    expect((await recordsOf(log)).map(({ value, headers }) => [value, headers[ASIDE_HEADERS.positions]])).toEqual([
      ["r3", undefined],
    ]);
  });
});

/** Turns a byte of the record with this value on each slot that has it. */
async function rot(volume: Volume, name: string): Promise<void> {
  for (let slot = 0; slot < volume.slotCount; slot++) {
    const bytes = new Uint8Array(SLOT);
    await volume.read(slot, 0, bytes);
    const at = Buffer.from(bytes).indexOf(name);
    if (at >= 0) await volume.write(slot, at, Uint8Array.of(bytes[at]! ^ 0xff));
  }
}

const aside = async ({ store }: Synced): Promise<Log> =>
  Log.open({ store: await store.log("orders.aside-0"), kernel, clock });

async function recordsOf(
  log: Log,
): Promise<{ key: string; value: string | null; headers: Record<string, string | null> }[]> {
  const text = (bytes: Uint8Array | null): string | null => bytes && new TextDecoder().decode(bytes);
  const found = [];
  const { bytes } = await log.fetch(log.logStartOffset);
  for (const each of splitBatches(bytes)) {
    const batch = await decodeBatch(kernel, each);
    for (let i = 0; i < batch.count; i++)
      found.push({
        key: text(batch.keyAt(i))!,
        value: text(batch.valueAt(i)),
        headers: Object.fromEntries(batch.headersAt(i).map(([name, value]) => [name, text(value)])),
      });
  }
  return found;
}

describe("records set aside", () => {
  it("stand in <name>.aside with key and reason, once, though a crash comes before the note (W15)", async () => {
    const synced = await made();
    await synced.append("a");
    await synced.append("b", "c");
    await synced.append("d");
    const block = { ranges: [[1, 3]] as const };
    const runs = await blockedRuns(synced.storage, block);
    expect(runs).toEqual([[1, 3]]);
    expect(await contentsOf(synced.storage, kernel, runs, 10)).toMatchObject({ keys: ["b", "c"] });
    expect(await contentsOf(synced.storage, kernel, runs, 1)).toMatchObject({ keys: ["b"] });
    await setAside({ storage: synced.storage, kernel, log: await aside(synced), reason }, runs);
    await synced.reopen();
    expect((await synced.shown()).provisional).toEqual(["a", "b", "c", "d"]);
    const log = await aside(synced);
    await setAside({ storage: synced.storage, kernel, log, reason }, await blockedRuns(synced.storage, block));
    await synced.storage.retract(1, 3, "aside");
    const { outbox } = synced.storage.outboxNote;
    const headers = (key: string) => ({
      [ASIDE_HEADERS.key]: key,
      [ASIDE_HEADERS.code]: "BAD_REQUEST",
      [ASIDE_HEADERS.message]: "not JSON",
    });
    expect(await recordsOf(log)).toEqual([
      { key: `${outbox}/1`, value: "b", headers: headers("b") },
      { key: `${outbox}/2`, value: "c", headers: headers("c") },
    ]);
    expect((await synced.shown()).provisional).toEqual(["a", "d"]);
    await synced.reopen();
    expect((await synced.shown()).provisional).toEqual(["a", "d"]);
  });

  it("a block that names no batch means all that is un-settled, in runs around what is settled", async () => {
    const synced = await made();
    for (const name of ["a", "b", "c", "d"]) await synced.append(name);
    await synced.storage.retract(1, 2, "discarded");
    expect(await blockedRuns(synced.storage, { ranges: [] })).toEqual([
      [0, 1],
      [2, 4],
    ]);
  });

  it("a record that leaves no room for a reason goes as it is", async () => {
    const synced = await made();
    const large = "x".repeat(28_000);
    await synced.append(large);
    const log = await aside(synced);
    const runs = await blockedRuns(synced.storage, { ranges: [[0, 1]] });
    const message = "m".repeat(SLOT);
    await setAside({ storage: synced.storage, kernel, log, reason: { ...reason, message } }, runs);
    expect((await recordsOf(log)).map(({ key, headers }) => [key.length, headers])).toEqual([[large.length, {}]]);
  });
});
