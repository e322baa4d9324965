/** Starts a test worker and ends it with the test file. */
import { type Remote, wrap } from "comlink";
import { afterAll } from "vitest";
import type { Outcome, VolumeWorker } from "./volume-worker.ts";

export function volumeWorker(): Remote<VolumeWorker> {
  const worker = new Worker(new URL("./volume-worker.ts", import.meta.url), { type: "module" });
  afterAll(() => worker.terminate());
  return wrap<VolumeWorker>(worker);
}

/** The value of a step that must succeed. */
export function ok<T>({ value, error }: Outcome<T>): T {
  if (error) throw new Error(`${error.code}: ${error.message} ${JSON.stringify(error.details)}`);
  return value as T;
}
