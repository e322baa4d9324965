/**
 * A device: a Chromium over a profile of its own on disk, with tabs that sync one topic through a network of their own.
 * It can be killed, started again, copied while it is down, and put back from a copy.
 */
import { cpSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { type Running, startBrowser } from "../support/chromium.ts";
import { DrivenPage, hear } from "../tabs/browser.ts";
import type { DeviceConfig } from "./events.ts";
import type { SyncLedger } from "./ledger.ts";
import type { SyncPage } from "./page/main.ts";

export type SyncTab = DrivenPage<SyncPage>;

export interface DeviceOptions {
  readonly name: string;
  /** Where the page is served. */
  readonly stage: string;
  readonly ledger: SyncLedger;
  /** What its tabs open with. */
  readonly config: Omit<DeviceConfig, "name">;
  /** An older device whose profile it goes on with. */
  readonly profile?: string;
}

export const newFolder = (name: string): string => mkdtempSync(path.join(os.tmpdir(), `tidemark-sync-${name}-`));
export const removeFolder = (folder: string): void => rmSync(folder, { recursive: true, force: true, maxRetries: 5 });

/** Copies a profile whose browser is closed. A lock names the browser that had it; the copy is nobody's. */
export function copyProfile(from: string, to: string): void {
  rmSync(to, { recursive: true, force: true });
  cpSync(from, to, { recursive: true, verbatimSymlinks: true });
  for (const name of readdirSync(to)) if (name.startsWith("Singleton")) rmSync(path.join(to, name), { force: true });
}

export class Device {
  readonly #options: DeviceOptions;
  readonly profile: string;
  #running: Running | undefined;
  #lives = 0;
  #replaced = 0;
  readonly errors: string[] = [];
  tabs: SyncTab[] = [];

  constructor(options: DeviceOptions) {
    this.#options = options;
    this.profile = options.profile ?? newFolder(options.name);
  }

  get name(): string {
    return this.#options.name;
  }
  /** The line of positions that its tabs write now (ledger.ts). */
  get line(): string {
    return this.#replaced === 0 ? this.name : `${this.name}, ${this.#replaced} times put back`;
  }
  get pid(): number {
    return this.#running!.child.pid!;
  }

  async start(): Promise<this> {
    this.#running = await startBrowser(this.profile);
    return this;
  }

  /** A new tab with the page, and no tide yet. */
  async page(): Promise<SyncTab> {
    const page = await this.#running!.context.newPage();
    await page.goto(this.#options.stage);
    return this.#ready(new DrivenPage<SyncPage>(this.#lives++, page, await page.context().newCDPSession(page)));
  }

  async #ready(tab: SyncTab): Promise<SyncTab> {
    const { page, session } = tab;
    page
      .removeAllListeners("pageerror")
      .on("pageerror", (error) => this.errors.push(`${this.name}.${tab.number}: ${error.message}`));
    await page.waitForFunction(() => document.title === "ready");
    await hear(session, (body) => this.#options.ledger.post(body));
    return tab;
  }

  /** A new tab with the tide open. */
  async open(more: Partial<DeviceConfig> = {}): Promise<SyncTab> {
    const tab = await this.page();
    await this.openTide(tab, more);
    this.tabs.push(tab);
    return tab;
  }
  async openTide(tab: SyncTab, more: Partial<DeviceConfig> = {}): Promise<void> {
    await tab.call("open", this.#configOf(tab, more));
  }
  /** Milliseconds until the tide is open and the topic's last record is read. */
  openTimed(tab: SyncTab, more: Partial<DeviceConfig> = {}): Promise<number> {
    return tab.call("openTimed", this.#configOf(tab, more));
  }
  #configOf(tab: SyncTab, more: Partial<DeviceConfig>): DeviceConfig {
    const name = `${this.name}.${tab.number}`;
    this.#options.ledger.writes(name, this.line);
    return { ...this.#options.config, name, ...more };
  }

  /** The page is loaded anew; its tide is not open yet. */
  async reload(tab: SyncTab): Promise<SyncTab> {
    await tab.page.reload();
    this.tabs = this.tabs.filter((each) => each !== tab);
    await tab.session.detach().catch(() => undefined);
    const { page } = tab;
    return this.#ready(new DrivenPage<SyncPage>(this.#lives++, page, await page.context().newCDPSession(page)));
  }

  async leader(): Promise<SyncTab | undefined> {
    const roles = await Promise.all(this.tabs.map((tab) => tab.call("brief")));
    return this.tabs[roles.findIndex(({ role }) => role === "leader")];
  }

  /** kill -9 of a tab's renderer. */
  async killTab(tab: SyncTab): Promise<void> {
    const pid = await tab.process(this.pid);
    const crashed = new Promise((resolve) => tab.page.once("crash", resolve));
    process.kill(pid, "SIGKILL");
    await crashed;
    this.forget(tab);
    await tab.page.close();
  }
  /** The same by the driver, which takes less time. */
  async crashTab(tab: SyncTab): Promise<void> {
    await tab.crash();
    this.forget(tab);
    await tab.page.close();
  }
  /** The tab has ended. */
  forget(tab: SyncTab): void {
    this.tabs = this.tabs.filter((each) => each !== tab);
  }

  /** kill -9 of the whole browser. */
  async kill(): Promise<void> {
    const running = this.#running;
    this.#running = undefined;
    this.tabs = [];
    if (!running) return;
    const { child, browser } = running;
    const gone = new Promise((resolve) => child.once("exit", resolve));
    if (child.exitCode === null && child.signalCode === null) {
      process.kill(-child.pid!, "SIGKILL");
      await gone;
    }
    await browser.close().catch(() => undefined);
  }

  /** Goes on with an older copy of its profile. Its browser must be down. */
  putBack(copy: string): void {
    copyProfile(copy, this.profile);
    this.#replaced++;
  }

  async end(): Promise<void> {
    await this.kill();
    removeFolder(this.profile);
  }
}
