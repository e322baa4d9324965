/** The program `tidemark` as the package has it, in a folder of its own: bin, dist/cli.js and what that needs. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { once } from "node:events";
import os from "node:os";
import path from "node:path";
import { text } from "node:stream/consumers";
// @ts-expect-error plain JavaScript, because it also runs before any package is installed
import { bundleBase, bundleSideEntry } from "../../tools/package/build.mjs";
// @ts-expect-error plain JavaScript, because it runs before anything is compiled
import { buildKernel, kernelDirectory } from "../../tools/package/build-kernel.mjs";

export interface Ran {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly input?: string | Uint8Array;
  readonly env?: Readonly<Record<string, string>>;
}

/** Where the bundles are kept: to make them takes a second, and many files of tests need the same ones. */
const BUNDLES = path.resolve(".cache", "cli-program");
const BUNDLED = ["base.js", "cli.js"];
/** All that the bundles are made of. */
const SOURCES = ["cli", "src", "worker", "tools", "package.json", "package-lock.json", "tsconfig.json"];

function hashOfSources(): string {
  const hash = createHash("sha256");
  const filesOf = (folder: string): string[] =>
    readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => path.join(entry.parentPath, entry.name));
  const files = SOURCES.flatMap((each) => (statSync(each).isDirectory() ? filesOf(each) : [each]));
  for (const file of files.sort()) hash.update(`${file}\n`).update(readFileSync(file));
  return hash.digest("hex");
}

/** Makes the bundles anew if a source has changed since. Two processes that do so at once do no harm. */
async function ensureBundles(): Promise<void> {
  const stamp = path.join(BUNDLES, "sources.sha256");
  const hash = hashOfSources();
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === hash) return;
  const aside = `${BUNDLES}-${process.pid}`;
  await bundleBase(aside);
  await bundleSideEntry("cli", aside);
  mkdirSync(BUNDLES, { recursive: true });
  for (const name of BUNDLED) renameSync(path.join(aside, name), path.join(BUNDLES, name));
  rmSync(aside, { recursive: true });
  // Written last, so that a stamp means that the files are there.
  writeFileSync(stamp, hash);
}

export class Program {
  /** Where it runs: a folder for files of a test. */
  readonly home = mkdtempSync(path.join(os.tmpdir(), "tidemark-cli-"));
  /** A test that fails leaves none of them behind. */
  readonly #started: ChildProcess[] = [];
  readonly #bin = path.join(this.home, ".package", "bin", "tidemark.mjs");

  async build(): Promise<this> {
    const home = path.join(this.home, ".package");
    const dist = path.join(home, "dist");
    for (const folder of ["bin", "dist"]) mkdirSync(path.join(home, folder), { recursive: true });
    await buildKernel();
    await ensureBundles();
    for (const name of BUNDLED) copyFileSync(path.join(BUNDLES, name), path.join(dist, name));
    copyFileSync(path.join(kernelDirectory as string, "browser.wasm"), path.join(dist, "kernel.wasm"));
    copyFileSync("bin/tidemark.mjs", this.#bin);
    writeFileSync(path.join(home, "package.json"), '{ "type": "module", "version": "1.2.3" }');
    return this;
  }

  #env(more: Readonly<Record<string, string>> = {}): NodeJS.ProcessEnv {
    const { TIDEMARK_JWT_SECRETS: _, TIDEMARK_TOKEN: _token, NO_COLOR: _colour, ...others } = process.env;
    return { ...others, ...more };
  }

  run(args: readonly string[], { input = "", env }: RunOptions = {}): Ran {
    const { status, stdout, stderr } = spawnSync(process.execPath, [this.#bin, ...args], {
      cwd: this.home,
      env: this.#env(env),
      encoding: "utf8",
      input,
      maxBuffer: 256 * 1024 * 1024,
    });
    return { status, stdout, stderr };
  }

  /** Runs it, and throws unless its exit code is 0. Gives stdout. */
  good(args: readonly string[], options?: RunOptions): string {
    const { status, stdout, stderr } = this.run(args, options);
    if (status !== 0) throw new Error(`tidemark ${args.join(" ")} ended with ${status}: ${stderr}`);
    return stdout;
  }

  start(args: readonly string[], env?: RunOptions["env"]): ChildProcess {
    const child = spawn(process.execPath, [this.#bin, ...args], {
      cwd: this.home,
      env: this.#env(env),
      stdio: ["pipe", "pipe", "pipe"],
    });
    this.#started.push(child);
    return child;
  }

  /** As run(), but this process goes on meanwhile: it may be what the program talks to. */
  async beside(args: readonly string[], { input = "", env }: RunOptions = {}): Promise<Ran> {
    const child = this.start(args, env);
    const ended = once(child, "close");
    child.stdin!.on("error", () => undefined);
    child.stdin!.end(input);
    const [stdout, stderr] = await Promise.all([text(child.stdout!), text(child.stderr!)]);
    await ended;
    return { status: child.exitCode, stdout, stderr };
  }

  /** The same; throws unless its exit code is 0. Gives stdout. */
  async goodBeside(args: readonly string[], options?: RunOptions): Promise<string> {
    const { status, stdout, stderr } = await this.beside(args, options);
    if (status !== 0) throw new Error(`tidemark ${args.join(" ")} ended with ${status}: ${stderr}`);
    return stdout;
  }

  path(...names: readonly string[]): string {
    return path.join(this.home, ...names);
  }

  write(name: string, bytes: string | Uint8Array): string {
    writeFileSync(this.path(name), bytes);
    return this.path(name);
  }

  /** Ends what was started and still runs, too. */
  remove(): void {
    for (const child of this.#started) child.kill("SIGKILL");
    rmSync(this.home, { recursive: true, force: true });
  }
}
