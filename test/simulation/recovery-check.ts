/** Compares an open's recovery report with the model, and checks that a second open finds nothing to do. */
import type { Kernel } from "../../src/kernel/types.ts";
import type { LogApi } from "../../src/log/types.ts";
import { Catalog } from "../../src/store/catalog.ts";
import { CATALOG_SLOTS } from "../../src/store/volume.ts";
import { MemoryVolume } from "../../src/store/memory-volume.ts";
import type { Counters } from "./counters.ts";
import { type LogModel, Violation } from "./model.ts";
import type { CrashKind } from "./plan.ts";

/** The worst end of a life since the last good open. */
export interface Ended {
  readonly kind: CrashKind;
  readonly clean: boolean;
}

/** Called before any read. From here on the model's log ends where the opened log ends. */
export function checkReport(
  log: LogApi,
  model: LogModel,
  ended: Ended,
  doubts: { readonly rotten: boolean; readonly lied: boolean },
  counters: Counters,
): void {
  const { rotten, lied } = doubts;
  const { cut, quarantined, cleanShutdown, logEndOffset, logStartOffset } = log.recovery;
  if (log.logEndOffset !== logEndOffset || log.logStartOffset !== logStartOffset) {
    throw new Violation(
      "report",
      `says ${logStartOffset}…${logEndOffset}, the log has ${log.logStartOffset}…${log.logEndOffset}`,
    );
  }
  const floor = model.floor(ended.kind);
  if (logEndOffset < floor) {
    // The last flush has no mark yet: recovery can't tell rot there from a torn tail, or zeros from unused space.
    if (!rotten || logEndOffset < model.marked) {
      throw new Violation(
        "lost-acked",
        `the log ends at ${logEndOffset}, acknowledged up to ${floor} (marked ${model.marked}, cut ` +
          `${JSON.stringify(cut)})`,
      );
    }
    counters.add(cut ? "rot.cut" : "rot.cut-unseen");
    model.lost.push({ from: logEndOffset, to: floor });
  }
  if (cut && cut.offset < Math.min(floor, logEndOffset))
    throw new Violation("cut-below-ack", `cut at ${cut.offset}, acknowledged up to ${floor}`);
  if (ended.clean && !rotten && (!cleanShutdown || cut)) {
    throw new Violation("not-clean", `after a close: clean ${cleanShutdown}, cut ${JSON.stringify(cut)}`);
  }
  if (!rotten && !lied && quarantined.length > 0)
    throw new Violation("false-damage", `reported: ${JSON.stringify(quarantined)}`);
  model.cutAt(logEndOffset);
}

/**
 * Compares the durable bytes after one recovery and after the next: only epochs and marks may differ. With rot, the
 * noted damage may differ as well: recovery searches for damage after a kill, but not after a clean close.
 */
export async function checkTwice(
  kernel: Kernel,
  before: readonly Uint8Array[],
  after: readonly Uint8Array[],
  logs: readonly Pick<LogApi, "segments">[],
  rotten: boolean,
): Promise<void> {
  const actives = new Set(logs.map((log) => log.segments().at(-1)?.slot));
  for (const [slot, bytes] of after.entries()) {
    if (slot < CATALOG_SLOTS) continue;
    const was = before[slot];
    // Roles and batches must be unchanged; the two marks of an active slot carry the new epoch.
    const from = actives.has(slot) ? 3 * 512 : 0;
    for (let at = 0; at < bytes.length; at++) {
      if (at >= 512 && at < from) continue;
      if (bytes[at] !== (was?.[at] ?? 0)) throw new Violation("second-recovery", `changed byte ${at} of slot ${slot}`);
    }
  }
  const [was, is] = [await readCatalog(kernel, before, rotten), await readCatalog(kernel, after, rotten)];
  if (was !== is) throw new Violation("second-recovery", `the catalog was ${was}, now ${is}`);
}

async function readCatalog(kernel: Kernel, images: readonly Uint8Array[], rotten: boolean): Promise<string> {
  const volume = new MemoryVolume({ slotBytes: images[0]!.length, slots: CATALOG_SLOTS });
  for (let slot = 0; slot < CATALOG_SLOTS; slot++) await volume.write(slot, 0, images[slot]!);
  const { state, copies } = await Catalog.read(volume, kernel);
  return JSON.stringify({ logs: state?.logs.map((log) => (rotten ? { ...log, quarantined: [] } : log)), copies });
}
