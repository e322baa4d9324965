/**
 * core.js of the package: the page's part, what the worker's part shares with it (kernel, record batches, protocol),
 * and a worker's first steps. What base.js and the parts need of it, the build exports as well.
 *
 *   page     browser.js → import(core.js) → use() → openTide() → new Worker(core.js)
 *   worker   core.js, being the script that it was started with, → work() → import(base.js) → use() → start()
 */
import { handOn, type PartFile, type Parts, useParts } from "../platform/parts.ts";
import type { Failed, HostOptions, StandBy } from "../port/protocol.ts";
import type { start } from "../worker/start.ts";
import { type Handed, useErrors } from "./errors.ts";

export { destroy, openTide } from "../page/open-tide.ts";

type Base = Handed & PartFile<{ readonly start: typeof start }>;

export function use(handed: Handed, addresses: Parts): void {
  useErrors(handed);
  useParts(addresses);
}

/** A worker's first message says what it is for. */
export function work(): void {
  addEventListener("message", ({ data }: MessageEvent<HostOptions | StandBy>) => void begin(data), { once: true });
}

/** The worker's part runs over this instance of core.js, which parts are handed, too. */
export function host(base: Base, core: object, options: HostOptions | StandBy): void {
  use(base, options.parts);
  const part = base.install(core);
  handOn(part);
  void part.start(options);
}

interface Core {
  readonly host: typeof host;
}

async function begin(options: HostOptions | StandBy): Promise<void> {
  const { parts } = options;
  try {
    // In WebKit a worker's script and the module that import() gives under its address are two: all that follows is of
    // the second.
    const own = import(/* @vite-ignore */ import.meta.url) as Promise<Core>;
    const [base, core] = await Promise.all([import(/* @vite-ignore */ parts.base!) as Promise<Base>, own]);
    core.host(base, core, options);
  } catch (cause) {
    const failed = {
      code: "LOAD_FAILED",
      message: `the package's file base.js can't be loaded from ${parts.base}: ${String(cause)}`,
      details: { file: "base.js" },
    } as const;
    ("standBy" in options ? options.standBy : options.port).postMessage({ failed } satisfies Failed);
  }
}

if (import.meta.url === globalThis.location?.href) work();
