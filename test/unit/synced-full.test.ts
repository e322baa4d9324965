/**
 * Storage without room at each write of a synced topic's storage in turn: slots that can't be made, and writes,
 * hand-overs and flushes that are refused, as IndexedDB and copy-on-write file systems refuse them. The call says so,
 * all that was acknowledged can be read meanwhile, and once there is room the same call ends as if nothing had
 * happened.
 */
import { describe, expect, it } from "vitest";
import { TidemarkError } from "../../src/errors.ts";
import { Log } from "../../src/log/log.ts";
import { withDefaults } from "../../src/log/limits.ts";
import { MemoryVolume } from "../../src/store/memory-volume.ts";
import { readExactly, type Volume } from "../../src/store/volume.ts";
import { BODY_AT } from "../../src/store/slot-layout.ts";
import { heal } from "../../src/sync/healing.ts";
import { replicaName } from "../../src/sync/log-names.ts";
import { setAside } from "../../src/sync/set-aside.ts";
import { detach, restart } from "../../src/sync/stop-syncing.ts";
import { batchOf, clock, ListedEdge, namesIn, Synced, type SyncedHost, TOPIC } from "../contract/synced-fixture.ts";
import { releaseKernel } from "../support/kernels.ts";

const SLOT = 16 * 1024;
const kernel = await releaseKernel();
/** A full storage says so, or that the store has failed by it. */
const TOLD = ["QUOTA_EXCEEDED", "OUTCOME_UNKNOWN", "CLOSED"];

class FullVolume extends MemoryVolume {
  /** So many more writes have room. */
  left = Infinity;

  #take(): void {
    if (this.left-- <= 0) throw new TidemarkError("QUOTA_EXCEEDED", "no room", { made: 0 });
  }
  override async addSlots(count: number): Promise<void> {
    this.#take();
    return super.addSlots(count);
  }
  override async prepare(slot: number): Promise<void> {
    this.#take();
    return super.prepare(slot);
  }
  override async write(slot: number, position: number, bytes: Uint8Array): Promise<void> {
    this.#take();
    return super.write(slot, position, bytes);
  }
  override async handOver(): Promise<void> {
    this.#take();
  }
  override async flush(): Promise<void> {
    this.#take();
  }
}

const host: SyncedHost = {
  kernel,
  newVolume: async (slotBytes) => new FullVolume({ slotBytes }),
  reopen: async (volume: Volume) => volume,
};

interface Story {
  readonly synced: Synced;
  readonly edge: ListedEdge;
}
interface Case {
  readonly begin?: (story: Story) => Promise<unknown>;
  /** Called again after a refusal, as whoever called the first time does. */
  readonly work: (story: Story) => Promise<unknown>;
  /** What stands in the end; it is the same wherever there was no room. */
  readonly found: (story: Story) => unknown;
}

async function begun({ begin }: Case): Promise<Story & { readonly volume: FullVolume }> {
  const synced = await Synced.make(host, {}, SLOT);
  const story = { synced, edge: new ListedEdge(kernel) };
  await begin?.(story);
  return { ...story, volume: synced.volume as FullVolume };
}

const shown = ({ synced }: Story): Promise<unknown> => synced.shown();

/** Both notes as well. */
async function all({ synced }: Story): Promise<unknown> {
  const { storage } = synced;
  return [await synced.shown(), storage.outboxNote, storage.replicaNote];
}

/** Three own batches of which the edge has two; the one between was superseded, and compaction took another's. */
async function halfTaken({ synced, edge }: Story): Promise<void> {
  await synced.join();
  edge.append(batchOf(kernel, ["x", "y"], 9, 0));
  edge.append(batchOf(kernel, ["z"], 9, 2));
  for (const name of ["a", "b", "c"]) edge.append((await synced.append(name)).batch);
  await synced.append("d");
  edge.append(batchOf(kernel, ["newer"], 9, 3));
  for (const offset of [2, 4]) edge.compact(offset);
}
const answer = { next: 3, lastOffset: 5, lastCrc: 1 };

async function follow({ synced, edge }: Story): Promise<void> {
  synced.storage.told(answer);
  await synced.storage.receive(edge.frame(synced.storage.watermark));
  await synced.storage.trim();
}

async function aside({ store }: Synced): Promise<Log> {
  return Log.open({ store: await store.log(replicaName(`${TOPIC}.aside`)), kernel, clock, settings: withDefaults({}) });
}

