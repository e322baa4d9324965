/** The options with which an engine opens a tide's volume, and the errors when engines refuse. */
import { TidemarkError } from "../../errors.ts";
import type { Engine, Volume, VolumeInfo } from "../../store/volume.ts";
import type { OpfsFiles } from "./opfs-files.ts";

export interface VolumeChoice {
  readonly name: string;
  readonly engine: Engine | "auto";
  readonly slotBytes: number;
  /** A hung leader may keep files locked (copying-volume.ts). */
  readonly takeover?: boolean | undefined;
  readonly lifeLock?: string;
  /** The tide was open before: if it is gone, no new one is made in its place (CLOSED, reason "cleared"). */
  readonly isThere?: boolean | undefined;
  /** For a tide that exists and was found by another tab. */
  readonly known?: {
    readonly engine: Engine;
    readonly durability: VolumeInfo["durability"];
    /** In OPFS: the files that were opened in advance. */
    readonly files?: OpfsFiles;
  };
}

export interface Rejected {
  readonly engine: Engine;
  readonly reason: string;
}

export interface VolumeOptions {
  readonly name: string;
  /** The files in OPFS. Default: those in the volume's directory. */
  readonly files?: OpfsFiles;
  /** Used for a new volume. An existing one keeps its own. */
  readonly slotBytes: number;
  readonly durability?: VolumeInfo["durability"];
  /** True if some of the files are locked (copying-volume.ts). Default: true if there are still copies. */
  readonly takeover?: boolean | undefined;
  /** The lock of the worker that opens it. */
  readonly lifeLock?: string;
  /** The volume was there before: it is not made again (CLOSED, reason "cleared"). */
  readonly isThere?: boolean | undefined;
}

export type VolumeOpener = (
  choice: VolumeChoice,
) => Promise<{ readonly volume: Volume; readonly rejected: readonly Rejected[] }>;
export type Openers = { readonly [engine in Engine]: (options: VolumeOptions) => Promise<Volume> };
/** The reason for which this engine is refused. Throws errors that no other engine would avoid. */
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
