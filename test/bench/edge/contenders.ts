/** The workers and the peers that the edge's bench measures, each in a process and a directory of its own. */
import { type ChildProcess, spawn } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { anyFreePort, type RawOptions, RawWorkerd } from "../../edge/raw-workerd.ts";
import type { PlantedBug } from "../../support/planted-bug.ts";
import { note } from "./note.ts";

const kilobytes = (pid: number, file: string, field: RegExp): number =>
  Number(field.exec(readFileSync(`/proc/${pid}/${file}`, "utf8"))?.[1] ?? NaN);
export const residentMiB = (pid: number): number => kilobytes(pid, "status", /VmRSS:\s+(\d+)/) / 1024;
export const writtenBytes = (pid: number): number => kilobytes(pid, "io", /^write_bytes: (\d+)/m);
export const openFiles = (pid: number): number => readdirSync(`/proc/${pid}/fd`).length;
/** Processor time that a process has used, over all its threads, in milliseconds. The scheduler counts nanoseconds. */
export function cpuMs(pid: number): number {
  let ns = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    try {
      ns += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8").split(" ")[0]);
    } catch (thrown) {
      // It ended meanwhile.
      if ((thrown as NodeJS.ErrnoException).code !== "ENOENT" && (thrown as NodeJS.ErrnoException).code !== "ESRCH")
        throw thrown;
    }
  }
  return ns / 1e6;
}

export interface Peer {
  readonly url: string;
  readonly pid: number;
  /** Kills it at once. */
  end(): Promise<void>;
}

const RUST_SERVER = "durable-streams-server";
const S2 = "s2";
/** s2-lite keeps streams in basins. This one makes a stream when something is appended to it. */
const BASIN = "tidemark-bench";
/** How long an installed peer may take to answer: s2-lite waits until it is sure to be the only one. */
const START_MS = 30_000;
/** A file system in memory. */
const MEMORY = "/dev/shm";

/** An append of a peer with a protocol of its own. */
export interface AppendForm {
  readonly path: (round: number) => string;
  readonly type: string;
  readonly headers: Readonly<Record<string, string>>;
  body(bytes: number): Buffer;
}

const APPEND_TO_S2: AppendForm = {
  path: (round) => `/v1/streams/bench-${round}/records`,
  type: "application/json",
  headers: { "S2-Basin": BASIN, Authorization: "Bearer none" },
  body: (bytes) => Buffer.from(JSON.stringify({ records: [{ body: "a".repeat(bytes) }] })),
};

/** Where a program is that somebody may have installed; undefined if nobody has. */
function installed(program: string): string | undefined {
  const folders = [...(process.env["PATH"] ?? "").split(path.delimiter), path.join(os.homedir(), ".cargo", "bin")];
  const found = folders.map((folder) => path.join(folder, program)).find((file) => existsSync(file));
  if (found === undefined) note(`${program} is not installed, so it is not measured`);
  return found;
}

export class Contenders {
  readonly #directory = mkdtempSync(path.join(os.tmpdir(), "tidemark-bench-edge-"));
  readonly #workers: RawWorkerd[] = [];
  readonly #children: ChildProcess[] = [];
  readonly #elsewhere: string[] = [];

  /** `before` is the directory of another checkout, whose worker is measured beside this one's. */
  constructor(readonly before?: string) {}

  async worker(
    name: string,
    plants: readonly PlantedBug[] = [],
    inspected = false,
    others: Pick<RawOptions, "source" | "filesMax"> & { readonly inMemory?: boolean } = {},
  ): Promise<RawWorkerd> {
    const directory = path.join(others.inMemory ? this.#memory() : this.#directory, name);
    const worker = await RawWorkerd.create({ directory, plants, inspected, ...others });
    await worker.start();
    this.#workers.push(worker);
    return worker;
  }

  /** A directory in memory, where there is one: syncs cost nothing there. */
  #memory(): string {
    const directory = mkdtempSync(path.join(existsSync(MEMORY) ? MEMORY : os.tmpdir(), "tidemark-bench-edge-"));
    this.#elsewhere.push(directory);
    return directory;
  }

