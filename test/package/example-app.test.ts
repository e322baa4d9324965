/**
 * docs/example-app as somebody copies it: outside the repository, with the packed package, built by Vite, its edge in
 * local workerd, and two devices in Chromium that work offline and become equal.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import type { Page } from "playwright";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { type LocalWorker, startDevServer } from "../edge/local-worker.ts";
import { type Running, startBrowser } from "../support/chromium.ts";
import { install } from "./apps.ts";

const root = path.join(import.meta.dirname, "../..");
const SECRET = "a secret of at least thirty-two characters";
/** These come from the repository. */
const LEFT_OUT = ["tidemark", "wrangler", "typescript", "@cloudflare/workers-types"];
let app = "";
let edge: LocalWorker;
let browser: Running;
const problems: string[] = [];

beforeAll(async () => {
  app = path.join(inject("packageFolder"), "example-app");
  const source = path.join(root, "docs/example-app");
  cpSync(source, app, { recursive: true });
  const shipped = JSON.parse(readFileSync(path.join(source, "package.json"), "utf8")) as Record<
    "dependencies" | "devDependencies",
    Record<string, string>
  >;
  const wanted = Object.entries({ ...shipped.dependencies, ...shipped.devDependencies });
  const packages = wanted.flatMap(([name, range]) => (LEFT_OUT.includes(name) ? [] : [`${name}@${range}`]));
  writeFileSync(path.join(app, "package.json"), JSON.stringify({ name: "copy", private: true, type: "module" }));
  await install(app, [inject("tarball"), ...packages]);
  const types = "node_modules/@cloudflare/workers-types";
  mkdirSync(path.dirname(path.join(app, types)), { recursive: true });
  symlinkSync(path.join(root, types), path.join(app, types));
  const vite = path.join(app, "node_modules/vite/bin/vite.js");
  execFileSync(process.execPath, [vite, "build", "--logLevel", "warn"], { cwd: app, stdio: "pipe" });
  edge = await startDevServer({ config: path.join(app, "wrangler.jsonc"), settings: { TIDEMARK_JWT_SECRETS: SECRET } });
  browser = await startBrowser(path.join(inject("packageFolder"), "example-profile"));
});
afterAll(async () => {
  if (browser) process.kill(-browser.child.pid!, "SIGKILL");
  await edge?.stop();
  if (app) rmSync(app, { recursive: true, force: true, maxRetries: 5 });
});

/** A window of one device. */
class Device {
  constructor(readonly page: Page) {}

  static async open(name: string): Promise<Device> {
    const page = await browser.context.newPage();
    page.on("pageerror", (error) => problems.push(error.message));
    await page.goto(`${edge.url}/?device=${name}`);
    return new Device(page);
  }
  async signIn(name: string): Promise<void> {
    await this.page.getByLabel("Your name").fill(name);
    await this.page.getByRole("button", { name: "Sign in" }).click();
  }
  /** Chromium draws only the page in front, and Playwright waits for a page to be drawn before it clicks. */
  async front(): Promise<Page> {
    await this.page.bringToFront();
    return this.page;
  }
  async add(text: string): Promise<void> {
    await this.front();
    await this.page.getByLabel("What is missing?").fill(text);
    await this.page.getByRole("button", { name: "Add" }).click();
  }
  items(): Promise<string[]> {
    return this.page.locator("#items li span").allTextContents();
  }
  status(): Promise<string | null> {
    return this.page.locator("#status").textContent();
  }
  async works(isOffline: boolean): Promise<void> {
    await (await this.front()).getByLabel("Work offline").setChecked(isOffline);
    await expect.poll(() => this.status()).toMatch(isOffline ? /^You work offline/ : /^(Everything|Sending)/);
  }
  async says(status: string): Promise<void> {
    await expect.poll(() => this.status()).toBe(status);
  }
  async shows(...texts: string[]): Promise<void> {
    await expect.poll(() => this.items()).toEqual(texts);
  }
}

