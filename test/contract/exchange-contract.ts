/**
 * Exchanges whole files between two runs: each slot of a tide is swapped with another, overwritten by another, replaced
 * by another tide's, emptied, or put back from an earlier copy. The tide was closed or killed before. In every case a
 * reader gets the record that was acked at an offset, or learns that it is damaged; and no offset is given to a second
 * record.
 *
 *   earlier ──▶ copy of all slots ──▶ later: appends, rolls, compaction ──▶ close or kill ──▶ exchange
 *           ──▶ open, judge, append ──▶ open, judge
 */
import { TidemarkError } from "../../src/errors.ts";
import type { Kernel } from "../../src/kernel/types.ts";
import { BatchBuilder } from "../../src/record/batch-builder.ts";
import { stampBaseOffset } from "../../src/record/format.ts";
import { decodeBatch, type RecordBatch, splitBatches } from "../../src/record/record-batch.ts";
import { SegmentStore } from "../../src/store/segment-store.ts";
import type { SegmentedLog } from "../../src/store/segmented-log.ts";
import { CATALOG_SLOTS, readExactly, type Volume } from "../../src/store/volume.ts";
import { check, equal } from "./check.ts";
import type { StoreCase, StoreHost } from "./store-contract.ts";

const SLOT = 16 * 1024;
/** All logs have the same shape, so that a batch of one could continue another. */
const LOGS = ["a", "b", "c"] as const;
const BATCH = 10;
const PAD = "x".repeat(60);

type Image = readonly Uint8Array[];
/** The acked values of each log by offset; "gone" where compaction may have removed the record. */
type Ledger = Map<string, Map<number, string>>;

const text = new TextEncoder();

function batchOf(kernel: Kernel, tide: string, log: string, from: number): Uint8Array {
  const builder = new BatchBuilder(kernel);
  for (let i = 0; i < BATCH; i++)
    builder.tryAppend({
      key: null,
      value: text.encode(`${tide}.${log}.${from + i} ${PAD}`),
      timestamp: 1_000_000 + from + i,
    });
  const batch = builder.build({ producerId: -1, producerEpoch: -1, baseSequence: -1 });
  stampBaseOffset(batch, from);
  return batch;
}

async function append(kernel: Kernel, tide: string, log: SegmentedLog, batches: number, ledger: Ledger): Promise<void> {
  const values = ledger.get(log.name) ?? new Map<number, string>();
  ledger.set(log.name, values);
  for (let i = 0; i < batches; i++) {
    const from = log.logEndOffset;
    await log.append([batchOf(kernel, tide, log.name, from)]);
    await log.flush();
    for (let at = from; at < from + BATCH; at++) {
      check(!values.has(at), `offset ${at} of ${log.name} is given out twice`);
      values.set(at, `${tide}.${log.name}.${at} ${PAD}`);
    }
  }
}

const openStore = (host: StoreHost, volume: Volume, id = "tide-a"): Promise<SegmentStore> =>
  SegmentStore.open({ volume, kernel: host.kernel, now: () => 1_000_000, newId: () => id });

async function imageOf(volume: Volume): Promise<Image> {
  const slots: Uint8Array[] = [];
  for (let slot = 0; slot < volume.slotCount; slot++) slots.push(await readExactly(volume, slot, 0, volume.slotBytes));
  return slots;
}

/** Removes the second half of each sealed segment of "c", as compaction could. */
async function compact(log: SegmentedLog, values: Map<number, string>): Promise<void> {
  const segment = log.segments()[0]!;
  const { bytes } = await log.read(segment.baseOffset, 1 << 20, segment.nextOffset);
  const batches = [...splitBatches(bytes)];
  const kept = batches.slice(0, batches.length >> 1);
  const from = segment.baseOffset + kept.length * BATCH;
  await log.replace(segment.baseOffset, segment.nextOffset, [
    { baseOffset: segment.baseOffset, nextOffset: segment.nextOffset, bytes: await concat(kept), sealedAt: 5 },
  ]);
  for (let at = from; at < segment.nextOffset; at++) values.set(at, "gone");
}

