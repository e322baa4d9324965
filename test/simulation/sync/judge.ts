/**
 * What must hold in a simulation of sync: at some steps for one device, in the end for all.
 *
 *   I1   the replica holds the edge's records at the edge's offsets      replica
 *   I5   the watermark is not above what the edge has committed          watermark
 *   I6   an own record is in one place                                   invisible, visible twice
 *        nothing acknowledged is missing at the edge, or twice           lost, twice
 *        a device's records stand there in the order of its outbox       order
 *        a record whose place the replica has passed stays gone (T2)      back
 *        what is missing in a replica because the edge let it go is noted unnamed gap
 *        read() shows what changes() shows below the watermark           read
 *        an append with `committed` is told where its records stand, and in the end is answered      promise
 *        what was set aside stands there once                             aside
 *   I11  runs and gaps of the notes stay within their limits              bounds
 */
import { TidemarkError } from "../../../src/errors.ts";
import type { MadeBatches } from "./made-batches.ts";
import { digestOf } from "./digest.ts";
import type { OpenedTopic } from "./opened-topic.ts";
import { few, namesIn } from "./records.ts";
import type { SimTime } from "./time.ts";
import type { DeviceTopic } from "./topic-life.ts";

/** A look lets time go on by so much, until it is through. */
const LOOK_MS = 5;
const LOOKS_MAX = 100_000;

export interface JudgeWorld {
  readonly time: SimTime;
  readonly failed: string | undefined;
  fail(why: string): void;
  /** Records that a person has discarded. */
  readonly discarded: ReadonlySet<string>;
  /** Records that a person has set aside, or has begun to. */
  readonly aside: ReadonlySet<string>;
  readonly made: MadeBatches;
  /** Of all devices, open or not. */
  readonly topics: readonly Judged[];
}

/** A topic of a device; a device stands for its first one. */
export type Judged = Pick<DeviceTopic, "name" | "edge" | "isOpen" | "outbox" | "placed" | "passedTo" | "offer"> & {
  readonly opening: Pick<NonNullable<DeviceTopic["opening"]>, "storage" | "unanswered"> | undefined;
};

interface Shown {
  readonly below: ReadonlyMap<string, number>;
  readonly above: ReadonlySet<string>;
  /** As of before the look. */
  readonly acked: readonly string[];
  readonly passedTo: number;
  /** Where what was read ends. */
  readonly end: number;
  readonly watermark: number;
  readonly aside: ReadonlySet<string>;
  /** Batches below `end`. */
  readonly committed: Uint8Array;
}

type Named = ReturnType<typeof namesIn>;

const nameOf = (record: Named[number] | undefined): string => (record ? `${record[1]} at ${record[0]}` : "none");

/** Where two lists of records differ first; -1 where they are the same. */
function firstDifference(one: Named, other: Named): number {
  const longest = one.length > other.length ? one : other;
  return longest.findIndex((_, i) => one[i]?.[0] !== other[i]?.[0] || one[i]?.[1] !== other[i]?.[1]);
}

/** docs/sync.md, "What is stored where": runs of the notes. What a claim has found does not count. */
const RUNS_MAX = 16;

export class Judge {
  readonly #world: JudgeWorld;

  constructor(world: JudgeWorld) {
    this.#world = world;
  }

  /** I1, I5 and I6 of one device. Undefined where it ended meanwhile. */
  async look(device: Judged, isLevel = false): Promise<Shown | undefined> {
    const shown = await this.#shown(device, isLevel);
    if (!shown) return undefined;
    const { below, above, acked } = shown;
    const world = this.#world;
    const { edge } = device;
    for (const record of acked) {
      if (below.has(record) && above.has(record)) world.fail(`visible twice: ${device.name}'s ${record}`);
      if (below.has(record) || above.has(record) || edge.ledger.isGone(record) || world.discarded.has(record)) continue;
      if (world.aside.has(record) && shown.aside.has(record)) continue;
      const at = edge.ledger.now.at.get(record);
      // Its replica begins later, and it was settled by what was there.
      if (at !== undefined && at < (device.opening?.storage?.store.base ?? 0)) continue;
      const what = world.aside.has(record) ? "aside" : "invisible";
      world.fail(`${what}: ${device.name}'s ${record} (${this.#where(device, record, shown)})`);
    }
    for (const { at, name } of device.outbox)
      if (at < shown.passedTo && above.has(name)) world.fail(`back: ${device.name}'s ${name} at position ${at}`);
    this.#gaps(device, shown);
    this.#bounds(device);
    this.#checkPlaced(device);
    return shown;
  }

