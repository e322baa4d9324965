/**
 * The package as its users get it: made by `npm pack` and unpacked into an app outside this repository. An app is a
 * folder of files; the test that uses it decides how it is built and served.
 *
 *   const app = await PackedApp.make({ "index.html": "…", "main.ts": "…" });
 *   app.viteBuild();                       Vite's defaults; the result is app.folder/dist
 *   const site = await serveFolder(path.join(app.folder, "dist"));
 *   await app.remove();
 */
import { execFileSync } from "node:child_process";
import { createReadStream, existsSync, statSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { createServer, type OutgoingHttpHeaders, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import os from "node:os";
import path from "node:path";
// @ts-expect-error plain JavaScript, because it also runs before any package is installed
import { root } from "../../tools/run/setup.mjs";

const repository = root as string;
const npm = (args: readonly string[], cwd: string): string =>
  execFileSync("npm", args, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });

export class PackedApp {
  private constructor(readonly folder: string) {}

  /** Builds dist/ first, unless `TIDEMARK_DIST=built` says that it was built already. */
  static async make(files: Readonly<Record<string, string>>): Promise<PackedApp> {
    if (process.env["TIDEMARK_DIST"] !== "built") {
      execFileSync(process.execPath, [path.join(repository, "tools/run/run.mjs"), "build"], {
        cwd: repository,
        stdio: "pipe",
      });
    }
    const app = new PackedApp(await mkdtemp(path.join(os.tmpdir(), "tidemark-packed-")));
    await app.write({ "package.json": JSON.stringify({ name: "app", private: true, type: "module" }), ...files });
    const [packed] = JSON.parse(
      npm(["pack", "--json", "--ignore-scripts", "--pack-destination", app.folder], repository),
    ) as { filename: string }[];
    // npm would take two seconds of the processor to do the same; that it installs the file is tested in test/package.
    await mkdir(app.installed, { recursive: true });
    await mkdir(path.join(app.folder, "node_modules/.bin"));
    await symlink("../tidemark/bin/tidemark.mjs", path.join(app.folder, "node_modules/.bin/tidemark"));
    execFileSync("tar", ["-xzf", packed!.filename, "-C", app.installed, "--strip-components=1"], { cwd: app.folder });
    return app;
  }

  /** The folder of the installed package. */
  get installed(): string {
    return path.join(this.folder, "node_modules/tidemark");
  }

  async write(files: Readonly<Record<string, string>>): Promise<void> {
    for (const [name, text] of Object.entries(files)) {
      await mkdir(path.dirname(path.join(this.folder, name)), { recursive: true });
      await writeFile(path.join(this.folder, name), text);
    }
  }

  /**
   * Plants a defect in the installed package: `text` in this file of dist/ becomes `instead`. Throws if the file does
   * not contain it.
   */
  async plant(file: string, text: string, instead: string): Promise<void> {
    const where = path.join(this.installed, "dist", file);
    const code = await readFile(where, "utf8");
    if (!code.includes(text)) throw new Error(`${file} holds no ${text}`);
    await writeFile(where, code.replaceAll(text, instead));
  }

  /** Builds with the repository's own Vite, and with nothing configured. */
  viteBuild(...args: readonly string[]): void {
    execFileSync(
      process.execPath,
      [path.join(repository, "node_modules/vite/bin/vite.js"), "build", "--target", "es2022", ...args],
      { cwd: this.folder, stdio: "pipe" },
    );
  }

  remove(): Promise<void> {
    return rm(this.folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

const TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".wasm": "application/wasm",
  ".css": "text/css",
  ".svg": "image/svg+xml",
};

/** A test's answer instead of a file: status, body and headers. With undefined the file in the folder is served. */
export interface Instead {
  readonly status?: number;
  readonly type?: string;
  readonly body?: string | Uint8Array;
}

export interface Site {
  readonly url: string;
  /** Every path that was requested, with its query. */
  readonly asked: string[];
  /** If set, its answers are served instead of the folder's files. */
  instead: ((pathname: string) => Instead | undefined) | undefined;
  close(): Promise<void>;
}

/** Serves a folder on a port of its own. `headers` are sent with every answer. */
export async function serveFolder(folder: string, headers: OutgoingHttpHeaders = {}): Promise<Site> {
  const asked: string[] = [];
  const site = { asked, instead: undefined } as { -readonly [field in keyof Site]: Site[field] };
  const server: Server = createServer((request, response) => {
    const { pathname } = new URL(request.url!, "http://localhost");
    asked.push(request.url!);
    const instead = site.instead?.(pathname);
    const file = path.join(folder, pathname.endsWith("/") ? `${pathname}index.html` : pathname);
    const isThere = file.startsWith(folder) && existsSync(file) && statSync(file).isFile();
    if (instead)
      response
        .writeHead(instead.status ?? 200, { "content-type": instead.type ?? "text/plain", ...headers })
        .end(instead.body);
    else if (!isThere) response.writeHead(404, { "content-type": "text/plain", ...headers }).end("not found");
    else {
      response.writeHead(200, {
        "content-type": TYPES[path.extname(file)] ?? "application/octet-stream",
        "cache-control": "no-store",
        ...headers,
      });
      createReadStream(file).pipe(response);
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  site.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  site.close = () =>
    new Promise((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  return site;
}
