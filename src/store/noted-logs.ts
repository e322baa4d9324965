/**
 * Logs with a note: what another part keeps in a log's catalog entry (docs/sync.md). Loaded by that part alone.
 *
 *   saveNotes   catalog committed (all of these notes)                     crash: all as before, or all new
 *   renameLog   catalog committed (the log's new name and its note)        its slots go on to say the first name
 */
import { TidemarkError } from "../errors.ts";
import type { StoredSettings } from "./catalog.ts";
import type { SegmentStore } from "./segment-store.ts";
import type { SegmentedLog } from "./segmented-log.ts";

export type Noted = readonly [log: SegmentedLog, note: StoredSettings | undefined];

/** Several logs' notes in one commit. A log without a note from now on is given undefined. */
export async function saveNotes(store: SegmentStore, noted: readonly Noted[]): Promise<void> {
  for (const [log] of noted) log.check();
  await store.change(async (change) => {
    await change.commit(noted.map(([log, note]) => ({ ...log.entry(), note })));
    for (const [log, note] of noted) log.note = note;
  });
}

/**
 * The log has another name from now on, and this note; no byte of it moves. Of its first name a new log may be made. In
 * the same commit `others` get their notes. INVALID_ARGUMENT: there is a log of that name.
 */
export async function renameLog(
  store: SegmentStore,
  log: SegmentedLog,
  name: string,
  note: StoredSettings | undefined,
  ...others: readonly Noted[]
): Promise<void> {
  log.check();
  await store.change(async (change) => {
    if (store.bornOf(name) !== undefined)
      throw new TidemarkError("INVALID_ARGUMENT", `there is a log ${name}`, { field: "name", name });
    const former = log.name;
    const entry = log.entry();
    const changed = others.map(([each, its]) => ({ ...each.entry(), note: its }));
    await change.commit([{ ...entry, name, note, madeAs: entry.madeAs ?? former }, ...changed], former);
    for (const [each, its] of others) each.note = its;
    log.name = name;
    log.note = note;
    store.adopt(log);
  });
}
