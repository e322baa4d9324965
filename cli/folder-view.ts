/**
 * The content of a tide's folder at a moment, read beside the process that has it open.
 *
 *   catalog ── which slots are the topic's ──▶ recovery of its active slot, in memory ──▶ sync ──▶ records can be read
 *
 * The writer changes bytes that count in two ways only: it appends behind the active segment's end, and it takes a slot
 * again that a commit of the catalog has freed. A batch that is half written fails its checksum and is looked at later.
 * Bytes of a slot count only if the catalog, looked at afterwards, still names that slot for that segment.
 *
 * A batch behind the newest mark may not be durable yet, because its writer was killed or is still syncing. So this
 * process syncs the file before it shows what it read. Where the system refuses that, the mark is the limit.
 */
import { closeSync, openSync, readSync } from "node:fs";
import path from "node:path";
import { TidemarkError } from "../src/errors.ts";
import type { Kernel } from "../src/kernel/types.ts";
import { withDefaults } from "../src/log/limits.ts";
import { LogReads } from "../src/log/log-reads.ts";
import { syncedError } from "../src/node/direct-calls.ts";
import { slotFile } from "../src/node/file-volume.ts";
import { Catalog, type CatalogState, type LogEntry } from "../src/store/catalog.ts";
import { CATALOG_PAYLOAD_AT } from "../src/store/catalog-layout.ts";
import { refuseForeignCatalog, refuseLostCatalog } from "../src/store/check-catalog.ts";
import { lostSegment, recoverLog, type RecoveredLog } from "../src/store/recover-log.ts";
import { slotBatchBytesMax } from "../src/store/sections-room.ts";
import { SegmentReader } from "../src/store/segment-reader.ts";
import { walkValid } from "../src/store/segment-walk.ts";
import { Segment } from "../src/store/segment.ts";
import { SegmentedLog } from "../src/store/segmented-log.ts";
import { BODY_AT } from "../src/store/slot-layout.ts";
import { readMark, readRole, whose } from "../src/store/slot-read.ts";
import { roleOf } from "../src/store/slot.ts";
import type { StoreContext } from "../src/store/store-context.ts";
import { CATALOG_SLOTS } from "../src/store/volume.ts";
import { outboxName } from "../src/sync/log-names.ts";
import { logName } from "../src/topic/log-names.ts";
import { checkTopicName } from "../src/topic/names.ts";
import { logSettingsOf, soundSettings, type TopicSettings } from "../src/topic/settings.ts";
import { ReadOnlyFiles } from "./read-only-files.ts";

/**
 * The catalog is read again this often if it changes meanwhile. A reading is far quicker than a commit, which syncs.
 */
const TRIES_MAX = 100;
const COPIES = [0, 1] as const;

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** The first bytes of both copies: each commit changes them before anything that it frees is written to. */
function headsOf(folder: string): string {
  return COPIES.map((slot) => {
    const head = Buffer.alloc(CATALOG_PAYLOAD_AT);
    let fd: number | undefined;
    try {
      fd = openSync(path.join(folder, slotFile(slot)), "r");
      readSync(fd, head, 0, head.length, 0);
    } catch (thrown) {
      if ((thrown as NodeJS.ErrnoException).code !== "ENOENT") throw thrown;
    } finally {
      if (fd !== undefined) closeSync(fd);
    }
    return head.toString("latin1");
  }).join();
}

interface Seen {
  readonly files: ReadOnlyFiles;
  readonly state: CatalogState;
  readonly generation: number;
  readonly heads: string;
}

const isCurrent = ({ files, heads }: Seen): boolean => headsOf(files.folder) === heads;

