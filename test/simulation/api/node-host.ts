/** Histories over folders of `tidemark/node`. A crash is a copy of the folder, taken at once. */
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { events, open } from "../../../src/node/index.ts";
import { type Host, runHistory, type Step } from "./history.ts";

export class Folders {
  readonly #home = mkdtempSync(path.join(os.tmpdir(), "tidemark-api-"));
  #made = 0;

  remove(): void {
    rmSync(this.#home, { recursive: true, force: true });
  }

  #new(): string {
    return path.join(this.#home, String(this.#made++));
  }

  #host(): Host {
    let folder = this.#new();
    let next = folder;
    return {
      events: events as never,
      open: (segmentBytes) => open(folder, { segmentBytes }),
      openAgain: () => open(folder),
      crash: () => cpSync(folder, (next = this.#new()), { recursive: true }),
      useCrashed: () => void (folder = next),
      openOther: () => open(this.#new(), { segmentBytes: 131_072 }),
    };
  }

  /** The failure of a history; undefined without one. */
  async failureOf(seed: number, steps: readonly Step[], counts: Record<string, number>): Promise<Error | undefined> {
    try {
      await runHistory(seed, steps, this.#host(), counts);
      return undefined;
    } catch (thrown) {
      return thrown as Error;
    } finally {
      while (this.#made > 0) rmSync(path.join(this.#home, String(--this.#made)), { recursive: true, force: true });
    }
  }
}
