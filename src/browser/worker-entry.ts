/** The dedicated worker: one host, reached by Comlink on the worker's own port. */
import { expose } from "comlink";
import { controlOf, WorkerHost } from "./worker-host.ts";

expose(controlOf(new WorkerHost()));