  /** A Worker that does an append's work, or a live reader's, and nothing else. */
  async toy(file: "toy-worker.ts" | "toy-live-worker.ts" = "toy-worker.ts"): Promise<RawWorkerd> {
    const directory = path.join(this.#directory, `toy-${this.#workers.length}`);
    const worker = await RawWorkerd.create({ directory, entry: path.resolve("test/bench/edge", file) });
    await worker.start();
    this.#workers.push(worker);
    return worker;
  }

  /** This checkout's worker, and the worker of `before` if there is one. */
  async pair(name: string): Promise<Record<string, RawWorkerd>> {
    const tidemark = await this.worker(name);
    if (this.before === undefined) return { tidemark };
    return { tidemark, before: await this.worker(`${name}-before`, [], false, { source: this.before }) };
  }

  #spawn(program: string, args: readonly string[]): ChildProcess {
    const child = spawn(program, args, {
      cwd: path.join(process.cwd(), "test/bench/peers"),
      stdio: ["ignore", "pipe", "inherit"],
    });
    this.#children.push(child);
    process.once("exit", () => child.kill("SIGKILL"));
    return child;
  }

  /**
   * The Durable Streams server written in Rust, where it is installed (`cargo install --locked durable-streams`). Its
   * ack means an `fdatasync` of a log that all its streams share.
   */
  async rust(): Promise<Record<string, Pick<Peer, "url" | "pid">>> {
    const program = installed(RUST_SERVER);
    if (program === undefined) return {};
    const directory = this.#folder("rust");
    const rust = await this.#answering(program, (port) => ["--port", port, "--data-dir", directory]);
    return { rust };
  }

  /**
   * s2-lite, where it is installed (`cargo install --locked s2-cli`). Its ack means that an object with all that came
   * within 5 ms was written into its directory and synced. It speaks a protocol of its own, so it only takes appends.
   */
  async s2(): Promise<Record<string, Pick<Peer, "url" | "pid"> & { readonly append: AppendForm }>> {
    const program = installed(S2);
    if (program === undefined) return {};
    const directory = this.#folder("s2");
    const basins = path.join(directory, "basins.json");
    writeFileSync(basins, JSON.stringify({ basins: [{ name: BASIN, config: { create_stream_on_append: true } }] }));
    const root = path.join(directory, "objects");
    const peer = await this.#answering(program, (port) => {
      return ["lite", "--port", port, "--local-root", root, "--init-file", basins];
    });
    return { s2: { ...peer, append: APPEND_TO_S2 } };
  }

  #folder(name: string): string {
    const directory = path.join(this.#directory, `${name}-${this.#children.length}`);
    mkdirSync(directory);
    return directory;
  }

  /** Starts a peer on a free port. Resolves once it answers anything. */
  async #answering(program: string, args: (port: string) => readonly string[]): Promise<Pick<Peer, "url" | "pid">> {
    const port = await anyFreePort();
    const child = this.#spawn(program, args(String(port)));
    const url = `http://127.0.0.1:${port}`;
    for (const started = performance.now(); performance.now() < started + START_MS;) {
      const isUp = await fetch(`${url}/v1/stream/none`, { method: "HEAD" }).then(
        () => true,
        () => false,
      );
      if (isUp) return { url, pid: child.pid! };
      // There is no event that says when it listens.
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    throw new Error(`${program} does not answer`);
  }

  async peer(directory = path.join(this.#directory, "peer")): Promise<Peer> {
    const child = this.#spawn(process.execPath, ["durable-streams.js", directory]);
    const url = await new Promise<string>((resolve, reject) => {
      child.stdout!.on("data", (text: Buffer) => {
        const found = /http:\/\/\S+/.exec(String(text));
        if (found) resolve(found[0]);
      });
      child.once("exit", () => reject(new Error("the peer ended")));
    });
    const end = async (): Promise<void> => {
      const ended = new Promise((resolve) => child.once("exit", resolve));
      child.kill("SIGKILL");
      await ended;
    };
    return { url, pid: child.pid!, end };
  }

  /**
   * Fills the next peer with what `write` appends. The peer syncs three times per append, and the time that filling
   * takes does not count. So it is filled in a directory in memory, where there is one, and the next peer gets a copy
   * on disk.
   */
  async fillPeer(write: (url: string) => Promise<void>): Promise<void> {
    const memory = this.#memory();
    try {
      const writer = await this.peer(memory);
      await write(writer.url);
      await writer.end();
      cpSync(memory, path.join(this.#directory, "peer"), { recursive: true });
    } finally {
      rmSync(memory, { recursive: true, force: true, maxRetries: 3 });
    }
  }

  async end(): Promise<void> {
    for (const child of this.#children) child.kill("SIGKILL");
    for (const worker of this.#workers) await worker.kill();
    for (const directory of [this.#directory, ...this.#elsewhere])
      rmSync(directory, { recursive: true, force: true, maxRetries: 3 });
  }
}