/** NO_STORAGE, CORRUPT_CATALOG, UNSUPPORTED_FORMAT, STORAGE_FAILED. */
async function readCatalog(folder: string, kernel: Kernel): Promise<Seen> {
  for (let tries = 1; ; tries++) {
    const heads = headsOf(folder);
    const files = new ReadOnlyFiles(folder);
    let thrown: unknown;
    try {
      const { catalog, state } = await Catalog.read(files, kernel);
      if (state) await refuseForeignCatalog(files, kernel, state);
      else await refuseLostCatalog(files, kernel);
      if (headsOf(folder) === heads) {
        const empty: CatalogState = { epoch: 0, usedSlots: CATALOG_SLOTS, logs: [] };
        return { files, state: state ?? empty, generation: catalog.generation, heads };
      }
    } catch (error) {
      thrown = error;
    }
    if (tries >= TRIES_MAX || (thrown !== undefined && headsOf(folder) === heads))
      throw thrown ?? new TidemarkError("TIMEOUT", `the catalog in ${folder} changes all the time`, { folder });
    await turn();
  }
}

/** Stands for the store, of which a log that is only read needs this much. */
function contextOf({ files, state, generation }: Seen, kernel: Kernel): StoreContext {
  const tide = state.id ?? "";
  const refuse = async (): Promise<never> => {
    throw new TidemarkError("INTERNAL", "a log that is only read is not changed");
  };
  const reader = new SegmentReader(files, kernel, undefined, async (segment) =>
    whose(await readRole(kernel, files, segment.slot), roleOf(tide, segment.log, segment)),
  );
  return {
    volume: files,
    kernel,
    reader,
    now: Date.now,
    epoch: state.epoch,
    batchBytesMax: slotBatchBytesMax(files.slotBytes),
    nextGeneration: generation + 1,
    check: () => undefined,
    change: refuse,
    beginAppending: refuse,
    beginSegment: refuse,
    reserveSlots: refuse,
    release: () => undefined,
    ownerOf: ({ log, begun }) => `${tide}/${log}/${begun}`,
    poisonOnFailure: (work) => work(),
    poison: (error) => TidemarkError.from(error),
  };
}

/** The segments with which a log goes on whose active slot is not its own, as an opening would have them. */
function segmentsOf({ segments, entry, replace, recovery: { lost } }: RecoveredLog): readonly Segment[] {
  if (!replace || !lost) return segments;
  const active = segments.at(-1)!;
  const next = new Segment({ ...active.entry(), baseOffset: lost.to }, active.log);
  const before = segments.slice(0, -1);
  return lost.to > lost.from ? [...before, lostSegment(active, entry, lost, Date.now()), next] : [...before, next];
}

const sameSegment = (a: Pick<Segment, "slot" | "begun" | "baseOffset">, b: typeof a): boolean =>
  a.slot === b.slot && a.begun === b.begun && a.baseOffset === b.baseOffset;

/** One topic's log at a moment. */
export class ViewedLog {
  readonly log: SegmentedLog;
  readonly reads: LogReads;
  readonly settings: TopicSettings;
  readonly #seen: Seen;
  readonly #entry: LogEntry;
  readonly #kernel: Kernel;

  constructor(seen: Seen, kernel: Kernel, found: RecoveredLog) {
    this.#seen = seen;
    this.#kernel = kernel;
    this.#entry = found.entry;
    const segments = segmentsOf(found);
    this.log = new SegmentedLog(
      contextOf(seen, kernel),
      { ...found.entry, appending: 0 },
      { mark: found.mark, recovery: found.recovery, segments },
    );
    this.settings = soundSettings(found.entry.settings);
    const settings = withDefaults(logSettingsOf(this.settings));
    this.reads = new LogReads({
      store: this.log,
      kernel,
      waitersMax: 1,
      settings: () => settings,
      check: () => undefined,
      breathe: turn,
    });
  }

