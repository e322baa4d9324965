/**
 * What open() does: a page, a volume, and the worker that leads it. Whoever holds the Web Lock "tidemark:<name>"
 * leads; every other tab reaches the leader's worker over a port (membership.ts).
 *
 *   page holds Web Lock "tidemark:<name>"  ──▶ a second page follows, and leads when the lock is its own
 *   worker holds a lock of its own         ──▶ when it is free, the worker is gone: every call that waits is settled
 */
import { TidemarkError } from "../../errors.ts";
import { compileKernel } from "../../kernel/load.ts";
import type { Kernel } from "../../kernel/types.ts";
import { instantiateKernel } from "../../kernel/wasm-kernel.ts";
import type { OpenOptions, Tide } from "../api.ts";
import { loadFailed } from "../platform/load.ts";
import { takeLock } from "../platform/locks.ts";
import { BrowserTide } from "./browser-tide.ts";
import { checkOpen, LEADER_TIMEOUT_MS, SEGMENT_BYTES } from "./open-options.ts";

/** The kernel, and where it comes from. */
export interface KernelGiven {
  readonly kernel: NonNullable<OpenOptions["kernel"]> | Promise<Response>;
  readonly kernelAt: string;
}

/**
 * Opens the tide of this name, makes it when it is new. NO_STORAGE, CORRUPT_CATALOG, QUOTA_EXCEEDED, LOAD_FAILED,
 * TIMEOUT.
 */
export async function openTide(name: string, options: OpenOptions & KernelGiven): Promise<Tide> {
  checkOpen(name, options);
  const { segmentBytes = SEGMENT_BYTES, leaderTimeoutMs = LEADER_TIMEOUT_MS, signal } = options;
  signal?.throwIfAborted();
  const kernel = usableKernel(options.kernel).catch((cause: unknown) => {
    throw loadFailed("kernel.wasm", options.kernelAt, cause);
  });
  const module = kernel.then((usable) => usable.module);
  // Compiled while the worker starts.
  const tide = new BrowserTide(name, { ...options, segmentBytes, leaderTimeoutMs, kernel: module });
  const loaded = kernel.then((usable) => void (tide.kernel = usable.kernel));
  // Each is awaited where it is needed, and its failure is told there.
  for (const each of [module, loaded]) each.catch(() => undefined);
  const abort = (): void => tide.end(new TidemarkError("CLOSED", "open() was aborted", { reason: "closed" }));
  signal?.addEventListener("abort", abort);
  try {
    const unlock = await takeLock(tide.lock, { ifAvailable: true });
    const follow = async (): Promise<void> => (await tide.meet()).follow();
    // Locked files are of a leader that hangs, or of one that is ending: the tabs know what to do.
    await Promise.all([
      loaded,
      unlock
        ? tide
            .lead(unlock)
            .catch((thrown: TidemarkError) =>
              tide.tabs || thrown.code === "ALREADY_OPEN" ? follow() : Promise.reject(thrown),
            )
        : follow(),
    ]);
    signal?.throwIfAborted();
    return tide;
  } catch (thrown) {
    tide.end(TidemarkError.from(thrown));
    signal?.throwIfAborted();
    throw thrown;
  } finally {
    signal?.removeEventListener("abort", abort);
  }
}

/** Started once in this page, before any worker gets it. */
async function usableKernel(source: KernelGiven["kernel"]): Promise<{ module: WebAssembly.Module; kernel: Kernel }> {
  const module = await compileKernel(source);
  return { module, kernel: await instantiateKernel(module) };
}

/**
 * Removes the tide of this name, whole, in whichever engine it is: all its records, for good. Tabs that have it open
 * are closed. Nothing happens where there is none. ALREADY_OPEN: a tab does not let go of it; what has begun is ended
 * by the next call or open().
 */
export async function destroy(name: string): Promise<void> {
  checkOpen(name, {});
  await (await import("../volume/destroy.ts")).destroyTide(name);
}
