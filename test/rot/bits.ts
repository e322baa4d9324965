/**
 * Flips every single bit of a volume. To open the volume and read all of it for each bit would take days, so the bits
 * are grouped by which code reads them. Each group gets the cheapest run of the *real* code that can show the outcome:
 *
 *   group                        run for every bit                             why that is enough
 *   bytes that nothing reads     one whole run with all of them inverted       code that never reads a byte does the
 *                                at once                                       same whatever it holds; which bytes are
 *                                                                              read is recorded, not assumed
 *   records, behind a batch's    the release kernel's check of the batch with  only that check, and the decoder that
 *   header                       the bit flipped: it must refuse               runs behind it, read a record's bytes
 *   all else in a segment's      open the store and the log, read that segment an open reads no other sealed segment,
 *   slot: header page, batch     with the reader, seek into it by offset and   and a read of one segment reads no
 *   headers, indexes, producers, time; retries of producers when it is the     other slot
 *   footer, behind the end       active one
 *   catalog copies               Catalog.read: the same state, and it says     an open takes from these slots only
 *                                that one copy counted                         what Catalog.read returns
 *
 * Some bits of each group, drawn by the seed, also go through the whole path, which must agree with the cheap run. A
 * flip is applied in place and then undone, so images are never copied whole.
 */
import { type Kernel, Status } from "../../src/kernel/types.ts";
import { Catalog } from "../../src/store/catalog.ts";
import { LEADER_EPOCH_AT } from "../../src/record/format.ts";
import { Counters } from "../simulation/counters.ts";
import { Violation } from "../simulation/model.ts";
import { Random } from "../simulation/prng.ts";
import type { RotLog } from "./history.ts";
import { type Layout, layoutOf, type Region } from "./regions.ts";
import { type Image, RotVolume } from "./rot-volume.ts";
import { batchesIn, type Scope, survey, type Verdict } from "./survey.ts";

export interface RotFailure {
  readonly check: string;
  readonly message: string;
  readonly where: string;
}

export interface RotResult {
  readonly bits: number;
  readonly surveyed: number;
  readonly sampled: number;
  /** How many bits had an outcome, by "region | outcome". */
  readonly counts: Readonly<Record<string, number>>;
  readonly failures: readonly RotFailure[];
}

export interface RotOptions {
  readonly kernel: Kernel;
  readonly log: RotLog;
  readonly seed: number;
  /** How many bits of each group go through the whole path as well. */
  readonly sample: number;
  /** In regions that need a survey and whose name this matches, only every n-th bit is flipped. */
  readonly thin?: { readonly every: number; readonly names: RegExp };
  /** Only regions of this name; default all. */
  readonly only?: RegExp;
  readonly failuresMax?: number;
  readonly onBits?: (count: number) => void;
}

/**
 * A loss that cannot be reported. If the epoch of the newest batch, behind the durable mark, rots to an earlier one,
 * the batch looks like a stale batch of an earlier use of the slot. Upkeep moves the mark behind the batch about two
 * seconds after the append, and then the loss is reported.
 */
const UNSEEN = "the tail is gone, its epoch reads as an earlier one";
const isEpoch = ({ batch }: Region, at: number): boolean =>
  batch !== undefined && at >= batch.position + LEADER_EPOCH_AT && at < batch.position + LEADER_EPOCH_AT + 4;

/** The outcome without the part that depends on which times were looked for. */
const plain = (outcome: string): string => outcome.replace(/, a seek by time[^,]*/, "");

/** Which bytes a whole run over the undamaged image reads. */
export async function readBytes(kernel: Kernel, log: RotLog, whole: Scope): Promise<readonly Uint8Array[]> {
  const volume = new RotVolume(log.slotBytes, log.image, true);
  const verdict = await survey(kernel, volume, log, whole);
  if (verdict.outcome !== "same" || verdict.note) throw new Violation("good-image", JSON.stringify(verdict));
  return volume.touched!;
}

export class Bits {
  readonly counters = new Counters();
  readonly failures: RotFailure[] = [];
  bits = 0;
  surveyed = 0;
  sampled = 0;
  readonly #options: RotOptions;
  readonly #layout: Layout;
  readonly #read: readonly Uint8Array[];
  /** Each flip changes it in place and is then undone. */
  readonly #image: Image;
  readonly #random: Random;

