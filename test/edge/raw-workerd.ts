/**
 * The edge worker in workerd itself, without a development server around it: it starts in a fraction of a second, and
 * is one process that can be killed. Its state is in a directory and outlives the process.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { createRequire } from "node:module";
import path from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { rolldown } from "rolldown";
import { plantedBug, type PlantedBug } from "../support/planted-bug.ts";

const root = process.cwd();
const START_MS = 30_000;

export interface RawOptions {
  /** The directory for the bundle, the configuration and the state. */
  readonly directory: string;
  readonly settings?: Readonly<Record<string, string>>;
  /** Planted bugs: pieces of the source that are replaced in this worker. */
  readonly plants?: readonly PlantedBug[];
  /** Starts an inspector, so that the heap can be measured. */
  readonly inspected?: boolean;
  /** Another checkout whose worker is run. */
  readonly source?: string;
  /** The file that is run in the place of worker/index.ts. */
  readonly entry?: string;
  /** How many files the process may have open. */
  readonly filesMax?: number;
  /** The port of its object storage (r2-server.ts). Without it there is no bucket. */
  readonly r2Port?: number;
}

export class RawWorkerd {
  readonly url: string;
  #child: ChildProcess | undefined;

  private constructor(
    readonly directory: string,
    readonly port: number,
    readonly inspectorPort: number | undefined,
    readonly filesMax: number | undefined,
  ) {
    this.url = `http://127.0.0.1:${port}`;
  }

  static async create({
    directory,
    settings = { TIDEMARK_OPEN_ACCESS: "loopback" },
    plants = [],
    inspected = false,
    source = root,
    entry = path.join(source, "worker", "index.ts"),
    filesMax,
    r2Port,
  }: RawOptions): Promise<RawWorkerd> {
    mkdirSync(path.join(directory, "state"), { recursive: true });
    await bundle(directory, { plants, source, entry });
    const port = await anyFreePort();
    writeFileSync(path.join(directory, "config.capnp"), configuration({ directory, port, settings, r2Port }));
    return new RawWorkerd(directory, port, inspected ? await anyFreePort() : undefined, filesMax);
  }

  async start(): Promise<void> {
    const binary = createRequire(path.join(root, "package.json")).resolve("workerd/bin/workerd");
    // The package's launcher is a script that starts the real program and waits for it. The program must be killed
    // itself.
    const { default: program } = createRequire(binary)("workerd") as { default: string };
    const inspector = this.inspectorPort === undefined ? [] : [`--inspector-addr=127.0.0.1:${this.inspectorPort}`];
    const limit = this.filesMax === undefined ? "" : `ulimit -n ${this.filesMax};`;
    // workerd writes to its file 3 when it listens.
    const command = ["serve", "--control-fd=3", ...inspector, path.join(this.directory, "config.capnp")];
    this.#child = spawn("sh", ["-c", `${limit} exec "$0" "$@"`, program, ...command], {
      stdio: ["ignore", "ignore", "ignore", "pipe"],
      detached: true,
    });
    process.once("exit", this.#end);
    await this.#listens(this.#child);
  }

  /** Kills the whole process group at once. */
  readonly #end = (): void => {
    const child = this.#child;
    if (child?.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
    process.kill(-child.pid, "SIGKILL");
  };

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /**
   * The isolate's memory after a garbage collection, in MiB: JavaScript's heap and the buffers that it refers to. The
   * Worker and its objects share one isolate.
   */
  async heapMiB(): Promise<number> {
    const targets = (await (await fetch(`http://127.0.0.1:${this.inspectorPort}/json`)).json()) as {
      webSocketDebuggerUrl: string;
    }[];
    const socket = new WebSocket(targets[0]!.webSocketDebuggerUrl);
    await new Promise((resolve, reject) => {
      socket.addEventListener("open", resolve, { once: true });
      socket.addEventListener("error", reject, { once: true });
    });
    const call = (id: number, method: string): Promise<Record<string, number>> =>
      new Promise((resolve) => {
        socket.addEventListener("message", ({ data }) => {
          const answer = JSON.parse(String(data)) as { id?: number; result?: Record<string, number> };
          if (answer.id === id) resolve(answer.result ?? {});
        });
        socket.send(JSON.stringify({ id, method }));
      });
    // workerd does it but never answers, so it is not awaited.
    void call(1, "HeapProfiler.collectGarbage");
    const { usedSize = NaN, embedderHeapUsedSize = 0, backingStorageSize = 0 } = await call(2, "Runtime.getHeapUsage");
    socket.close();
    return (usedSize + embedderHeapUsedSize + backingStorageSize) / 1024 / 1024;
  }

  /** Resolves when it takes connections. The first answer then waits for the worker to be loaded. */
  async #listens(child: ChildProcess): Promise<void> {
    const told = createInterface({ input: child.stdio[3] as Readable });
    await new Promise<void>((resolve, reject) => {
      const fail = (what: string): void => reject(new Error(`workerd ${what} on port ${this.port}`));
      const timer = setTimeout(() => fail("does not listen"), START_MS);
      told.on("line", (line) => {
        if ((JSON.parse(line) as { socket?: string }).socket !== "http") return;
        clearTimeout(timer);
        resolve();
      });
      told.once("close", () => {
        clearTimeout(timer);
        fail("ended at its start");
      });
    });
    await (await fetch(`${this.url}/`)).arrayBuffer();
  }

  /** kill -9. Resolves when the process has ended. */
  async kill(): Promise<void> {
    const child = this.#child;
    process.off("exit", this.#end);
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    this.#end();
    await ended;
    this.#child = undefined;
  }
}