  /** What only a trim of the edge can have taken, and what is missing here, lies in a gap of the note. */
  #gaps(device: Judged, { below, end }: Shown): void {
    const { now, hasPast, mayBeTwice } = device.edge.ledger;
    const { base = 0, replicaNote } = device.opening?.storage?.store ?? {};
    if (hasPast || !replicaNote) return;
    for (const offset of now.trimmed) {
      const name = now.names[offset]!;
      if (offset < base || offset >= end || below.get(name) === offset || mayBeTwice.has(name)) continue;
      if (!replicaNote.gaps.some(([from, to]) => from <= offset && offset < to))
        this.#world.fail(`unnamed gap: ${device.name} lacks ${name} at ${offset}`);
    }
  }

  #bounds({ name, opening }: Judged): void {
    const { outboxNote, replicaNote } = opening?.storage?.store ?? {};
    const runs = outboxNote?.retracted.filter(([, , why]) => why !== "found").length ?? 0;
    const gaps = replicaNote?.gaps.length ?? 0;
    if (runs > RUNS_MAX || gaps > RUNS_MAX) this.#world.fail(`bounds: ${name} notes ${runs} runs, ${gaps} gaps`);
  }

  #where(device: Judged, record: string, { watermark }: Shown): string {
    const { start, end, firstUnsettled, base, outboxNote } = device.opening!.storage!.store;
    const position = device.outbox.find(({ name }) => name === record)?.at;
    const at = device.edge.ledger.now.at.get(record);
    return JSON.stringify({ position, at, start, end, firstUnsettled, base, watermark, outboxNote });
  }

  /** What was acknowledged and passed is as of before the look; what is shown may be newer. */
  async #shown(device: Judged, isLevel: boolean): Promise<Shown | undefined> {
    const { opening } = device;
    const storage = opening?.storage;
    if (!device.isOpen || !storage) return undefined;
    const acked = device.outbox.map(({ name }) => name);
    const { passedTo } = device;
    const found = await this.#read(device, storage);
    if (!found) return undefined;
    const { edge } = device;
    await this.#world.time.until(edge.catchUp());
    const below = new Map(namesIn(found.committed).map(([offset, name]) => [name, offset]));
    const above = new Set(namesIn(found.provisional).map(([, name]) => name));
    const { watermark } = storage.store;
    const { now } = edge.ledger;
    // A device that knows a past of the edge that is over stops at its next join.
    if (isLevel || !edge.ledger.hasPast) {
      for (const [name, offset] of below)
        if (now.names[offset] !== name)
          this.#world.fail(`replica: ${device.name} has ${name} at ${offset}, the edge ${now.names[offset]}`);
      if (watermark > now.names.length)
        this.#world.fail(`watermark: ${device.name} is at ${watermark}, the edge ends at ${now.names.length}`);
    }
    this.#checkRead(device, found);
    const changed = this.#world.made.changed(found.committed);
    if (changed !== undefined) this.#world.fail(`changed: ${device.name}'s batch at ${changed} is not what was made`);
    const aside = new Set(found.aside);
    if (aside.size < found.aside.length) this.#world.fail(`aside: a record of ${device.name} stands aside twice`);
    const { committed, end } = found;
    return { below, above, acked, passedTo, end, watermark, aside, committed };
  }

  #checkRead(
    { name }: Judged,
    { committed, read, end }: Pick<Shown, "committed" | "end"> & { read: Uint8Array },
  ): void {
    const isBelow = ([offset]: readonly [number, string]): boolean => offset < end;
    const [shown, brought] = [committed, read].map((bytes) => namesIn(bytes).filter(isBelow)) as [Named, Named];
    const at = firstDifference(brought, shown);
    if (at < 0) return;
    const counts = `${brought.length} records, and is shown ${shown.length}`;
    this.#world.fail(`read: ${name} reads ${counts}; number ${at} is ${nameOf(brought[at])}, and ${nameOf(shown[at])}`);
  }

  /** Where the device was told that its records stand. */
  #checkPlaced({ name, placed, edge }: Judged): void {
    for (const told of placed.splice(0))
      if (!edge.ledger.hasStood(told.name, told.offset))
        this.#world.fail(`promise: ${name} is told that ${told.name} stands at ${told.offset}`);
  }

  async #asideOf(storage: OpenedTopic): Promise<readonly string[]> {
    return this.#world.aside.size > 0 ? storage.namesAside() : [];
  }

  async #read(device: Judged, storage: OpenedTopic) {
    const { time } = this.#world;
    const all = async () => {
      const found = await storage.shown();
      return { ...found, read: await storage.read(found.end), aside: await this.#asideOf(storage) };
    };
    let shown: Awaited<ReturnType<typeof all>> | undefined;
    all().then(
      (found) => (shown = found),
      (thrown: unknown) => {
        // A topic that is being opened anew answers CLOSED. If it stays closed, the wait below fails.
        if (TidemarkError.from(thrown).code === "CLOSED") return;
        if (device.isOpen) this.#world.fail(`${device.name} can't be read: ${String(thrown)}`);
      },
    );
    for (let look = 0; !shown; look++) {
      await time.run(LOOK_MS);
      if (device.opening?.storage !== storage || !device.isOpen || this.#world.failed) return undefined;
      if (look > LOOKS_MAX) return void this.#world.fail(`${device.name} answers no read`);
    }
    return shown;
  }

  /**
   * The edge has lost it. It stays in the kept copy, or a copy of the device brings it back, whenever that comes; or
   * nobody has it, because retention or compaction took it before.
   */
  #isLeft({ offer, edge }: Judged, { at, name }: Judged["outbox"][number]): boolean {
    if (!offer) return false;
    const { below, kept, offered, left, past, base } = offer;
    if (below.has(name)) return edge.ledger.past > past;
    if (kept.has(name)) return left > 0 || !offered.has(name);
    // The edge had let go of it before the device read it there, or the copy here began behind it; and then the edge
    // lost that as well.
    return at < offer.settledTo && (edge.ledger.wasGone(name) || edge.ledger.stoodBelow(name, base));
  }

  /**
   * A copy of the profile has offered it again: the copy had read it at the edge, and did not have it in its outbox.
   * Records in front of it here may be in that outbox, which follows after all that is offered.
   */
  #isOfCopy(device: Judged, name: string): boolean {
    return this.#world.topics.some(
      ({ edge, offer, outbox }) =>
        edge === device.edge && offer?.offered.has(name) && !outbox.some((acked) => acked.name === name),
    );
  }

  /** In the end, of a device that is level. */
  async level(device: Judged): Promise<void> {
    const world = this.#world;
    const { edge } = device;
    const shown = await this.look(device, true);
    if (!shown) return world.failed ? undefined : world.fail(`${device.name} is not open in the end`);
    const { now } = edge.ledger;
    let last = -1;
    for (const acked of device.outbox) {
      const { name } = acked;
      // A copy of the device may push it all the same, whenever that comes.
      if (world.discarded.has(name) || world.aside.has(name)) continue;
      const at = now.at.get(name);
      if (this.#isLeft(device, acked)) continue;
      if (at === undefined) return world.fail(`lost: ${device.name}'s ${name}`);
      if (at < last && !edge.ledger.mayBeTwice.has(name) && !this.#isOfCopy(device, name))
        return world.fail(`order: ${device.name}'s ${name} is at ${at}, behind ${last}`);
      last = Math.max(last, at);
    }
    const { base = 0 } = device.opening!.storage!.store;
    for (let offset = Math.max(base, now.start); offset < now.names.length; offset++) {
      if (now.gone.has(offset) || shown.below.get(now.names[offset]!) === offset) continue;
      if (edge.ledger.mayBeTwice.has(now.names[offset]!)) continue;
      return world.fail(`replica: ${device.name} lacks ${now.names[offset]} at ${offset}`);
    }
    if (shown.above.size > 0) world.fail(`provisional: ${device.name} still shows ${few([...shown.above])}`);
    const { unanswered = [] } = device.opening!;
    if (unanswered.length > 0) world.fail(`promise: ${device.name} is never told of ${few(unanswered)}`);
    await this.#checkDigest(device, shown.committed);
  }
  /** Byte for byte, where compaction has left all as it was. */
  async #checkDigest(device: Judged, committed: Uint8Array): Promise<void> {
    const { now } = device.edge.ledger;
    const from = Math.max(device.opening!.storage!.store.base ?? 0, now.start);
    if ([...now.gone].some((offset) => offset >= from)) return;
    const held = await this.#world.time.until(device.edge.held());
    if (digestOf(held, from) !== digestOf(committed, from))
      this.#world.fail(`digest: ${device.name} does not hold the bytes of the edge from ${from} on`);
  }
}
