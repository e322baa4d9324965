/**
 * WebKitGTK's MiniBrowser, driven by plain W3C WebDriver over HTTP: WebKitWebDriver under a virtual display. A command
 * goes to the tab that was chosen before it, so commands run one at a time.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import path from "node:path";
import { BURN, type EngineBrowser, type EngineTab, ProcessTab } from "./engine.ts";
import type { TabConfig, TabPage } from "./events.ts";
import { busiestOf, commandOf, descendantsOf } from "./processes.ts";
import { freePort } from "../../cli/ports.ts";

type Method = keyof TabPage;

const START_MS = 20_000;
const SCRIPT_MS = 60_000;
const NEEDED = ["WebKitWebDriver", "xvfb-run", "xauth", "dbus-run-session"];

/** The MiniBrowser's path; undefined when a needed program is missing. */
export function findWebKit(): string | undefined {
  const folders = (process.env["PATH"] ?? "").split(path.delimiter);
  if (!NEEDED.every((name) => folders.some((folder) => existsSync(path.join(folder, name))))) return undefined;
  const libraries = [
    "/usr/lib",
    ...(existsSync("/usr/lib") ? readdirSync("/usr/lib").map((name) => `/usr/lib/${name}`) : []),
  ];
  return libraries
    .flatMap((folder) => ["webkit2gtk-4.1", "webkitgtk-6.0"].map((name) => path.join(folder, name, "MiniBrowser")))
    .find((file) => existsSync(file));
}

/** Root has no sandbox, and a virtual display has no graphics card. */
const ENVIRONMENT = {
  WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS: "1",
  WEBKIT_DISABLE_COMPOSITING_MODE: "1",
  LIBGL_ALWAYS_SOFTWARE: "1",
};
const CALL = `const [method, args, done] = arguments;
(async () => window.tab[method](...args))().then((ok) => done({ ok }), (thrown) => done({ error: String(thrown) }));`;

class WebKitTab extends ProcessTab {
  constructor(
    readonly number: number,
    readonly browser: WebKitBrowser,
    readonly handle: string,
    readonly process: number,
  ) {
    super();
  }

  async call<M extends Method>(method: M, ...args: Parameters<TabPage[M]>): Promise<Awaited<ReturnType<TabPage[M]>>> {
    const { ok, error } = await this.browser.execute<{ ok: unknown; error?: string }>(this.handle, CALL, [
      method,
      args,
    ]);
    if (error !== undefined) throw new Error(error);
    return ok as Awaited<ReturnType<TabPage[M]>>;
  }

  protected closePage(): Promise<void> {
    return this.browser.close(this.handle);
  }
}

export class WebKitBrowser implements EngineBrowser {
  #tabs = 0;
  #last: Promise<unknown> = Promise.resolve();
  #session = "";
  /** The window that the browser began with. */
  #first = "";
  version = "";

  private constructor(
    readonly url: string,
    readonly port: number,
    readonly child: ChildProcess,
  ) {}

  static async start(url: string, binary: string): Promise<WebKitBrowser> {
    const port = await freePort(20_000 + (process.pid % 20_000));
    if (port === undefined) throw new Error("no free port for WebKitWebDriver");
    const child = spawn("xvfb-run", ["-a", "dbus-run-session", "--", "WebKitWebDriver", `--port=${port}`], {
      detached: true,
      stdio: "ignore",
      env: { ...process.env, ...ENVIRONMENT },
    });
    const made = new WebKitBrowser(url, port, child);
    process.once("exit", made.#reap);
    for (const until = Date.now() + START_MS; ; await new Promise((resolve) => setTimeout(resolve, 100))) {
      if (
        await made.#command("GET", "/status").then(
          () => true,
          () => false,
        )
      )
        break;
      if (Date.now() > until) throw new Error("WebKitWebDriver did not start");
    }
    const alwaysMatch = { "webkitgtk:browserOptions": { binary, args: ["--automation"] } };
    const { sessionId, capabilities } = await made.#command<{
      sessionId: string;
      capabilities: { browserVersion: string };
    }>("POST", "/session", { capabilities: { alwaysMatch } });
    made.#session = `/session/${sessionId}`;
    made.version = `WebKitGTK ${capabilities.browserVersion}`;
    made.#first = await made.#command("GET", `${made.#session}/window`);
    await made.#command("POST", `${made.#session}/timeouts`, { script: SCRIPT_MS });
    return made;
  }

  readonly #reap = (): void => {
    if (this.child.exitCode === null && this.child.signalCode === null) process.kill(-this.child.pid!, "SIGKILL");
  };

  async #command<T = unknown>(method: string, place: string, body?: unknown): Promise<T> {
    const response = await fetch(`http://127.0.0.1:${this.port}${place}`, {
      method,
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    const { value } = (await response.json()) as { value: T & { error?: string; message?: string } };
    if (!response.ok) throw new Error(`${place}: ${value.error} ${value.message}`);
    return value;
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#last.then(work);
    this.#last = done.catch(() => undefined);
    return done;
  }

  async #choose(handle: string): Promise<void> {
    await this.#command("POST", `${this.#session}/window`, { handle });
  }

  execute<T>(handle: string, script: string, args: readonly unknown[]): Promise<T> {
    return this.#inTurn(async () => {
      await this.#choose(handle);
      return this.#command<T>("POST", `${this.#session}/execute/async`, { script, args });
    });
  }

  close(handle: string): Promise<void> {
    return this.#inTurn(async () => {
      await this.#choose(handle);
      await this.#command("DELETE", `${this.#session}/window`);
      // The chosen window may be gone. Every command needs a living one, also the command that opens a window.
      await this.#choose(this.#first);
    });
  }

  async open(config: Omit<TabConfig, "tab">): Promise<EngineTab> {
    const handle = await this.#inTurn(async () => {
      const made = await this.#command<{ handle: string }>("POST", `${this.#session}/window/new`, { type: "tab" });
      await this.#choose(made.handle);
      await this.#command("POST", `${this.#session}/url`, { url: this.url });
      return made.handle;
    });
    const ready =
      "const [done] = arguments; const look = () => document.title === 'ready' ? done() : setTimeout(look, 20); " +
      "look();";
    await this.execute(handle, ready, []);
    const contents = descendantsOf(this.child.pid!).filter((pid) => commandOf(pid).includes("WebKitWebProcess"));
    const process = await busiestOf(contents, () => this.execute(handle, `${BURN} arguments[0]();`, []));
    const tab = new WebKitTab(++this.#tabs, this, handle, process);
    await tab.call("open", { ...config, tab: tab.number });
    return tab;
  }

  async end(): Promise<void> {
    const gone = new Promise((resolve) => this.child.once("exit", resolve));
    this.#reap();
    process.off("exit", this.#reap);
    await gone;
  }
}