const CASES: Readonly<Record<string, Case>> = {
  "an append": {
    begin: ({ synced }) => synced.append("a"),
    // The log rolls. A tab sends again what it was not told of.
    work: async ({ synced }) => {
      for (const [i, name] of ["b", "c".repeat(5_000), "d".repeat(5_000)].entries())
        await synced.log.append(batchOf(kernel, [name], 77, i + 1));
    },
    found: shown,
  },
  "a replica that is made": { work: ({ synced }) => synced.storage.createReplica(2), found: all },
  "a frame with holes that passes what was told": { begin: halfTaken, work: follow, found: all },
  "a gap": {
    begin: async (story) => {
      await halfTaken(story);
      await story.synced.storage.receive(story.edge.frame(0, 2));
    },
    work: ({ synced }) => synced.storage.gap(3, "trimmed"),
    found: all,
  },
  "a join's note, and a life": {
    begin: async ({ synced }) => void (await synced.append("a"), await synced.storage.createReplica(0)),
    work: async ({ synced }) => {
      await synced.storage.joined({ owner: "me", stream: "s1", isFine: true });
      await synced.storage.beginLife("00000000000000b1");
    },
    found: all,
  },
  "a grant": {
    begin: async ({ synced, edge }) => {
      for (const name of ["a", "b", "c"]) {
        const { batch } = await synced.append(name);
        if (name !== "b") edge.append(batch);
      }
      await synced.join(2);
    },
    work: async ({ synced, edge }) => {
      if (synced.storage.outboxNote.generation === 2) return;
      await synced.storage.claimStand(synced.look(edge, { fetched: edge.headers(0, 2) }));
      await synced.storage.granted({ generation: 2, next: 2, lastOffset: 5, lastCrc: 7 });
    },
    found: all,
  },
  "an id that is left, and another one that is drawn": {
    begin: async (story) => {
      const { synced, edge } = story;
      await synced.join();
      edge.append((await synced.append("a")).batch);
      synced.storage.told({ next: 1, lastOffset: 0, lastCrc: 1 });
      await synced.storage.receive(edge.frame(0));
    },
    work: async ({ synced }) => {
      const { outbox } = synced.storage.outboxNote;
      if (outbox === "00000000000000a1") await synced.storage.leave();
      await synced.append("b");
    },
    found: async (story) => [await shown(story), story.synced.storage.outboxNote.first],
  },
  "a batch that is set aside": {
    begin: async ({ synced }) => {
      await synced.join();
      for (const name of ["a", "b"]) await synced.append(name);
    },
    work: async ({ synced }) => {
      const log = await aside(synced);
      await setAside({ storage: synced.storage, kernel, log, reason: { code: "X", message: "why" } }, [[0, 1]]);
      await synced.storage.retract(0, 1, "aside");
      await log.close();
    },
    found: async (story) => [await all(story), (await aside(story.synced)).highWatermark],
  },
  "a segment that is made anew from the edge's": {
    begin: async ({ synced, edge }) => {
      await synced.join();
      for (let i = 0; i < 4; i++) edge.append(batchOf(kernel, [`${i}`.repeat(3_000)], 9, i));
      await synced.storage.receive(edge.frame(0));
      const { log } = synced.storage.replica!;
      const { slot, baseOffset } = log.all[0]!;
      const [byte] = await readExactly(synced.volume, slot, BODY_AT + 100, 1);
      await synced.volume.write(slot, BODY_AT + 100, Uint8Array.of(byte! ^ 4));
      await log.read(baseOffset, 1, log.logEndOffset, true).catch(() => undefined);
    },
    work: async ({ synced: { storage }, edge }) => {
      const source = { fetch: async (from: number) => edge.frame(from).bytes, logStartOffset: 0 };
      const { log } = storage.replica!;
      await log.read(0, 1, log.logEndOffset, true).catch(() => undefined);
      await heal({ kernel, replica: storage.replica!, source, alone: (work) => storage.alone(work) });
    },
    found: async (story) => [await shown(story), story.synced.storage.replica!.log.quarantined],
  },
  "a local log that becomes synced": {
    work: async ({ synced }) => {
      const { store } = synced;
      if (!store.names().includes("other-0.out")) {
        const log = await store.log("other-0");
        if (log.logEndOffset === 0) await log.append([batchOf(kernel, ["a", "b"], 77, 0)]);
        await log.flush();
      }
      await synced.become("other");
    },
    found: ({ synced: { store } }) => [[...store.names()].sort(), { ...store.keptOf("other-0.out")?.note, outbox: 0 }],
  },
};

