/**
 * Hostile bytes on the disk: footer, catalog, slot header, and whole volumes that are opened and used. Damage under a
 * wrong checksum must be noticed. Damage under a right checksum must end in a typed error or in a log that works,
 * within a budget of calls and bytes.
 */
import type { Kernel } from "../../src/kernel/types.ts";
import { Log } from "../../src/log/log.ts";
import { decodeBatch, splitBatches } from "../../src/record/record-batch.ts";
import { Catalog } from "../../src/store/catalog.ts";
import { decodeFooter, encodeFooter, FOOTER_BYTES } from "../../src/store/footer.ts";
import { SegmentStore } from "../../src/store/segment-store.ts";
import { BODY_AT } from "../../src/store/slot-layout.ts";
import { readMark, readRole } from "../../src/store/slot-read.ts";
import { TidemarkError } from "../../src/errors.ts";
import type { Random } from "../simulation/prng.ts";
import { BudgetVolume } from "./budget-volume.ts";
import { goodBatches } from "./seeds.ts";
import {
  CLOCK,
  encodeCatalog,
  type Image,
  makeImage,
  type PackedCatalog,
  resealHeaderPage,
  resealProducers,
  resealSections,
  SLOT_BYTES,
} from "./stored-image.ts";
import { codeOf, demand, type MakeTarget, type Parts, Tally, type Target } from "./target.ts";

const NUMBERS = [
  0,
  1,
  -1,
  2,
  0.5,
  255,
  256,
  4096,
  SLOT_BYTES - BODY_AT,
  SLOT_BYTES,
  65_536,
  2 ** 20,
  2 ** 31 - 1,
  2 ** 31,
  2 ** 32 - 1,
  2 ** 32,
  2 ** 53 - 1,
  2 ** 53,
  -(2 ** 53),
  1e300,
];
const WORDS = [null, true, "", "x", "7", [], {}, [[]], "plain-0", "compacted-0", "\u0000", "a".repeat(300)];

const wildNumber = (random: Random): unknown => (random.chance(0.8) ? random.pick(NUMBERS) : random.pick(WORDS));

/** Damages bytes in [from, to): flipped bits, boundary values of bytes and of big-endian numbers. */
function damageBytes(random: Random, bytes: Uint8Array, from = 0, to = bytes.length): void {
  for (let left = 1 + random.int(3); left > 0 && to > from; left--) {
    const at = from + random.int(to - from);
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    if (random.chance(0.5)) bytes[at]! ^= 1 << random.int(8);
    else if (random.chance(0.3)) bytes[at] = random.pick([0, 1, 0x7f, 0x80, 0xff]);
    else if (random.chance(0.5) && at + 4 <= to)
      view.setUint32(at, random.pick([0, 1, 5, 4095, 4096, SLOT_BYTES, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1]));
    else if (at + 8 <= to)
      view.setBigInt64(
        at,
        random.pick([0n, 1n, -1n, 2n ** 31n, 2n ** 53n - 1n, 2n ** 53n, -(2n ** 63n), 2n ** 63n - 1n]),
      );
  }
}

class FooterTarget implements Target {
  readonly #tally = new Tally();
  readonly #good: Uint8Array;

  constructor(
    readonly parts: Parts,
    image: Image,
  ) {
    const [, , , , , , bytes, , , , , , offsetBytes, timeBytes, producersBytes] = image.catalog.logs[0]!
      .segments[0] as number[];
    const at = BODY_AT + bytes! + offsetBytes! + timeBytes! + producersBytes!;
    this.#good = image.slots[image.catalog.logs[0]!.segments[0]![0] as number]!.slice(at, at + FOOTER_BYTES);
  }

