/**
 * Serves apps, by their own server in a child process or as a plain folder. All servers use loopback addresses and free
 * ports.
 */
import { spawn } from "node:child_process";
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import path from "node:path";

export interface Served {
  readonly url: string;
  close(): Promise<void>;
}

const START_MS = 60_000;
const TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".wasm": "application/wasm",
  ".json": "application/json",
};

/** Serves the files below the folder, and `index.html` for a folder. */
export async function serveFolder(folder: string, headers: Readonly<Record<string, string>> = {}): Promise<Served> {
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url!, "http://localhost");
    const file = path.join(
      folder,
      path.normalize(decodeURIComponent(pathname)),
      pathname.endsWith("/") ? "index.html" : "",
    );
    stat(file).then(
      (found) => {
        if (!found.isFile()) return response.writeHead(404).end();
        response.writeHead(200, {
          "content-type": TYPES[path.extname(file)] ?? "application/octet-stream",
          ...headers,
        });
        return createReadStream(file).pipe(response);
      },
      () => response.writeHead(404).end(),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/**
 * Runs a server that prints its address. It gets a process group of its own, so that processes that it starts end with
 * it.
 */
export async function serveCommand(args: readonly string[], cwd: string): Promise<Served> {
  const child = spawn(process.execPath, args, {
    cwd,
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
    env: { ...process.env, NO_COLOR: "1", FORCE_COLOR: "0" },
  });
  const gone = new Promise((resolve) => child.once("exit", resolve));
  const reap = (): boolean => process.kill(-child.pid!, "SIGKILL");
  process.once("exit", reap);
  const close = async (): Promise<void> => {
    process.off("exit", reap);
    if (child.exitCode === null && child.signalCode === null) reap();
    await gone;
  };
  try {
    const url = await new Promise<string>((resolve, reject) => {
      let said = "";
      const timer = setTimeout(() => reject(new Error(`the app's server did not start: ${said}`)), START_MS);
      const hear = (chunk: Buffer): void => {
        said += chunk.toString().replace(/\u001b\[\d+m/g, "");
        const [, port] = /http:\/\/(?:127\.0\.0\.1|localhost):(\d+)/.exec(said) ?? [];
        if (port === undefined) return;
        clearTimeout(timer);
        resolve(`http://127.0.0.1:${port}/`);
      };
      child.stdout.on("data", hear);
      child.stderr.on("data", hear);
      void gone.then(() => reject(new Error(`the app's server ended at its start: ${said}`)));
    });
    return { url, close };
  } catch (thrown) {
    await close();
    throw thrown;
  }
}
