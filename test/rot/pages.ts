/**
 * Damage of whole 4 KiB pages, each taken through the whole path: a page has the content of an earlier flush (the disk
 * acknowledged a write and did not make it), or two pages of the volume are exchanged (two writes went to the wrong
 * places).
 *
 * Pages that nothing reads need no run, see bits.ts. When a page is exchanged with such a page, only what it receives
 * matters, so exchanges with equal unread pages are one case.
 */
import type { Kernel } from "../../src/kernel/types.ts";
import { Counters } from "../simulation/counters.ts";
import { Violation } from "../simulation/model.ts";
import { Random } from "../simulation/prng.ts";
import { readBytes, type RotFailure } from "./bits.ts";
import type { RotLog } from "./history.ts";
import { type Layout, layoutOf } from "./regions.ts";
import { PAGE, RotVolume } from "./rot-volume.ts";
import { survey, type Verdict } from "./survey.ts";

export interface PagesResult {
  readonly stale: number;
  readonly swapped: number;
  readonly counts: Readonly<Record<string, number>>;
  readonly failures: readonly RotFailure[];
}

export interface PagesOptions {
  readonly kernel: Kernel;
  readonly log: RotLog;
  readonly seed: number;
  /** Only every n-th stale page and every n-th exchange are tested, drawn by the seed. Default 1: all. */
  readonly every?: number;
  readonly everySwap?: number;
  readonly failuresMax?: number;
  readonly onPages?: (count: number) => void;
}

interface Page {
  readonly slot: number;
  readonly page: number;
  readonly bytes: Uint8Array;
  readonly isRead: boolean;
  readonly kind: string;
}

class Pages {
  readonly counters = new Counters();
  readonly failures: RotFailure[] = [];
  stale = 0;
  swapped = 0;
  readonly pages: readonly Page[];
  readonly #random: Random;

  constructor(
    readonly options: PagesOptions,
    readonly layout: Layout,
    read: readonly Uint8Array[],
  ) {
    const { image, slotBytes } = options.log;
    this.#random = new Random(options.seed, 4096);
    this.pages = image.flatMap((slotBytesNow, slot) =>
      Array.from({ length: slotBytes / PAGE }, (_, page) => {
        const from = page * PAGE;
        const isRead = read[slot]!.subarray(from, from + PAGE).includes(1);
        return { slot, page, bytes: slotBytesNow.subarray(from, from + PAGE), isRead, kind: this.#kind(slot, page) };
      }),
    );
  }

  /** The kind of a page: what lies at its start. */
  #kind(slot: number, page: number): string {
    const at = page * PAGE;
    const name =
      this.layout.regions.find((region) => region.slot === slot && region.from <= at && region.to > at)?.name ?? "?";
    if (name.startsWith("catalog")) return "catalog";
    const [kind = "?"] = name.split(": ");
    return page === 0 && kind !== "free slot"
      ? `${kind}: header page`
      : /batch|records/.test(name)
        ? `${kind}: batches`
        : name;
  }

  get done(): boolean {
    return this.failures.length >= (this.options.failuresMax ?? 20);
  }

  #chosen(every = 1): boolean {
    return this.#random.int(every) === 0;
  }

  /** True when the page begins or ends inside the part of a batch header that no checksum covers. */
  #breaksHeader({ slot, page }: Page): boolean {
    const borders = [page * PAGE, (page + 1) * PAGE];
    return this.layout.regions.some(
      (region) =>
        region.slot === slot &&
        /outside its checksum/.test(region.name) &&
        borders.some((at) => at > region.from && at < region.to),
    );
  }

  async runStale(): Promise<void> {
    for (const page of this.pages) {
      const seen = new Set([Buffer.from(page.bytes).toString("latin1")]);
      for (const [age, bytes] of (this.options.log.versions.get(`${page.slot}.${page.page}`) ?? []).entries()) {
        const content = Buffer.from(bytes).toString("latin1");
        if (seen.has(content) || this.done) continue;
        seen.add(content);
        if (page.isRead && !this.#chosen(this.options.every)) continue;
        this.stale++;
        const name = `stale: ${page.kind}`;
        if (page.isRead) await this.#survey(name, [[page, bytes]], `version ${age}`);
        else this.counters.add(`${name} | nothing reads it`);
      }
    }
  }

  async runSwapped(): Promise<void> {
    const cases = new Set<string>();
    for (const [i, a] of this.pages.entries()) {
      for (const b of this.pages.slice(i + 1)) {
        if (this.done || (!a.isRead && !b.isRead) || Buffer.compare(a.bytes, b.bytes) === 0) continue;
        if (!a.isRead || !b.isRead) {
          const [read, unread] = a.isRead ? [a, b] : [b, a];
          const key = `${read.slot}.${read.page} ${Buffer.from(unread.bytes).toString("latin1")}`;
          if (cases.has(key)) continue;
          cases.add(key);
        }
        if (!this.#chosen(this.options.everySwap)) continue;
        this.swapped++;
        const [first, second] = [a.kind, b.kind].sort();
        await this.#survey(
          `swapped: ${first} with ${second}`,
          [
            [a, b.bytes],
            [b, a.bytes],
          ],
          "",
        );
      }
    }
  }

  async #survey(name: string, changes: readonly (readonly [Page, Uint8Array])[], what: string): Promise<void> {
    const { kernel, log, onPages } = this.options;
    const image = [...log.image];
    for (const [{ slot, page }, bytes] of changes) {
      image[slot] = image[slot]!.slice();
      image[slot]!.set(bytes, page * PAGE);
    }
    try {
      const verdict: Verdict = await survey(kernel, new RotVolume(log.slotBytes, image), log, this.layout.whole);
      this.counters.add(`${name} | ${verdict.outcome === "refused" ? `refused ${verdict.note}` : verdict.outcome}`);
    } catch (thrown) {
      const where = `${name}, ${changes.map(([{ slot, page }]) => `slot ${slot} page ${page}`).join(" and ")} ${what}`;
      const { check } = thrown instanceof Violation ? thrown : { check: "" };
      if (check === "wrong-record" && changes.length === 2 && changes.every(([page]) => this.#breaksHeader(page)))
        this.counters.add(`${name} | ${MISFIT}`);
      else if (check === "lost-tail") this.counters.add(`${name} | ${GONE}`);
      else
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
    onPages?.(1);
  }
}

/**
 * Behind the mark, or when the mark's own page is stale, batches may vanish without a report: no trace of them is left.
 */
export const GONE = "the tail is gone without a trace";

/**
 * The one case in which two exchanged pages make a wrong record. Both pages begin at the same byte of a batch header,
 * within its first 21 bytes, which no checksum covers. Then the offset of one batch stands in front of the rest of
 * another, and the whole is a valid batch.
 */
const MISFIT = "A WRONG RECORD: the break is in the part of a header that no checksum covers";

export async function rotPages(options: PagesOptions): Promise<PagesResult> {
  const layout = await layoutOf(options.kernel, options.log);
  const pages = new Pages(options, layout, await readBytes(options.kernel, options.log, layout.whole));
  await pages.runStale();
  await pages.runSwapped();
  const { stale, swapped, failures, counters } = pages;
  return { stale, swapped, failures, counts: counters.counts };
}