async function left(story: Story): Promise<void> {
  await halfTaken(story);
  await story.synced.storage.receive(story.edge.frame(0));
}

/** Refused at each write in turn, until one that is not reached. Gives what was told. */
async function everyWrite(story: Case): Promise<readonly string[]> {
  const whole = await begun(story);
  await story.work(whole);
  const expected = await story.found(whole);
  const told: string[] = [];
  for (let write = 0; ; write++) {
    const one = await begun(story);
    const { synced, volume } = one;
    const before = story.found === shown && (await synced.shown());
    volume.left = write;
    const refused = await story.work(one).then(
      () => undefined,
      (thrown: unknown) => TidemarkError.from(thrown),
    );
    const isReached = volume.left < 0;
    if (refused) {
      expect(TOLD, `write ${write}: ${String(refused)}`).toContain(refused.code);
      told.push(refused.code);
      // A store that has failed is still read, by a log that was not.
      if (!synced.store.poisoned && before) expect(await synced.shown()).toMatchObject({ committed: before.committed });
    }
    volume.left = Infinity;
    if (synced.store.poisoned) await synced.reopen();
    if (refused) await story.work(one);
    expect(await story.found(one), `write ${write}`).toEqual(expected);
    if (!isReached) break;
  }
  expect(told.length).toBeGreaterThan(0);
  return told;
}

describe("storage without room at each write of", () => {
  it.each(Object.entries(CASES))("%s", async (_, story) => void (await everyWrite(story)));

  it("an opening: what is there is read, an append is refused, and it goes on once there is room", async () => {
    for (let write = 0; ; write++) {
      const one = await begun({ begin: left, work: async () => undefined, found: all });
      const { synced, volume } = one;
      const expected = await all(one);
      volume.left = write;
      const told: string[] = [];
      await synced.reopen().catch((thrown: unknown) => told.push(TidemarkError.from(thrown).code));
      if (told.length === 0) expect(await synced.shown(), `write ${write}`).toEqual((expected as unknown[])[0]);
      if (told.length === 0 && volume.left < 0)
        await synced.append("e").catch((thrown: unknown) => told.push(TidemarkError.from(thrown).code));
      const isReached = volume.left < 0;
      if (isReached) for (const code of told) expect(TOLD).toContain(code);
      volume.left = Infinity;
      if (isReached) {
        await synced.reopen();
        expect(await all(one), `write ${write}`).toEqual(expected);
        await synced.append("e");
      } else break;
    }
  });

  it.each(["detach", "restart"] as const)("a topic's sync that ends: %s", async (how) => {
    const ends = new Set<string>();
    for (let write = 0; ; write++) {
      const { synced, volume } = await begun({ begin: left, work: async () => undefined, found: all });
      const work = async (): Promise<void> => {
        await synced.storage.close();
        await (how === "detach" ? detach(synced.store, synced.storage) : restart(synced.store, synced.storage, 2));
      };
      volume.left = write;
      const refused = await work().catch((thrown: unknown) => TidemarkError.from(thrown));
      if (refused) expect(TOLD, `write ${write}: ${String(refused)}`).toContain(refused.code);
      const isReached = volume.left < 0;
      volume.left = Infinity;
      // Another opening goes on with what had begun.
      if (refused) {
        const isThere = await synced.reopen().then(
          () => true,
          () => false,
        );
        const isBegun = isThere && synced.storage.outboxNote.offering !== undefined;
        if (isThere && !isBegun) await work();
      }
      const { store } = synced;
      const kept = (await store.find(`${TOPIC}.kept-0`))!;
      const { bytes } = await kept.read(0, 1 << 20, kept.logEndOffset);
      ends.add([...store.names(), ...namesIn(kernel, bytes)].join());
      if (!isReached) break;
    }
    const records = how === "detach" ? "x,y,a,c,newer,b,d" : "x,y,a,c,newer";
    expect([...ends].map((end) => end.split(`${TOPIC}.kept-0,`)[1])).toEqual([records]);
  });
});