async function concat(parts: readonly Uint8Array[]): Promise<Uint8Array> {
  return new Uint8Array(await new Blob(parts as Uint8Array<ArrayBuffer>[]).arrayBuffer());
}

interface Life {
  readonly earlier: Image;
  readonly image: Image;
  readonly ledger: Ledger;
  /** The number of the slot for each part of the tide, at the end of its life. */
  readonly slots: Readonly<Record<string, number>>;
}

async function live(host: StoreHost, tide: string, end: "closed" | "killed"): Promise<Life> {
  const ledger: Ledger = new Map();
  let volume = await host.newVolume(SLOT);
  let store = await openStore(host, volume, tide);
  for (const [i, name] of LOGS.entries()) await append(host.kernel, tide, await store.log(name), 26 + i, ledger);
  await store.close();
  volume = await host.reopen(volume);
  const earlier = await imageOf(volume);
  store = await openStore(host, volume, tide);
  const logs = await Promise.all(LOGS.map((name) => store.log(name)));
  for (const log of logs) await append(host.kernel, tide, log, 4, ledger);
  await compact(logs[2]!, ledger.get("c")!);
  // A catalog is committed, so that it records what was flushed before.
  await (await store.log("d")).roll();
  for (const log of logs) await log.flush();
  await logs[2]!.trim(BATCH);
  const slots: Record<string, number> = { "catalog A": 0, "catalog B": 1 };
  for (const log of logs) {
    for (const [i, { slot, state }] of log.segments().entries())
      slots[`${log.name} ${state === "active" ? "active" : `sealed ${i}`}`] = slot!;
  }
  const used = new Set(Object.values(slots));
  const free = Array.from({ length: volume.slotCount }, (_, slot) => slot).find(
    (slot) => slot >= CATALOG_SLOTS && !used.has(slot) && slot !== 5,
  );
  if (free !== undefined) slots["free"] = free;
  if (end === "closed") {
    await store.close();
    volume = await host.reopen(volume);
  }
  const image = await imageOf(volume);
  await volume.close();
  return { earlier, image, ledger, slots };
}

async function volumeOf(host: StoreHost, image: Image): Promise<Volume> {
  const volume = await host.newVolume(SLOT);
  if (volume.slotCount < image.length) await volume.addSlots(image.length - volume.slotCount);
  for (const [slot, bytes] of image.entries()) await volume.write(slot, 0, bytes);
  await volume.flush(image.map((_, slot) => slot));
  return volume;
}

/** All that a reader gets, and the ranges that are reported as damaged. */
async function readAll(
  kernel: Kernel,
  log: SegmentedLog,
): Promise<{ records: Map<number, string>; gaps: { from: number; to: number }[] }> {
  const records = new Map<number, string>();
  const gaps: { from: number; to: number }[] = [];
  for (let offset = log.logStartOffset, verify = false; offset < log.logEndOffset;) {
    try {
      const { bytes, nextOffset } = await log.read(offset, 4000, log.logEndOffset, verify);
      for (const each of splitBatches(bytes)) {
        const batch = (await decodeBatch(kernel, each)) as RecordBatch;
        for (let i = 0; i < batch.count; i++)
          records.set(batch.offsetAt(i), new TextDecoder().decode(batch.valueAt(i)!));
      }
      if (bytes.length === 0) break;
      offset = nextOffset;
      verify = false;
    } catch (thrown) {
      if (!(thrown instanceof TidemarkError)) throw thrown;
      if (thrown.code !== "CORRUPT_RANGE") {
        check(!verify && thrown.code === "INVALID_BATCH", `a read fails with ${thrown.message}`);
        verify = true;
        continue;
      }
      const { from, to } = thrown.details as { from: number; to: number };
      // Behind a hole left by compaction the reported range begins at the damage, not at the offset that was asked for.
      check(to > offset, `the damage ${from} to ${to} lies before ${offset}`);
      gaps.push({ from, to });
      offset = to;
    }
  }
  return { records, gaps };
}

