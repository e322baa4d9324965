/**
 * core.js of the package: the page's part and the worker's part in one file, because they share a third of their code (kernel,
 * record batches, errors) and this way a tab loads that once.
 *
 *   page     import(core.js) → openTide() → new Worker(core.js)
 *   worker   core.js, being the script that the worker was started with, → host
 */
// First, because gzip looks back 32 KiB and no further: in this order what is alike lies near, which is worth 1 % of the file.
import { WorkerHost } from "./worker-host.ts";

export { openTide } from "./client.ts";
export { useParts } from "./parts.ts";

if (import.meta.url === globalThis.location?.href) addEventListener("message", ({ data }) => void new WorkerHost().open(data), { once: true });
