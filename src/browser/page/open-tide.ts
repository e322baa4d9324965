/**
 * What open() does: it makes a page, a volume and a worker that leads it. The page that holds the Web Lock
 * "tidemark:<name>" leads; every other tab reaches the leader's worker over a port (membership.ts).
 *
 *   page holds Web Lock "tidemark:<name>"  ──▶ a second page follows, and leads when it gets the lock
 *   worker holds a lock of its own         ──▶ when it comes free, the worker is gone: every waiting call is ended
 */
import { TidemarkError } from "../../errors.ts";
import { compileKernel } from "../../kernel/load.ts";
import type { Kernel } from "../../kernel/types.ts";
import { instantiateKernel } from "../../kernel/wasm-kernel.ts";
import type { OpenOptions, Tide } from "../api.ts";
import { loadFailed } from "../platform/load.ts";
import { takeLock } from "../platform/locks.ts";
import { BrowserTide } from "./browser-tide.ts";
import { checkOpen, type KernelGiven, LEADER_TIMEOUT_MS, SEGMENT_BYTES } from "./open-options.ts";

/**
 * Opens the tide of this name, and makes it if it is new. NO_STORAGE, CORRUPT_CATALOG, QUOTA_EXCEEDED, LOAD_FAILED,
 * TIMEOUT.
 */
export async function openTide(
  name: string,
  options: OpenOptions,
  { kernel: source, kernelAt }: KernelGiven = options as KernelGiven,
): Promise<Tide> {
  checkOpen(name, options);
  const { segmentBytes = SEGMENT_BYTES, leaderTimeoutMs = LEADER_TIMEOUT_MS, signal } = options;
  signal?.throwIfAborted();
  // Loaded while the worker starts. What fails here fails again, and is told, when it is needed.
  if (options.sync) import("../sync/page-sync.ts").catch(() => undefined);
  const kernel = usableKernel(source).catch((cause: unknown) => {
    throw loadFailed("kernel.wasm", kernelAt, cause);
  });
  const module = kernel.then((usable) => usable.module);
  // Compiled while the worker starts.
  const tide = new BrowserTide(name, { ...options, segmentBytes, leaderTimeoutMs, kernel: module });
  const loaded = kernel.then((usable) => void (tide.kernel = usable.kernel));
  // Both promises are awaited where they are needed, and their failures are reported there.
  for (const each of [module, loaded]) each.catch(() => undefined);
  const abort = (): void => tide.end(new TidemarkError("CLOSED", "aborted", { reason: "closed" }));
  signal?.addEventListener("abort", abort);
  try {
    const unlock = await takeLock(tide.lock, { ifAvailable: true });
    const follow = async (): Promise<void> => (await tide.meet()).follow();
    // Locked files belong to a leader that hangs, or to one that is ending. The code of tabs/ handles both.
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
    if (options.sync) await tide.sync(options.sync);
    return tide;
  } catch (thrown) {
    tide.end(TidemarkError.from(thrown));
    signal?.throwIfAborted();
    throw thrown;
  } finally {
    signal?.removeEventListener("abort", abort);
  }
}

/** Compiled and started once in this page, before any worker gets it. */
async function usableKernel(source: KernelGiven["kernel"]): Promise<{ module: WebAssembly.Module; kernel: Kernel }> {
  const module = await compileKernel(source);
  return { module, kernel: await instantiateKernel(module) };
}

/**
 * Removes the tide of this name with all its records for good, in whichever engine it is. Tabs that have it open are
 * closed. Does nothing if there is none. ALREADY_OPEN if a tab does not close it; the next call or open() finishes what
 * was begun.
 */
export async function destroyNamed(name: string, options: Pick<OpenOptions, "assets"> = {}): Promise<void> {
  checkOpen(name, options);
  await (await import("../volume/destroy.ts")).destroyTide(name);
}