/** Checks all logs against the ledger. Returns how many acked records are damaged. */
async function judge(host: StoreHost, store: SegmentStore, ledger: Ledger, what: string): Promise<number> {
  let damaged = 0;
  for (const [name, values] of ledger) {
    check(store.names().includes(name), `${what}: the log ${name} is gone`);
    const log = await store.log(name);
    const { records, gaps } = await readAll(host.kernel, log);
    for (const [offset, value] of records) {
      if (offset < log.logStartOffset) continue;
      check(values.get(offset) === value, `${what}: ${name} ${offset} is ${value}, acked was ${values.get(offset)}`);
    }
    for (const [offset, value] of values) {
      if (offset < log.logStartOffset || value === "gone" || records.has(offset)) continue;
      check(
        gaps.some(({ from, to }) => offset >= from && offset < to),
        `${what}: ${name} ${offset} is gone without a word`,
      );
      damaged++;
    }
    const end = Math.max(...values.keys()) + 1;
    check(log.logEndOffset >= end, `${what}: ${name} ends at ${log.logEndOffset}, acked was up to ${end}`);
    if (log.recovery.lost)
      check(
        gaps.some(({ from }) => from <= log.recovery.lost!.from),
        `${what}: ${name} lost ${JSON.stringify(log.recovery.lost)} and reads on`,
      );
  }
  return damaged;
}

/**
 * Opens, judges and appends in turns. "refused" means: the store reports that its catalog does not belong to these
 * slots.
 */
async function tryOut(host: StoreHost, life: Life, image: Image, what: string): Promise<number | "refused"> {
  const volume = await volumeOf(host, image);
  const ledger: Ledger = new Map([...life.ledger].map(([name, values]) => [name, new Map(values)]));
  let store: SegmentStore;
  try {
    store = await openStore(host, volume);
    const damaged = await judge(host, store, ledger, what);
    for (const name of LOGS) await append(host.kernel, "tide-a", await store.log(name), 2, ledger);
    await judge(host, store, ledger, `${what}, and appended to`);
    await volume.close();
    const again = await host.reopen(volume);
    store = await openStore(host, again);
    await judge(host, store, ledger, `${what}, appended to and killed`);
    await store.close();
    const last = await host.reopen(again);
    store = await openStore(host, last);
    await judge(host, store, ledger, `${what}, closed and opened once more`);
    await last.close();
    return damaged;
  } catch (thrown) {
    if (!(thrown instanceof TidemarkError) || thrown.code !== "CORRUPT_CATALOG") throw thrown;
    await volume.close().catch(() => undefined);
    return "refused";
  }
}

const withSlot = (image: Image, slot: number, bytes: Uint8Array): Image =>
  image.map((own, at) => (at === slot ? bytes : own));

const isCatalog = (name: string): boolean => name.startsWith("catalog");

/** One pair of each kind. A kind is what the two slots hold, and whether both belong to one log. */
function firstOfEachKind(pairs: readonly Pair[]): Pair[] {
  const kindOf = (name: string): string => (isCatalog(name) ? "catalog" : name.replace(/^. | \d+$/g, ""));
  const kinds = pairs.map(([one, other]) => `${kindOf(one)}, ${kindOf(other)}, ${one[0] === other[0]}`);
  return pairs.filter((_, at) => kinds.indexOf(kinds[at]!) === at);
}

type Pair = readonly [one: string, other: string];

/**
 * Pairs of different slots. In memory all of them are tried. In a browser files are slow and the code above them is the
 * same, so one pair of each kind is tried there.
 */
function pairsOf({ slots }: Life, { few }: StoreHost, isOrdered: boolean): Pair[] {
  const names = Object.keys(slots);
  const pairs = names.flatMap((one, at) =>
    names.filter((_, i) => (isOrdered ? i !== at : i > at)).map((other): Pair => [one, other]),
  );
  return few ? firstOfEachKind(pairs) : pairs;
}

interface Tally {
  tried: number;
  damaged: number;
  refused: string[];
}

async function each(
  host: StoreHost,
  end: "closed" | "killed",
  exchanges: (life: Life) => AsyncIterable<[string, Image]> | Iterable<[string, Image]>,
): Promise<Tally> {
  const life = await live(host, "tide-a", end);
  const tally: Tally = { tried: 0, damaged: 0, refused: [] };
  for await (const [what, image] of exchanges(life)) {
    const found = await tryOut(host, life, image, `${end}: ${what}`);
    tally.tried++;
    if (found === "refused") tally.refused.push(what);
    else if (found > 0) tally.damaged++;
  }
  return tally;
}