  step(): void {
    const { random, kernel } = this.parts;
    const bytes = this.#good.slice(0, random.chance(0.95) ? FOOTER_BYTES : random.int(FOOTER_BYTES));
    damageBytes(random, bytes);
    const resealed = random.chance(0.8) && bytes.length === FOOTER_BYTES;
    if (resealed) new DataView(bytes.buffer).setUint32(100, kernel.crc32c(bytes.subarray(0, 100)));
    try {
      const footer = decodeFooter(kernel, bytes);
      if (!footer) return this.#tally.add("refused");
      demand(resealed || bytes.every((byte, at) => byte === this.#good[at]), "a damaged footer was taken", bytes);
      const safe = Object.values(footer).every((value) => typeof value !== "number" || Number.isSafeInteger(value));
      // Encoding what was read gives the same bytes, except for flags and the reserved word.
      if (safe)
        demand(
          encodeFooter(kernel, footer).bytes.every(
            (byte, at) => byte === bytes[at] || (at >= 12 && at < 16) || at >= 96,
          ),
          "a footer reads as another",
          bytes,
        );
      this.#tally.add(safe ? "taken" : "taken with NaN");
    } catch (thrown) {
      this.#tally.add(codeOf(thrown, bytes));
    }
  }

  outcomes(): Record<string, number> {
    return this.#tally.all();
  }
}

/** Makes one change of the catalog's JSON, or of its text. Returns the text. */
function damageCatalog(random: Random, catalog: PackedCatalog): string {
  const log = random.pick(catalog.logs);
  const segment = random.pick(log.segments);
  switch (random.int(9)) {
    case 0:
      Object.assign(catalog, { [random.pick(["id", "epoch", "usedSlots", "logs"])]: wildNumber(random) });
      break;
    case 1:
      Object.assign(log, {
        [random.pick(["name", "born", "settings", "logStartOffset", "segments", "quarantined", "end", "appending"])]:
          wildNumber(random),
      });
      break;
    case 2:
    case 3:
    case 4:
      segment[random.int(segment.length)] = wildNumber(random);
      break;
    case 5:
      if (random.chance(0.5)) segment.length = random.int(segment.length);
      else segment.push(wildNumber(random));
      break;
    case 6:
      log.quarantined.push(
        random.chance(0.2)
          ? wildNumber(random)
          : {
              from: wildNumber(random),
              to: wildNumber(random),
              slot: segment[0],
              position: wildNumber(random),
              bytes: wildNumber(random),
              reason: "x",
            },
      );
      break;
    case 7:
      (catalog.logs as unknown[])[random.int(3)] = random.chance(0.5)
        ? wildNumber(random)
        : { ...random.pick(catalog.logs) };
      break;
    default:
      log.segments = random.chance(0.5)
        ? []
        : ([...log.segments, ...random.pick(catalog.logs).segments] as unknown[][]);
  }
  const text = JSON.stringify(catalog);
  if (random.chance(0.9)) return text;
  const at = random.int(text.length);
  return (
    text.slice(0, at) +
    random.pick(["", "[", "]", "{", "9".repeat(400), "e999", ",", '"', "\u0000", "-"]) +
    text.slice(at + random.int(3))
  );
}

const isCount = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 0;

class CatalogTarget implements Target {
  readonly #tally = new Tally();

  constructor(
    readonly parts: Parts,
    readonly image: Image,
  ) {}

  async step(): Promise<void> {
    const { random, kernel } = this.parts;
    const text = damageCatalog(random, structuredClone(this.image.catalog));
    const version = random.chance(0.97) ? 1 : random.int(4);
    const bytes = encodeCatalog(kernel, text, random.pick([0n, 5n, 2n ** 53n, 2n ** 64n - 1n]), version).subarray(
      0,
      SLOT_BYTES,
    );
    const volume = new BudgetVolume({ slotBytes: SLOT_BYTES, slots: 3 });
    if (random.chance(0.2)) damageBytes(random, bytes);
    await volume.write(0, 0, bytes);
    await volume.write(1, 0, random.chance(0.5) ? bytes : this.image.slots[1]!);
    try {
      const { state } = await Catalog.read(volume, kernel);
      if (state) {
        const segments = state.logs.flatMap((log) => log.segments);
        demand(isCount(state.epoch) && isCount(state.usedSlots), "the state's own numbers", text);
        demand(
          segments.every(({ slot, baseOffset, epoch }) => [slot, baseOffset, epoch].every(isCount)),
          "a segment's numbers",
          text,
        );
        demand(
          segments.every(
            ({ sealed }) =>
              !sealed ||
              [
                sealed.nextOffset,
                sealed.bytes,
                sealed.offsetIndexBytes,
                sealed.timeIndexBytes,
                sealed.producersBytes,
              ].every(isCount),
          ),
          "a sealed segment's numbers",
          text,
        );
      }
      this.#tally.add(state ? "taken" : "blank");
    } catch (thrown) {
      this.#tally.add(codeOf(thrown, text));
    }
  }

  outcomes(): Record<string, number> {
    return this.#tally.all();
  }
}

class SlotTarget implements Target {
  readonly #tally = new Tally();
  readonly #volume = new BudgetVolume({ slotBytes: SLOT_BYTES, slots: 3 });

  constructor(
    readonly parts: Parts,
    readonly image: Image,
  ) {}

  async step(): Promise<void> {
    const { random, kernel } = this.parts;
    const [slot, baseOffset, epoch] = random.pick(random.pick(this.image.catalog.logs).segments) as number[];
    const page = this.image.slots[slot!]!.slice(0, BODY_AT);
    const [from, to] = random.pick([
      [0, 72],
      [512, 552],
      [1024, 1064],
    ] as const);
    damageBytes(random, page, from, to);
    if (random.chance(0.8)) resealHeaderPage(kernel, page);
    this.#volume.calls = 0;
    await this.#volume.write(2, 0, page);
    try {
      const name = (await readRole(kernel, this.#volume, 2))?.log;
      const mark = await readMark(kernel, this.#volume, { slot: 2, baseOffset: baseOffset!, epoch: epoch! });
      demand(name === undefined || name.length <= 255, "a name of any length", page);
      if (mark)
        demand(
          mark.position <= SLOT_BYTES - BODY_AT && mark.nextOffset >= baseOffset! && mark.epoch >= epoch!,
          "a mark beyond its slot",
          page,
        );
      this.#tally.add(`${name === undefined ? "no role" : "role"}, ${mark ? "mark" : "no mark"}`);
    } catch (thrown) {
      this.#tally.add(codeOf(thrown, page));
    }
  }

  outcomes(): Record<string, number> {
    return this.#tally.all();
  }
}

/** Opens a damaged volume and uses its logs as an application does. */
class VolumeTarget implements Target {
  readonly #tally = new Tally();
  readonly #batches: Uint8Array[];
  #largestRead = 0;
  #slotsMax = 0;

  constructor(
    readonly parts: Parts,
    readonly images: readonly Image[],
  ) {
    this.#batches = goodBatches(parts.kernel).slice(0, 2);
  }

  /** Damaged slots, and a description of the damage. */
  #hostile(): { readonly slots: Uint8Array[]; readonly what: string } {
    const { random, kernel } = this.parts;
    const image = random.pick(this.images);
    const slots = image.slots.map((slot) => slot.slice());
    const catalog = structuredClone(image.catalog);
    const what: string[] = [];
    for (let left = 1 + random.int(2); left > 0; left--) {
      const segment = random.pick(random.pick(catalog.logs).segments) as number[];
      const slot = slots[segment[0]!]!;
      const [, , , , , , bytes = 0, , , , , , offsetBytes = 0, timeBytes = 0, producersBytes = 0] = segment;
      const sections = BODY_AT + bytes;
      const producers = sections + offsetBytes + timeBytes;
      const end = producers + producersBytes;
      const part = random.pick(["page", "body", "sections", "producers", "footer"] as const);
      if (part === "page") damageBytes(random, slot, random.pick([0, 512, 1024]), 1064);
      if (part === "body") damageBytes(random, slot, BODY_AT, BODY_AT + 8000);
      if (part === "sections") damageBytes(random, slot, sections, producers);
      if (part === "producers") damageBytes(random, slot, producers, end - 4);
      if (part === "footer") damageBytes(random, slot, end, end + FOOTER_BYTES);
      what.push(`${part} of slot ${segment[0]}`);
      if (random.chance(0.85)) {
        resealHeaderPage(kernel, slot);
        if (segment.length > 5) {
          resealProducers(kernel, slot.subarray(producers, end));
          resealSections(kernel, slot, segment);
        }
      }
    }
    const text = random.chance(0.3) ? damageCatalog(random, catalog) : JSON.stringify(catalog);
    for (const copy of [0, 1]) slots[copy]!.set(encodeCatalog(kernel, text, 999n).subarray(0, SLOT_BYTES));
    return { slots, what: `${what.join(", ")}; ${text}` };
  }

  async step(): Promise<void> {
    const { slots, what } = this.#hostile();
    const volume = new BudgetVolume({ slotBytes: SLOT_BYTES, slots: slots.length, slotsMax: 64 });
    for (const [slot, bytes] of slots.entries()) await volume.write(slot, 0, bytes);
    try {
      await this.#use(volume, what);
      this.#tally.add("used to the end");
    } catch (thrown) {
      this.#tally.add(codeOf(thrown, what));
    }
    this.#largestRead = Math.max(this.#largestRead, volume.largestRead);
    this.#slotsMax = Math.max(this.#slotsMax, volume.slotCount);
  }

  async #use(volume: BudgetVolume, what: string): Promise<void> {
    const { kernel } = this.parts;
    const store = await SegmentStore.open({ volume, kernel, now: CLOCK.now });
    for (const name of store.names()) {
      await this.#tolerant(what, async () => {
        const log = await Log.open({
          store: await store.log(name),
          kernel,
          clock: CLOCK,
          settings: { compaction: {} },
        });
        await this.#readAll(kernel, log, what);
        await this.#tolerant(what, () => log.resolve({ timestamp: CLOCK.time + 500 }));
        for (const batch of this.#batches) await this.#tolerant(what, () => log.append(batch.slice()));
        await this.#tolerant(what, () => log.roll());
        await this.#tolerant(what, () => log.clean());
        await this.#tolerant(what, () => log.trim(log.highWatermark));
      });
    }
    await this.#tolerant(what, () => store.close());
  }

  /** Does one step. A typed error is an answer, and the next step follows. */
  async #tolerant(what: string, work: () => Promise<unknown>): Promise<void> {
    try {
      await work();
    } catch (thrown) {
      this.#tally.add(`  later ${codeOf(thrown, what)}`);
    }
  }

  async #readAll(kernel: Kernel, log: Log, what: string): Promise<void> {
    for (let from = log.logStartOffset; from < log.highWatermark;) {
      try {
        const { bytes, nextOffset } = await log.fetch(from, { maxBytes: 3000 });
        if (bytes.length === 0 && nextOffset <= from) return;
        for (const batch of splitBatches(bytes)) await decodeBatch(kernel, batch);
        demand(nextOffset > from, "a read that does not go on", what);
        from = nextOffset;
      } catch (thrown) {
        const code = codeOf(thrown, what);
        this.#tally.add(`  later ${code}`);
        const to = thrown instanceof TidemarkError ? thrown.details["to"] : undefined;
        if (code !== "CORRUPT_RANGE" || typeof to !== "number" || to <= from) return;
        from = to;
      }
    }
  }

  outcomes(): Record<string, number> {
    return this.#tally.all();
  }
  figures(): Record<string, number> {
    return { largestReadBytes: this.#largestRead, slotsMax: this.#slotsMax };
  }
}

export const footer: MakeTarget = async (parts) => new FooterTarget(parts, await makeImage(parts.kernel, true));
export const catalog: MakeTarget = async (parts) => new CatalogTarget(parts, await makeImage(parts.kernel, true));
export const slot: MakeTarget = async (parts) => new SlotTarget(parts, await makeImage(parts.kernel, true));
export const volume: MakeTarget = async (parts) =>
  new VolumeTarget(parts, [await makeImage(parts.kernel, true), await makeImage(parts.kernel, false)]);
