/** The dedicated worker: its first message says what to open, everything else comes over the data port in it. */
import { WorkerHost } from "./worker-host.ts";

addEventListener("message", ({ data }) => void new WorkerHost().open(data), { once: true });
