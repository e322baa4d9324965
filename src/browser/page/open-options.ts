/** Checks the options of open() before anything of the tide is touched. */
import type { OpenOptions } from "../api.ts";
import { type Check, callback, checkOptions, elsewhere, flag, oneOf, refused, signal } from "../../topic/check.ts";

/** The kernel, and where it comes from. */
export interface KernelGiven {
  readonly kernel: NonNullable<OpenOptions["kernel"]> | Promise<Response>;
  readonly kernelAt: string;
}

/**
 * Chromium doubles the quota that it grants to a growing file, so many files of this size use a quota far better than
 * one.
 */
export const SEGMENT_BYTES = 8 * 1024 * 1024;
const SEGMENT_BITS_MIN = 16;
const SEGMENT_BITS_MAX = 26;
/**
 * A leader that does not answer for this long hangs. With the time that the next one needs to open, appends go on
 * within three seconds.
 */
export const LEADER_TIMEOUT_MS = 2_500;
/** A shorter time would be less than a lease plus the time of an ordinary call. */
const LEADER_TIMEOUT_MS_MIN = 1_500;
/** A day. Timers can't wait longer than some 24 days; with a longer time they fire at once. */
const LEADER_TIMEOUT_MS_MAX = 86_400_000;
const NAME = /^(?!\.{1,2}$)[A-Za-z0-9._-]{1,100}$/;

export const segmentBytes: Check = (field, value) => {
  const bits = typeof value === "number" ? Math.log2(value) : NaN;
  if (!(bits >= SEGMENT_BITS_MIN && bits <= SEGMENT_BITS_MAX && bits % 1 === 0))
    throw refused(field, value, "a power of two from 64 KiB to 64 MiB");
};

const leaderTimeoutMs: Check = (field, value) => {
  if (typeof value === "number" && value >= LEADER_TIMEOUT_MS_MIN && value <= LEADER_TIMEOUT_MS_MAX) return;
  throw refused(field, value, `a number of milliseconds from ${LEADER_TIMEOUT_MS_MIN} to ${LEADER_TIMEOUT_MS_MAX}`);
};

const OPTIONS = {
  engine: oneOf("auto", "opfs", "indexeddb", "memory"),
  segmentBytes,
  persist: flag,
  worker: callback,
  signal,
  leaderTimeoutMs,
  // Looked at where they are used: assets and kernel before this, sync by the part that is loaded for it.
  assets: elsewhere,
  kernel: elsewhere,
  sync: elsewhere,
};

export function checkOpen(name: unknown, options: unknown): void {
  if (typeof name !== "string" || !NAME.test(name))
    throw refused("name", name, "1 to 100 of A-Z a-z 0-9 . _ - (and neither . nor ..)");
  checkOptions("open()", options, OPTIONS);
}
