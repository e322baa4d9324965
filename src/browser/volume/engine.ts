/** What an engine is asked for when a tide's volume is opened, and what is said of one that refuses. */
import { TidemarkError } from "../../errors.ts";
import type { Engine, Volume, VolumeInfo } from "../../store/volume.ts";
import type { OpfsFiles } from "./opfs-files.ts";

export interface VolumeChoice {
  readonly name: string;
  readonly engine: Engine | "auto";
  readonly slotBytes: number;
  /** A leader that hangs may keep files locked (copying-volume.ts). */
  readonly takeover?: boolean | undefined;
  readonly lifeLock?: string;
  /** It was open before: nothing is made in its place (CLOSED, reason "cleared"). */
  readonly isThere?: boolean | undefined;
  /** Of one that is there, and was found by another tab. */
  readonly known?: {
    readonly engine: Engine;
    readonly durability: VolumeInfo["durability"];
    /** In OPFS: what it opened ahead. */
    readonly files?: OpfsFiles;
  };
}

export interface Rejected {
  readonly engine: Engine;
  readonly reason: string;
}

export interface VolumeOptions {
  readonly name: string;
  /** OPFS. Default: those in the volume's directory. */
  readonly files?: OpfsFiles;
  /** For a new volume; an existing one keeps its own. */
  readonly slotBytes: number;
  readonly durability?: VolumeInfo["durability"];
  /** Some of the files are locked (copying-volume.ts). Default: where there are still copies of such. */
  readonly takeover?: boolean | undefined;
  /** Of the worker that opens it. */
  readonly lifeLock?: string;
  /** It was there before: it is not made anew (CLOSED, reason "cleared"). */
  readonly isThere?: boolean | undefined;
}

export type VolumeOpener = (
  choice: VolumeChoice,
) => Promise<{ readonly volume: Volume; readonly rejected: readonly Rejected[] }>;
export type Openers = { readonly [engine in Engine]: (options: VolumeOptions) => Promise<Volume> };
/** Why this engine is refused; throws what no other engine would make better. */
export function rejection(engine: Engine, thrown: unknown): Rejected {
  const error = TidemarkError.from(thrown, "STORAGE_FAILED");
  if (error.code === "ALREADY_OPEN" || error.code === "UNSUPPORTED_FORMAT" || error.code === "CLOSED") throw error;
  return { engine, reason: error.message };
}

export function noStorage(home: Engine | undefined, rejected: readonly Rejected[]): TidemarkError {
  const reasons = rejected.map((each) => `${each.engine}: ${each.reason}`).join("; ");
  return new TidemarkError(
    "NO_STORAGE",
    `${home ? `this tide is in ${home}, which fails` : "no engine works"}: ${reasons}`,
    { home },
  );
}