const cases: readonly [string, (end: "closed" | "killed") => (host: StoreHost) => Promise<void>][] = [
  [
    "nothing exchanged, and each slot emptied",
    (end) => async (host) => {
      const tally = await each(host, end, function* ({ image, slots }) {
        yield ["nothing", image];
        for (const [name, slot] of Object.entries(slots))
          yield [`${name} emptied`, withSlot(image, slot, new Uint8Array(SLOT))];
      });
      equal(tally.refused, [], "one empty slot never closes the store");
      equal(tally.damaged, tally.tried - 1 - ["catalog A", "catalog B", "free"].length, "each segment's loss is told");
    },
  ],
  [
    "two slots swapped",
    (end) => async (host) => {
      const tally = await each(host, end, function* (life) {
        const { image, slots } = life;
        for (const [one, other] of pairsOf(life, host, false)) {
          const [a, b] = [slots[one]!, slots[other]!];
          yield [`${one} with ${other}`, withSlot(withSlot(image, a, image[b]!), b, image[a]!)];
        }
      });
      equal(tally.refused, [], "one copy of the catalog is left");
      check(tally.tried > (host.few ? 10 : 40) && tally.damaged > tally.tried / 2, JSON.stringify(tally));
    },
  ],
  [
    "one slot doubled over another",
    (end) => async (host) => {
      const tally = await each(host, end, function* (life) {
        const { image, slots } = life;
        for (const [one, other] of pairsOf(life, host, true))
          yield [`${one} over ${other}`, withSlot(image, slots[other]!, image[slots[one]!]!)];
      });
      equal(tally.refused, []);
      check(tally.tried > (host.few ? 16 : 80) && tally.damaged > tally.tried / 2, JSON.stringify(tally));
    },
  ],
  [
    "another tide's file in the place of each",
    (end) => async (host) => {
      const other = await live(host, "tide-b", end);
      const tally = await each(host, end, function* ({ image, slots }) {
        for (const [name, slot] of Object.entries(slots)) {
          yield [`tide-b's over ${name}`, withSlot(image, slot, other.image[slot]!)];
          // The case above replaces a file by its namesake. A sealed file may also hold as many records as our long
          // active segment, at the same offsets.
          if (!isCatalog(name))
            yield [`tide-b's first over ${name}`, withSlot(image, slot, other.image[other.slots["a sealed 0"]!]!)];
        }
        yield ["tide-b's catalogs", [other.image[0]!, other.image[1]!, ...image.slice(CATALOG_SLOTS)]];
      });
      equal(tally.refused, ["tide-b's catalogs"], "a catalog of another tide is none of ours");
      check(tally.damaged >= 8, JSON.stringify(tally));
    },
  ],
  [
    "each slot put back from an earlier time",
    (end) => async (host) => {
      const tally = await each(host, end, function* ({ image, earlier, slots }) {
        for (const [name, slot] of Object.entries(slots))
          if (earlier[slot]) yield [`${name} as it was`, withSlot(image, slot, earlier[slot])];
        yield ["both catalogs as they were", [earlier[0]!, earlier[1]!, ...image.slice(CATALOG_SLOTS)]];
        yield [
          "a catalog and a slot as they were",
          withSlot(
            withSlot(image, 0, earlier[0]!),
            slots["a active"]!,
            earlier[slots["a active"]!] ?? new Uint8Array(SLOT),
          ),
        ];
      });
      equal(tally.refused, ["both catalogs as they were"], "an older catalog is told by its slots");
      check(tally.damaged >= 3, JSON.stringify(tally));
    },
  ],
];

/** `end`: how the tide ended before its slots were exchanged. */
export const exchangeCases: readonly (StoreCase & { readonly end: "closed" | "killed" })[] = (
  ["closed", "killed"] as const
).flatMap((end) => cases.map(([name, run]) => ({ name: `${name}, of a tide that was ${end}`, end, run: run(end) })));
