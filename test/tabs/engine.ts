/**
 * A browser other than Chromium, as the tabs suite needs it: its tabs, their commands, and the faults that can strike
 * them.
 */
import type { TabConfig, TabPage } from "./events.ts";

export interface EngineTab {
  readonly number: number;
  /** True when the tab is gone or about to go. */
  struck: boolean;
  call<M extends keyof TabPage>(method: M, ...args: Parameters<TabPage[M]>): Promise<Awaited<ReturnType<TabPage[M]>>>;
  close(): Promise<void>;
  /** Kills its process. */
  crash(): Promise<void>;
  /** Stops its process until the returned function is called. */
  stop(): Promise<() => void>;
}

/** A tab whose process is known and not shared. */
export abstract class ProcessTab implements EngineTab {
  struck = false;
  abstract readonly number: number;
  abstract readonly process: number;
  abstract call<M extends keyof TabPage>(
    method: M,
    ...args: Parameters<TabPage[M]>
  ): Promise<Awaited<ReturnType<TabPage[M]>>>;
  protected abstract closePage(): Promise<void>;

  async close(): Promise<void> {
    this.struck = true;
    await this.closePage();
  }

  async crash(): Promise<void> {
    this.struck = true;
    process.kill(this.process, "SIGKILL");
  }

  async stop(): Promise<() => void> {
    process.kill(this.process, "SIGSTOP");
    return () => void process.kill(this.process, "SIGCONT");
  }
}

export interface EngineBrowser {
  readonly version: string;
  /** Opens a new tab and the tide in it. */
  open(config: Omit<TabConfig, "tab">): Promise<EngineTab>;
  end(): Promise<void>;
}

/** A script that keeps the page's thread busy. */
export const BURN = "for (const until = performance.now() + 250; performance.now() < until; );";