interface Bundled {
  readonly plants: readonly PlantedBug[];
  readonly source: string;
  readonly entry: string;
}

async function bundle(directory: string, { plants, source, entry }: Bundled): Promise<void> {
  const planted = plants.map((plant) => plantedBug(plant));
  const bundled = await rolldown({
    input: entry,
    cwd: source,
    platform: "browser",
    external: [/^cloudflare:/],
    plugins: [
      ...planted,
      {
        name: "wasm",
        resolveId: (id: string) => (id.endsWith(".wasm") ? { id: "./release.wasm", external: true } : null),
      },
    ],
    logLevel: "warn",
  });
  await bundled.write({ file: path.join(directory, "index.js"), format: "esm", codeSplitting: false });
  await bundled.close();
  for (const plant of planted) plant.check();
  copyFileSync(path.join(source, ".cache", "kernel", "release.wasm"), path.join(directory, "release.wasm"));
}

/** A port that the system picks. */
export function anyFreePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}

interface Configured {
  readonly directory: string;
  readonly port: number;
  readonly settings: Readonly<Record<string, string>>;
  readonly r2Port: number | undefined;
}

function configuration({ directory, port, settings, r2Port }: Configured): string {
  const text = (value: string): string => JSON.stringify(value);
  const classes = { LOGS: "LogObject", SUBSCRIPTIONS: "SubscriptionObject" };
  const namespaces = Object.values(classes).map(
    (name) => `(className = "${name}", uniqueKey = "${name}", enableSql = true)`,
  );
  const bindings = [
    ...Object.entries(classes).map(
      ([name, className]) => `(name = "${name}", durableObjectNamespace = "${className}")`,
    ),
    ...Object.entries(settings).map(([name, value]) => `(name = "${name}", text = ${text(value)})`),
    ...(r2Port === undefined ? [] : ['(name = "SEGMENTS", r2Bucket = "r2")']),
  ];
  const r2 = r2Port === undefined ? "" : `(name = "r2", external = (address = "127.0.0.1:${r2Port}", http = ())),`;
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = .worker),
    (name = "disk", disk = (path = ${text(path.join(directory, "state"))}, writable = true)),
    (name = "internet", network = (allow = ["public", "private"], tlsOptions = (trustBrowserCas = true))),
    ${r2}
  ],
  sockets = [(name = "http", address = "127.0.0.1:${port}", http = (), service = "main")],
);
const worker :Workerd.Worker = (
  modules = [
    (name = "index.js", esModule = embed "index.js"),
    (name = "release.wasm", wasm = embed "release.wasm"),
  ],
  compatibilityDate = "2026-04-01",
  compatibilityFlags = ["no_web_socket_compression"],
  durableObjectNamespaces = [${namespaces.join(", ")}],
  durableObjectStorage = (localDisk = "disk"),
  bindings = [${bindings.join(", ")}],
);
`;
}