  get #active(): Segment {
    return this.log.all.at(-1)!;
  }

  /** False once the catalog may say something else. */
  isCurrent(): boolean {
    return isCurrent(this.#seen);
  }

  /**
   * True if these segments still have their slots, so that what was read of them is theirs. CLOSED: another tide is in
   * the folder now. UNKNOWN_TOPIC: the topic was deleted.
   */
  async stillHas(segments: readonly Segment[]): Promise<boolean> {
    if (this.isCurrent()) return true;
    const { files, state } = this.#seen;
    const now = await readCatalog(files.folder, this.#kernel);
    const { name, born } = this.#entry;
    if (now.state.id !== state.id)
      throw new TidemarkError("CLOSED", `another tide is in ${files.folder} now`, { folder: files.folder });
    const entry = now.state.logs.find((each) => each.name === name);
    if (entry?.born !== born || !entry)
      throw new TidemarkError("UNKNOWN_TOPIC", "the topic was deleted", { log: name, deleted: true });
    return segments.every((segment) => entry.segments.some((each) => sameSegment(each, segment)));
  }

  /** Lets reads see what is behind the limit, as far as it is durable. */
  async settle(): Promise<void> {
    const { files } = this.#seen;
    const active = this.#active;
    const end = { offset: active.nextOffset, position: active.bytes };
    if (end.offset === this.reads.highWatermark && this.#isSettled) return;
    this.log.flushed = (await files.sync([active.slot])) ? end : await this.#marked();
    this.#isSettled = true;
    this.reads.raiseHighWatermark(this.log.flushed.offset);
  }
  #isSettled = false;

  /** Where this system syncs nothing for readers: what the writer has said that it synced. */
  async #marked(): Promise<{ readonly offset: number; readonly position: number }> {
    const { end } = this.#entry;
    const mark = await readMark(this.#kernel, this.#seen.files, this.#active);
    const durable = mark && mark.position > end.position ? mark : end;
    this.#isSettled = false;
    return { offset: Math.max(durable.nextOffset, this.log.logStartOffset), position: durable.position };
  }

  /** Goes on behind the end. False: only a new look at the whole can tell. */
  async extend(): Promise<boolean> {
    const { appending } = this.#entry;
    const active = this.#active;
    if (appending < 0 || active.sealed || !this.isCurrent()) return false;
    if (appending > 0) {
      const { files } = this.#seen;
      const epochs = { minEpoch: appending, maxEpoch: appending };
      const walk = { volume: files, kernel: this.#kernel, segment: active, allowGaps: false, ...epochs };
      await walkValid(walk, files.slotBytes - BODY_AT);
      if (!(await this.stillHas([active]))) return false;
    }
    await this.settle();
    return true;
  }
}

export class FolderView {
  readonly #seen: Seen;
  readonly #kernel: Kernel;

  private constructor(seen: Seen, kernel: Kernel) {
    this.#seen = seen;
    this.#kernel = kernel;
  }

  /** Errors as in readCatalog(). */
  static async of(folder: string, kernel: Kernel): Promise<FolderView> {
    const seen = await readCatalog(folder, kernel);
    // A commit counts once it is synced, and its sync may still be under way.
    await seen.files.sync(COPIES);
    return new FolderView(seen, kernel);
  }

  /** Names of all logs, as the store has them. */
  names(): readonly string[] {
    return this.#seen.state.logs.map(({ name }) => name);
  }

  /** False once the catalog may say something else. */
  isCurrent(): boolean {
    return isCurrent(this.#seen);
  }

  /** Undefined: there is no such topic. INVALID_ARGUMENT: it is synced with an edge. */
  async topic(topic: string): Promise<ViewedLog | undefined> {
    checkTopicName(topic);
    const { files, state, generation } = this.#seen;
    if (this.names().includes(outboxName(topic))) throw syncedError(topic);
    const entry = state.logs.find(({ name }) => name === logName(topic));
    if (!entry) return undefined;
    const disk = { volume: files, kernel: this.#kernel, tide: state.id ?? "", generation, epoch: state.epoch };
    const view = new ViewedLog(this.#seen, this.#kernel, await recoverLog(disk, entry));
    await view.settle();
    return view;
  }
}
