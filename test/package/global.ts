/** Builds and packs dist/ once for the whole suite, and removes the folder with the tarball and all apps at the end. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import type { TestProject } from "vitest/node";
import { packInto } from "./apps.ts";

declare module "vitest" {
  export interface ProvidedContext {
    /** Outside the repository, so that an app can't find packages of the repository. */
    readonly packageFolder: string;
    readonly tarball: string;
  }
}

export default function setup(project: TestProject): () => void {
  const root = path.join(import.meta.dirname, "../..");
  execFileSync(process.execPath, [path.join(root, "tools/run/run.mjs"), "build"], {
    cwd: root,
    stdio: ["ignore", "ignore", "inherit"],
  });
  const folder = mkdtempSync(path.join(os.tmpdir(), "tidemark-package-"));
  project.provide("packageFolder", folder);
  project.provide("tarball", packInto(folder));
  return () => rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
}
