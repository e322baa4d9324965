/**
 * core.js of the package: the page's part, the worker's part, what both share (kernel, record batches, protocol), and a
 * worker's first steps. The build also exports what the parts take from it.
 *
 *   page     browser.js → import(core.js) → use() → openTide() → new Worker(core.js)
 *   worker   core.js, being the script that it was started with, → work() → host() → start()
 */
import { type Parts, useParts } from "../platform/parts.ts";
import type { Failed, HostOptions, StandBy } from "../port/protocol.ts";
import { start } from "../worker/start.ts";
import { type Handed, useErrors } from "./errors.ts";
import { ownErrors } from "./own-errors.ts";

export { destroyNamed, openTide } from "../page/open-tide.ts";
/** What more than one part needs is here. */
export { proveTerm, waitAlone } from "../volume/sole-writer.ts";

export function use(handed: Handed, addresses: Parts): void {
  useErrors(handed);
  useParts(addresses);
}

/** The first message to a worker says what it must do. */
export function work(): void {
  addEventListener("message", ({ data }: MessageEvent<HostOptions | StandBy>) => void begin(data), { once: true });
}

/** Runs the worker's part in that instance of core.js which is also passed to parts. */
export function host(options: HostOptions | StandBy): void {
  use(ownErrors(options.parts.words!), options.parts);
  void start(options);
}

async function begin(options: HostOptions | StandBy): Promise<void> {
  try {
    // In WebKit a worker's script, and the module that import() returns for the same address, are two instances.
    // Everything from here on uses the second.
    const core = (await import(/* @vite-ignore */ import.meta.url)) as { readonly host: typeof host };
    core.host(options);
  } catch (cause) {
    const failed = {
      code: "LOAD_FAILED",
      message: `the package's file core.js can't be loaded from ${import.meta.url}: ${String(cause)}`,
      details: { file: "core.js" },
    } as const;
    ("standBy" in options ? options.standBy : options.port).postMessage({ failed } satisfies Failed);
  }
}

if (import.meta.url === globalThis.location?.href) work();
