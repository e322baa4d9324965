/** When a view's committed state is kept, and as what: the options of snapshots (view-snapshots.ts has the bytes). */
import { TidemarkError } from "../../errors.ts";
import { viewOfBytes } from "../../topic/bytes.ts";
import { callback, checkOptions, positive } from "../../topic/check.ts";
import type { SnapshotOptions, ViewOptions } from "../api.ts";
import { idle, idleFor } from "../platform/idle.ts";
import type { ChangingTopic } from "./topic-changes.ts";
import { type SnapshotPlace, ViewSnapshots } from "./view-snapshots.ts";

const OPTIONS = { everyRecords: positive, everyMs: positive, serialize: callback, deserialize: callback };
const EVERY_RECORDS = 10_000;
const EVERY_MS = 60_000;
/** The speed at which a snapshot is written, roughly. */
const WRITTEN_BYTES_PER_MS = 200_000;
/** A record costs at least this: clocks of pages are coarse, and it is read and decoded, too. */
const RECORD_MS = 0.001;

export interface KeptState<S> extends SnapshotPlace {
  readonly state: S;
}

/** What a view has folded since it was level before. */
export interface Grown {
  readonly changes: number;
  /** Without the turns of others in between. */
  readonly foldMs: number;
}

type Snapshots = Pick<ViewSnapshots, "all" | "keeper" | "write">;

function toJson(state: unknown): Uint8Array {
  try {
    return new TextEncoder().encode(JSON.stringify(state));
  } catch (thrown) {
    const text = `snapshot can't hold the view's state (${String(thrown)}): give serialize and deserialize`;
    throw new TidemarkError("INVALID_ARGUMENT", text, { field: "snapshot" });
  }
}
const fromJson = <S>(bytes: Uint8Array): S => JSON.parse(new TextDecoder().decode(bytes)) as S;

export class Keeping<S> {
  readonly #snapshots: Snapshots;
  readonly #options: SnapshotOptions<S>;
  /** Resolves when this tab keeps the view: true; or when it can't, because the view is closed: false. */
  #keeper: Promise<boolean> | undefined;
  /** Changes since the last snapshot, how long it took to fold them, and how large that snapshot is. */
  #changes = 0;
  #foldMs = 0;
  #bytes = 0;
  #isDue = false;
  /** The last try failed: the next one is not before everyMs, however many changes there are. */
  #hasFailed = false;

  constructor(snapshots: Snapshots, options: SnapshotOptions<S>) {
    this.#snapshots = snapshots;
    this.#options = options;
  }

  /** States that may go on, the newest first. One that can't be read does not count. */
  async stored(): Promise<KeptState<S>[]> {
    const { deserialize = fromJson } = this.#options as { deserialize?: (bytes: Uint8Array) => S | Promise<S> };
    const kept: KeptState<S>[] = [];
    const all = await this.#snapshots.all();
    this.#bytes = all[0]?.bytes.length ?? 0;
    for (const { stream, offset, bytes } of all) {
      try {
        kept.push({ stream, offset, state: await deserialize(bytes) });
      } catch {
        continue;
      }
    }
    return kept;
  }

  async write(state: S, place: SnapshotPlace): Promise<void> {
    const { serialize = toJson } = this.#options;
    const [changes, foldMs] = [this.#changes, this.#foldMs];
    this.#changes = this.#foldMs = 0;
    try {
      const made = serialize(state);
      // A copy before anything is waited for: another view's serialize() may write into the same buffer.
      const given = ArrayBuffer.isView(made) ? made : await made;
      const bytes = new Uint8Array(viewOfBytes("what serialize() gives", given));
      await this.#snapshots.write(bytes, place);
      this.#bytes = bytes.length;
      this.#hasFailed = false;
    } catch (error) {
      this.#changes += changes;
      this.#foldMs += foldMs;
      this.#hasFailed = true;
      throw error;
    }
  }

  /** Folding what the last snapshot has not takes longer than to write another one of its size. */
  get #isWorthIt(): boolean {
    return this.#foldMs > this.#bytes / WRITTEN_BYTES_PER_MS;
  }

  /**
   * Called when the view is level again, with the changes since then and the time that it took to fold them. The one
   * tab that keeps this view saves a snapshot when that is due and worth it.
   */
  grown({ changes, foldMs }: Grown, save: () => Promise<void>, signal: AbortSignal): void {
    const { everyRecords = EVERY_RECORDS, everyMs = EVERY_MS } = this.#options;
    // Another tab may keep this view for long, and this one takes its place then.
    this.#keeper ??= this.#snapshots.keeper(signal).then(
      () => true,
      () => false,
    );
    this.#changes += changes;
    this.#foldMs += Math.max(foldMs, changes * RECORD_MS);
    if (this.#isDue || !this.#isWorthIt) return;
    this.#isDue = true;
    const due = async (): Promise<void> => {
      for (let waited = 0; (this.#hasFailed || this.#changes < everyRecords) && waited < everyMs; waited += 1000) {
        await idleFor(Math.min(1000, everyMs));
        if (signal.aborted) return;
      }
      if (!(await this.#keeper)) return;
      await idle();
      this.#isDue = false;
      if (this.#changes > 0 && this.#isWorthIt && !signal.aborted) await save();
    };
    // Losing a snapshot costs time only. A save that fails is due again everyMs after the next change.
    due().catch(() => undefined);
  }
}

/** INVALID_ARGUMENT that names the wrong one. */
export const checkSnapshot = (snapshot: unknown): void => checkOptions("snapshot", snapshot, OPTIONS);

export function keepingOf<S, V>(topic: ChangingTopic<V>, options: ViewOptions<S, V>): Keeping<S> | undefined {
  const { snapshot = false, name, version = 1 } = options;
  if (snapshot === false) return undefined;
  return new Keeping(new ViewSnapshots(topic as ChangingTopic<never>, name, version), snapshot);
}
