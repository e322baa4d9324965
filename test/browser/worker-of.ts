/** Starts a test worker and ends it with the test file. */
import { type Remote, wrap } from "comlink";
import { afterAll } from "vitest";
import type { VolumeWorker } from "./volume-worker.ts";

export function volumeWorker(): Remote<VolumeWorker> {
  const worker = new Worker(new URL("./volume-worker.ts", import.meta.url), { type: "module" });
  afterAll(() => worker.terminate());
  return wrap<VolumeWorker>(worker);
}
