/** When a view's committed state is kept, and as what: the options of snapshots (view-snapshots.ts has the bytes). */
import { callback, checkOptions, positive } from "../../topic/check.ts";
import type { SnapshotOptions, ViewOptions } from "../api.ts";
import { idle, idleFor } from "../platform/idle.ts";
import type { ChangingTopic } from "./topic-changes.ts";
import { type SnapshotPlace, ViewSnapshots } from "./view-snapshots.ts";

const OPTIONS = { everyRecords: positive, everyMs: positive, serialize: callback, deserialize: callback };
const EVERY_RECORDS = 10_000;
const EVERY_MS = 60_000;

export interface KeptState<S> extends SnapshotPlace {
  readonly state: S;
}

type Snapshots = Pick<ViewSnapshots, "all" | "keeper" | "write">;

const toJson = (state: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(state));
const fromJson = <S>(bytes: Uint8Array): S => JSON.parse(new TextDecoder().decode(bytes)) as S;

export class Keeping<S> {
  readonly #snapshots: Snapshots;
  readonly #options: SnapshotOptions<S>;
  /** Resolves when this tab keeps the view: true; or when it can't, because the view is closed: false. */
  #keeper: Promise<boolean> | undefined;
  /** Committed changes since the last snapshot. */
  #changes = 0;
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
    for (const { stream, offset, bytes } of await this.#snapshots.all()) {
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
    const changes = this.#changes;
    this.#changes = 0;
    try {
      await this.#snapshots.write(await serialize(state), place);
      this.#hasFailed = false;
    } catch (error) {
      this.#changes += changes;
      this.#hasFailed = true;
      throw error;
    }
  }

  /** The view is level after so many changes. The one tab that keeps this view saves when it is due. */
  grown(changes: number, save: () => Promise<void>, signal: AbortSignal): void {
    const { everyRecords = EVERY_RECORDS, everyMs = EVERY_MS } = this.#options;
    // Another tab may keep this view for long, and this one takes its place then.
    this.#keeper ??= this.#snapshots.keeper(signal).then(
      () => true,
      () => false,
    );
    this.#changes += changes;
    if (this.#isDue) return;
    this.#isDue = true;
    const due = async (): Promise<void> => {
      for (let waited = 0; (this.#hasFailed || this.#changes < everyRecords) && waited < everyMs; waited += 1000) {
        await idleFor(Math.min(1000, everyMs));
        if (signal.aborted) return;
      }
      if (!(await this.#keeper)) return;
      await idle();
      this.#isDue = false;
      if (this.#changes > 0 && !signal.aborted) await save();
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
