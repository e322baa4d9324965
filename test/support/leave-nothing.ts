/**
 * A setup file of projects whose files share a process: what a file has planted in it, such as timers, globals and
 * spies, ends with the file.
 */
import { afterAll, vi } from "vitest";

afterAll(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
  vi.unstubAllEnvs();
  vi.restoreAllMocks();
});
