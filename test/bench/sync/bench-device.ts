/**
 * A device of the benchmarks of sync: a Chromium over a profile of its own, which is driven by a few commands of its
 * debugging protocol. Playwright would be told of each frame of each WebSocket, with all of its bytes: that costs the
 * browser and the worker more than the sync that is measured.
 */
import type { ChildProcess } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { launchBrowser } from "../../support/chromium.ts";
import { newFolder, removeFolder } from "../../sync/device.ts";
import type { DeviceConfig } from "../../sync/events.ts";
import type { SyncPage } from "../../sync/page/main.ts";
import type { FaultProxy } from "../../sync/proxy.ts";

const LOOK_MS = 5;

interface Message {
  readonly id?: number;
  readonly result?: Record<string, unknown>;
  readonly error?: { readonly message: string };
}

/** The debugging protocol of one browser. */
class Protocol {
  readonly #socket: WebSocket;
  readonly #asked = new Map<number, (message: Message) => void>();
  #next = 1;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.addEventListener("message", ({ data }) => {
      const message = JSON.parse(String(data)) as Message;
      this.#asked.get(message.id ?? 0)?.(message);
      this.#asked.delete(message.id ?? 0);
    });
    socket.addEventListener("close", () => {
      for (const answer of this.#asked.values()) answer({ error: { message: "the browser has ended" } });
      this.#asked.clear();
    });
  }

  static async connect(address: string): Promise<Protocol> {
    const socket = new WebSocket(address);
    await new Promise((resolve, reject) => {
      socket.addEventListener("open", resolve, { once: true });
      socket.addEventListener("error", () => reject(new Error("the browser is not there")), { once: true });
    });
    return new Protocol(socket);
  }

  async ask(method: string, params: object, sessionId?: string): Promise<Record<string, unknown>> {
    const id = this.#next++;
    const { result, error } = await new Promise<Message>((resolve) => {
      this.#asked.set(id, resolve);
      this.#socket.send(JSON.stringify({ id, method, params, ...(sessionId && { sessionId }) }));
    });
    if (!result) throw new Error(`${method}: ${error?.message}`);
    return result;
  }

  close(): void {
    this.#socket.close();
  }
}

type Taken<F> = F extends (...args: infer A) => unknown ? A : never;
type Given<F> = F extends (...args: never) => infer R ? Awaited<R> : never;

/** A page with the functions of test/sync/page/main.ts in `window.tab`. */
export class BenchTab {
  readonly #protocol: Protocol;
  readonly #session: string;

  constructor(protocol: Protocol, session: string) {
    this.#protocol = protocol;
    this.#session = session;
  }

  call<M extends keyof SyncPage & string>(method: M, ...args: Taken<SyncPage[M]>): Promise<Given<SyncPage[M]>> {
    return this.#evaluate(`window.tab.${method}(...${JSON.stringify(args)})`) as Promise<Given<SyncPage[M]>>;
  }

  async #evaluate(expression: string): Promise<unknown> {
    const asked = { expression, awaitPromise: true, returnByValue: true };
    const { result, exceptionDetails } = (await this.#protocol.ask("Runtime.evaluate", asked, this.#session)) as {
      readonly result: { readonly value?: unknown };
      readonly exceptionDetails?: { readonly exception?: { readonly description?: string } };
    };
    if (exceptionDetails) throw new Error(`${expression}: ${exceptionDetails.exception?.description}`);
    return result.value;
  }

  /** Resolves when the page is there; one that was left does not count. */
  async ready(): Promise<this> {
    const looked = (): Promise<unknown> => this.#evaluate('!window.isLeft && document.title === "ready"');
    while (!(await looked().catch(() => false))) await sleep(LOOK_MS);
    return this;
  }

  /** The page is loaded anew; its tide is not open yet. */
  async reload(): Promise<this> {
    await this.#evaluate("window.isLeft = true");
    await this.#protocol.ask("Page.reload", {}, this.#session);
    return this.ready();
  }
}

async function windowOf(protocol: Protocol, url: string): Promise<BenchTab> {
  const { targetId } = await protocol.ask("Target.createTarget", { url, newWindow: true });
  const { sessionId } = await protocol.ask("Target.attachToTarget", { targetId, flatten: true });
  return new BenchTab(protocol, sessionId as string).ready();
}

export interface BenchDeviceOptions {
  readonly name: string;
  /** Where the page is served. */
  readonly stage: string;
  readonly network: FaultProxy;
  readonly config: Omit<DeviceConfig, "name">;
}

export class BenchDevice {
  readonly network: FaultProxy;
  readonly #config: DeviceConfig;
  readonly #profile: string;
  readonly #child: ChildProcess;
  readonly #protocol: Protocol;
  readonly tab: BenchTab;

  private constructor(
    { name, network, config }: BenchDeviceOptions,
    parts: { readonly profile: string; child: ChildProcess; protocol: Protocol; tab: BenchTab },
  ) {
    this.network = network;
    this.#config = { ...config, name };
    ({ profile: this.#profile, child: this.#child, protocol: this.#protocol, tab: this.tab } = parts);
  }

  /** A browser with the page, and no tide yet. */
  static async start(options: BenchDeviceOptions): Promise<BenchDevice> {
    const profile = newFolder(options.name);
    const { child, address } = await launchBrowser(profile);
    const protocol = await Protocol.connect(address);
    const tab = await windowOf(protocol, options.stage);
    return new BenchDevice(options, { profile, child, protocol, tab });
  }

  /** Another page of this browser. It has a window of its own, so that no page hides another one. */
  window(url: string): Promise<BenchTab> {
    return windowOf(this.#protocol, url);
  }

  /** An empty page comes before the device's. */
  async hide(): Promise<void> {
    await this.#protocol.ask("Target.createTarget", { url: "about:blank" });
  }

  get pid(): number {
    return this.#child.pid!;
  }

  /** Opens the tide; with `edge` undefined a local one. */
  async openTide(more: Partial<DeviceConfig> = {}): Promise<void> {
    await this.tab.call("open", { ...this.#config, ...more });
  }
  /** Milliseconds until the tide is open and the topic's last record is read. */
  openTimed(more: Partial<DeviceConfig> = {}): Promise<number> {
    return this.tab.call("openTimed", { ...this.#config, ...more });
  }

  async end(): Promise<void> {
    const gone = new Promise((resolve) => this.#child.once("exit", resolve));
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      process.kill(-this.pid, "SIGKILL");
      await gone;
    }
    this.#protocol.close();
    await this.network.stop();
    removeFolder(this.#profile);
  }
}
