/**
 * A browser that is not Chromium, as the tabs suite needs it: tabs that are told what to do, and what can happen to
 * each.
 */
import type { TabConfig, TabPage } from "./events.ts";

export interface EngineTab {
  readonly number: number;
  /** It is gone, or soon will be. */
  struck: boolean;
  call<M extends keyof TabPage>(method: M, ...args: Parameters<TabPage[M]>): Promise<Awaited<ReturnType<TabPage[M]>>>;
  close(): Promise<void>;
  /** Its process is killed. */
  crash(): Promise<void>;
  /** Its process is stopped, until what this gives back is called. */
  stop(): Promise<() => void>;
}

/** One whose process is known, and is its own. */
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
  /** A new tab that has the tide open. */
  open(config: Omit<TabConfig, "tab">): Promise<EngineTab>;
  end(): Promise<void>;
}

/** Keeps the page's thread busy; a script's text. */
export const BURN = "for (const until = performance.now() + 250; performance.now() < until; );";
