/**
 * Records a trace: bundles page and worker, perhaps with a planted bug, serves them, and runs the history in a real
 * Chromium with a profile on disk.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { chromium, type Page } from "playwright";
import { rolldown } from "rolldown";
import { kernelBytes } from "../support/kernels.ts";
// @ts-expect-error plain JavaScript, because it also runs before any package is installed
import { CHROMIUM_ARGS, ensureChromium } from "../../tools/run/setup.mjs";
import { type PlantedBug, plantedBug } from "../support/planted-bug.ts";
import { COMPACTED_LOGS, type HistoryOptions } from "./history.ts";
import { decodeTrace, type Trace, type TraceEvent } from "./trace.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));

export interface RecordOptions extends Omit<HistoryOptions, "name"> {
  readonly bug?: PlantedBug;
  /** A program that is started instead of Chromium, and starts it. */
  readonly launcher?: string;
}

async function bundle(file: string, bug?: PlantedBug): Promise<string> {
  const plugin = bug && plantedBug(bug);
  const input = path.join(root, "test/power", file);
  // package.json says that modules have no side effects, so tree shaking would drop the worker's entry.
  const made = await rolldown({
    input,
    cwd: root,
    platform: "browser",
    plugins: [plugin],
    treeshake: false,
    transform: { target: "es2022" },
    logLevel: "silent",
  });
  const { output } = await made.generate({ format: "esm", codeSplitting: false });
  await made.close();
  plugin?.check();
  return output[0].code;
}

/** Serves page, worker and kernel on a loopback port. Calls `take` with the body of each POST. */
async function serve(bug: PlantedBug | undefined, take: (bytes: Uint8Array) => void): Promise<Server> {
  const script = "text/javascript";
  const files = new Map<string, readonly [type: string, body: string | Uint8Array]>([
    ["/", ["text/html", '<!doctype html><title>loading</title><script type="module" src="/page.js"></script>']],
    ["/page.js", [script, await bundle("recording-page.ts")]],
    ["/worker.js", [script, await bundle("recording-worker.ts", bug)]],
    ["/kernel.wasm", ["application/wasm", await kernelBytes("release")]],
  ]);
  const server = createServer(async (request, response) => {
    if (request.method === "POST") {
      const parts: Uint8Array[] = [];
      for await (const part of request) parts.push(part as Uint8Array);
      take(new Uint8Array(Buffer.concat(parts)));
      response.end();
      return;
    }
    const file = files.get(new URL(request.url ?? "", "http://page").pathname);
    response.writeHead(file ? 200 : 404, { "content-type": file?.[0] ?? "text/plain" }).end(file?.[1]);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return server;
}

/** Loads the page and runs the history. Rejects with the first error of the page. */
async function drive(page: Page, url: string, options: HistoryOptions): Promise<void> {
  const failed = new Promise<never>((_, reject) => page.on("pageerror", reject));
  await page.goto(url);
  await page.waitForFunction(() => document.title === "ready");
  await Promise.race([
    failed,
    page.evaluate(
      (history) => (globalThis as typeof globalThis & { record(options: object): Promise<void> }).record(history),
      options,
    ),
  ]);
}

export async function recordTrace({ bug, launcher, ...history }: RecordOptions): Promise<Trace> {
  const events: TraceEvent[] = [];
  let lives = 0;
  const server = await serve(bug, (bytes) => {
    events.push({ kind: "life", life: lives++ });
    // Not `push(...)`: a call cannot have this many arguments.
    for (const event of decodeTrace<TraceEvent[]>(bytes)) events.push(event);
  });
  const profile = await mkdtemp(path.join(os.tmpdir(), "tidemark-power-"));
  const name = "power";
  try {
    const context = await chromium.launchPersistentContext(profile, {
      executablePath: launcher ?? (ensureChromium() as string),
      args: CHROMIUM_ARGS as string[],
    });
    try {
      await drive(await context.newPage(), `http://127.0.0.1:${(server.address() as AddressInfo).port}/`, {
        ...history,
        name,
      });
    } finally {
      await context.close();
    }
  } finally {
    server.close();
    server.closeAllConnections();
    await rm(profile, { recursive: true, force: true, maxRetries: 5 });
  }
  if (lives !== history.endings.length)
    throw new Error(`${history.endings.length} lives were run, but ${lives} left a trace`);
  return {
    engine: history.engine,
    name,
    slotBytes: history.slotBytes,
    compacted: COMPACTED_LOGS,
    seed: history.seed,
    events,
  };
}