describe("the example app", () => {
  it.each([".", "edge"])("type-checks as its own tsconfig.json says: %s", (part) => {
    const compiler = path.join(root, "node_modules/typescript/bin/tsc");
    const { stdout, status } = spawnSync(process.execPath, [compiler, "-p", part], { cwd: app, encoding: "utf8" });
    expect([stdout, status]).toEqual(["", 0]);
  });

  it("two devices write offline, one is loaded anew, and both become equal", async () => {
    const laptop = await Device.open("laptop");
    await laptop.signIn("ann");
    await laptop.add("milk");
    await laptop.shows("milk");
    const phone = await Device.open("phone");
    await phone.shows("milk");
    await expect.poll(() => phone.status()).toBe("Everything is on all devices.");

    await laptop.works(true);
    await phone.works(true);
    await laptop.add("bread");
    await phone.add("apples");
    await (await phone.front()).getByLabel("milk", { exact: true }).check();
    await laptop.shows("milk", "bread");
    await phone.shows("milk", "apples");
    await expect.poll(() => laptop.status()).toBe("You work offline. 1 change of yours waits.");
    await expect.poll(() => phone.status()).toBe("You work offline. 2 changes of yours wait.");
    await phone.page.reload();
    await phone.shows("milk", "apples");
    await expect.poll(() => phone.status()).toBe("You work offline. 2 changes of yours wait.");

    await laptop.works(false);
    await expect.poll(() => laptop.status()).toBe("Everything is on all devices.");
    await phone.works(false);
    for (const device of [laptop, phone]) {
      await device.shows("milk", "bread", "apples");
      await expect.poll(() => device.status()).toBe("Everything is on all devices.");
      await expect.poll(() => device.page.getByLabel("milk", { exact: true }).isChecked()).toBe(true);
    }
    await (await laptop.front()).getByRole("button", { name: "Remove milk" }).click();
    await phone.shows("bread", "apples");
    await phone.page.close();
    await laptop.page.close();
  });

  it("a session that is over shows the form above the list, and signing in goes on", async () => {
    const device = await Device.open("laptop");
    await device.says("Everything is on all devices.");
    await device.works(true);
    await browser.context.clearCookies();
    await (await device.front()).getByLabel("Work offline").setChecked(false);
    await device.says("Sign in to go on.");
    await device.add("cheese");
    await device.shows("bread", "apples", "cheese");
    await device.says("Sign in to go on. 1 change of yours waits.");
    expect(await device.page.getByLabel("Your name").inputValue()).toBe("ann");
    await device.page.getByRole("button", { name: "Sign in" }).click();
    await device.says("Everything is on all devices.");
    await expect.poll(() => device.page.getByLabel("Your name").isVisible()).toBe(false);
    await device.page.close();
  });

  it("signing out asks while changes are on this device only, and they wait for their person", async () => {
    const device = await Device.open("laptop");
    const asked: string[] = [];
    let leaves = false;
    device.page.on("dialog", (dialog) => {
      asked.push(dialog.message());
      void (leaves ? dialog.accept() : dialog.dismiss());
    });
    await device.works(true);
    await device.add("salt");
    await device.says("You work offline. 1 change of yours waits.");
    const signOut = device.page.getByRole("button", { name: "Sign out" });
    await signOut.click();
    await expect.poll(() => asked).toHaveLength(1);
    expect(asked[0]).toMatch(/^1 of your changes/);
    await device.shows("bread", "apples", "cheese", "salt");
    leaves = true;
    await signOut.click();
    await device.signIn("ann");
    await device.says("You work offline. 1 change of yours waits.");
    await device.works(false);
    await device.says("Everything is on all devices.");
    // Nothing waits now: nobody is asked.
    await (await device.front()).getByRole("button", { name: "Sign out" }).click();
    await expect.poll(() => device.page.getByLabel("Your name").isVisible()).toBe(true);
    expect(asked).toHaveLength(2);
    await device.page.close();
  });

  it("refused changes are shown, and are set aside or discarded", async () => {
    const device = await Device.open("tablet");
    await device.signIn("guest");
    const list = ["bread", "apples", "cheese", "salt"];
    for (const answer of ["Set aside", "Discard"]) {
      await device.shows(...list);
      await device.says("Everything is on all devices.");
      await device.add("caviar");
      await device.says("The edge has refused something.");
      const question = device.page.locator("#question");
      await expect.poll(() => question.locator("p").textContent()).toMatch(/^The edge refuses 1 change of yours: ./);
      await device.shows(...list, "caviar");
      await question.getByRole("button", { name: answer }).click();
      await device.shows(...list);
      await expect.poll(() => question.isVisible()).toBe(false);
    }
    await device.page.getByRole("button", { name: "Sign out" }).click();
    await expect.poll(() => device.page.getByLabel("Your name").isVisible()).toBe(true);
    await device.page.close();
  });

  it("signing out ends it; another person has another log on the same device, and the same list", async () => {
    const device = await Device.open("laptop");
    await device.signIn("ann");
    await device.shows("bread", "apples", "cheese", "salt");
    await device.page.getByRole("button", { name: "Sign out" }).click();
    await device.signIn("ben");
    await device.shows("bread", "apples", "cheese", "salt");
    expect((await fetch(`${edge.url}/token`)).status).toBe(401);
    expect((await fetch(`${edge.url}/v1/stream/lists/groceries`)).status).toBe(401);
    expect(problems).toEqual([]);
  });
});
