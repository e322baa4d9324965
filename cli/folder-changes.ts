/**
 * Tells that something was written in a folder. The system says so where it can; a look once a second does for file
 * systems that say nothing.
 */
import { type FSWatcher, watch } from "node:fs";

const LOOK_MS = 1_000;

export class FolderChanges {
  readonly #watcher: FSWatcher | undefined;
  #isPending = false;
  #wake: (() => void) | undefined;

  constructor(folder: string) {
    try {
      this.#watcher = watch(folder, () => this.#changed());
      // A system may stop telling of changes, so the reader also looks by itself.
      this.#watcher.on("error", () => undefined);
    } catch {
      this.#watcher = undefined;
    }
  }

  #changed(): void {
    this.#isPending = true;
    this.#wake?.();
  }

  /** Says that a look begins: it will see all that is written up to now. */
  seen(): void {
    this.#isPending = false;
  }

  /** Resolves at a change since seen(), after a second, or by the signal. */
  async next(signal: AbortSignal | undefined): Promise<void> {
    if (this.#isPending || signal?.aborted) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, LOOK_MS);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
      signal?.addEventListener("abort", this.#wake, { once: true });
    });
    if (this.#wake) signal?.removeEventListener("abort", this.#wake);
    this.#wake = undefined;
  }

  close(): void {
    this.#watcher?.close();
  }
}