  private constructor(options: RotOptions, layout: Layout, read: readonly Uint8Array[]) {
    this.#options = options;
    this.#layout = layout;
    this.#read = read;
    this.#image = options.log.image.map((slot) => slot.slice());
    this.#random = new Random(options.seed);
  }

  static async of(options: RotOptions): Promise<Bits> {
    const layout = await layoutOf(options.kernel, options.log);
    return new Bits(options, layout, await readBytes(options.kernel, options.log, layout.whole));
  }

  get #regions(): readonly Region[] {
    const { only } = this.#options;
    return only ? this.#layout.regions.filter(({ name }) => only.test(name)) : this.#layout.regions;
  }
  get #done(): boolean {
    return this.failures.length >= (this.#options.failuresMax ?? 20);
  }

  async run(): Promise<RotResult> {
    await this.#invertUnread();
    for (const region of this.#regions) {
      if (this.#done) break;
      if (/: records$/.test(region.name)) this.#checkRecords(region);
      else if (region.name.startsWith("catalog")) await this.#checkCatalog(region);
      else await this.#surveyRegion(region);
    }
    await this.#sampleAll();
    const { bits, surveyed, sampled, failures } = this;
    return { bits, surveyed, sampled, failures, counts: this.counters.counts };
  }

  #survey(scope: Scope): Promise<Verdict> {
    const { kernel, log } = this.#options;
    return survey(kernel, new RotVolume(log.slotBytes, this.#image), log, scope);
  }

  #fail(thrown: unknown, where: string): void {
    this.failures.push({
      check: thrown instanceof Violation ? thrown.check : "crashed",
      message:
        thrown instanceof Error
          ? thrown instanceof Violation
            ? thrown.message
            : String(thrown.stack)
          : String(thrown),
      where,
    });
  }

  /** Inverts all bytes that nothing reads, at once: nothing may change. */
  async #invertUnread(): Promise<void> {
    for (const [slot, read] of this.#read.entries())
      for (const [at, was] of read.entries()) if (!was) this.#image[slot]![at]! ^= 0xff;
    try {
      const verdict = await this.#survey(this.#layout.whole);
      if (verdict.outcome !== "same" || verdict.note) throw new Violation("unread", JSON.stringify(verdict));
    } catch (thrown) {
      this.#fail(thrown, "bytes that nothing reads");
    }
    for (const [slot, bytes] of this.#options.log.image.entries()) this.#image[slot]!.set(bytes);
  }

  /** The kernel must refuse the batch for every flipped bit of its records. */
  #checkRecords({ name, slot, from, to, batch }: Region): void {
    const { kernel } = this.#options;
    const bytes = batch!.bytes.slice();
    for (let at = from; at < to; at++) {
      if (!this.#read[slot]![at]) continue;
      for (let bit = 0; bit < 8; bit++) {
        bytes[at - batch!.position]! ^= 1 << bit;
        if (kernel.validateBatch(bytes) === Status.OK)
          this.#fail(
            new Violation("wrong-record", "the kernel takes the batch"),
            `${name}, slot ${slot} byte ${at} bit ${bit}`,
          );
        bytes[at - batch!.position]! ^= 1 << bit;
      }
    }
    this.counters.add(`${name} | the batch is refused`, (to - from) * 8);
    this.#count((to - from) * 8);
  }

  /** With a flipped bit in one copy of the catalog, the other copy is read and has the same state. */
  async #checkCatalog({ name, slot, from, to }: Region): Promise<void> {
    const { kernel, log } = this.#options;
    const good = await Catalog.read(new RotVolume(log.slotBytes, this.#image), kernel);
    const wanted = JSON.stringify(good.state);
    const bytes = this.#image[slot]!;
    for (let n = from * 8; n < to * 8 && !this.#done; n++) {
      const at = n >> 3;
      const isRead = this.#read[slot]![at] === 1;
      if (isRead) {
        bytes[at]! ^= 1 << (n & 7);
        try {
          const { state, copies, catalog } = await Catalog.read(new RotVolume(log.slotBytes, this.#image), kernel);
          const same =
            copies === 1 && JSON.stringify(state) === wanted && catalog.generation === good.catalog.generation;
          if (!same) throw new Violation("catalog", `${copies} copies: ${JSON.stringify(state)}`);
        } catch (thrown) {
          this.#fail(thrown, `${name}, slot ${slot} byte ${at} bit ${n & 7}`);
        }
        bytes[at]! ^= 1 << (n & 7);
      }
      this.counters.add(`${name} | ${isRead ? "took over" : "nothing reads it"}`);
      this.#count(1);
    }
  }

  #count(bits: number): void {
    this.bits += bits;
    this.#options.onBits?.(bits);
  }

  async #surveyRegion(region: Region): Promise<void> {
    const { name, slot, from, to } = region;
    const { thin } = this.#options;
    const every = thin?.names.test(name) ? thin.every : 1;
    let unread = 0;
    for (let n = 0; n < (to - from) * 8; n++) {
      const at = from + (n >> 3);
      if (!this.#read[slot]![at]) {
        unread++;
        continue;
      }
      if (every > 1 && this.#random.int(every) > 0) continue;
      if (this.#done) return;
      this.#count(1);
      this.surveyed++;
      await this.#flip(region, at, n & 7, this.#layout.scopes.get(slot)!);
    }
    this.#count(unread);
    if (unread > 0) this.counters.add(`${name} | nothing reads it`, unread);
  }

  async #flip(region: Region, at: number, bit: number, scope: Scope): Promise<string | undefined> {
    const bytes = this.#image[region.slot]!;
    bytes[at]! ^= 1 << bit;
    try {
      const outcome = this.#name(await this.#survey(scope), region);
      this.counters.add(`${region.name} | ${outcome}`);
      return outcome;
    } catch (thrown) {
      if (thrown instanceof Violation && thrown.check === "lost-tail" && isEpoch(region, at)) {
        this.counters.add(`${region.name} | ${UNSEEN}`);
        return UNSEEN;
      }
      this.#fail(thrown, `${region.name}, slot ${region.slot} byte ${at} bit ${bit}`);
      return undefined;
    } finally {
      bytes[at]! ^= 1 << bit;
    }
  }

  /** The verdict in words. It says when more was damaged than the batch with the flipped bit. */
  #name({ outcome, damage, note }: Verdict, { batch }: Region): string {
    const words = note ? [outcome, note] : [outcome];
    if (damage.length > 0) {
      const lost = new Set(damage.flatMap(({ from, to }) => batchesIn(this.#options.log, from, to)));
      if (batch) lost.delete(batch);
      if (lost.size > 0 && !batch)
        throw new Violation(
          "lost-good",
          `${[...lost].map(({ baseOffset }) => baseOffset).join(" ")} reported, and no batch was hit`,
        );
      if (lost.size > 0) words.push("with others than the batch that was hit");
    }
    return words.join(", ");
  }

  /**
   * Takes some bits of each region's name through the whole path. Damage in a batch must be reported for that batch and
   * for no other.
   */
  async #sampleAll(): Promise<void> {
    const byName = new Map<string, Region[]>();
    for (const region of this.#regions) byName.set(region.name, [...(byName.get(region.name) ?? []), region]);
    for (const [name, regions] of byName) {
      for (let i = 0; i < this.#options.sample && !this.#done; i++) {
        const region = this.#random.pick(regions);
        const at = region.from + this.#random.int(region.to - region.from);
        const whole = await this.#sampleOne(region, at, this.#random.int(8));
        this.sampled++;
        if (whole !== undefined) this.counters.add(`sample: ${name} | ${whole}`);
        this.#options.onBits?.(0);
      }
    }
  }

  async #sampleOne(region: Region, at: number, bit: number): Promise<string | undefined> {
    const before = { ...this.counters.counts };
    const whole = await this.#flip(region, at, bit, this.#layout.whole);
    const isRead = this.#read[region.slot]![at] === 1;
    const cheap = !isRead
      ? "same"
      : region.name.startsWith("catalog")
        ? "took over"
        : /: records$/.test(region.name)
          ? undefined
          : await this.#flip(region, at, bit, this.#layout.scopes.get(region.slot)!);
    // Takes these counts back: a sampled bit was counted in its region already.
    for (const [name, times] of Object.entries(this.counters.counts))
      this.counters.add(name, (before[name] ?? 0) - times);
    if (whole === undefined) return undefined;
    const agrees = cheap === undefined ? /^(reported|cut)/.test(whole) : plain(whole) === plain(cheap);
    if (!agrees)
      this.#fail(
        new Violation("partition", `the whole way says "${whole}", the cheap one "${cheap ?? "refused"}"`),
        `${region.name}, slot ${region.slot} byte ${at} bit ${bit}`,
      );
    return whole;
  }
}
