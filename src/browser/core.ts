/**
 * core.js of the package: the page's part and the worker's part in one file, because they share a third of their code (kernel,
 * record batches, errors) and this way a tab loads that once.
 *
 *   page     import(core.js) → openTide() → new Worker(core.js)
 *   worker   core.js, being the script that the worker was started with, → host
 */
// Only for the order of the file: gzip looks back 32 KiB and no further, and what is alike lies near this way. Worth 2 %.
import "./platform.ts";
import "../store/footer.ts";
import "../store/slot.ts";
import "../store/segmented-log.ts";
import "../store/segment.ts";
import "../store/segment-store.ts";
import "./opfs-volume.ts";
import "../log/producer-state.ts";
import "../topic/serializer.ts";
import { WorkerHost } from "./worker-host.ts";

export { openTide } from "./client.ts";
export { useParts } from "./parts.ts";

if (import.meta.url === globalThis.location?.href) addEventListener("message", ({ data }) => void new WorkerHost().open(data), { once: true });
