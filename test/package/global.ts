/**
 * Builds and packs dist/, with the API reference, once for the whole suite. The folder with the tarball and all apps is
 * removed at the end.
 */
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
    /** The tarball's files, as tar unpacks them. Tests read them and copy from them. */
    readonly unpacked: string;
  }
}

interface Packed {
  readonly folder: string;
  readonly tarball: string;
}

/** The projects of a run each load this file, and share what the first one has packed. */
const shared = globalThis as typeof globalThis & { tidemarkPacked?: Packed };

function pack(): Packed {
  const root = path.join(import.meta.dirname, "../..");
  // What `npm pack` runs first, where it runs scripts.
  for (const task of ["build", "reference"])
    execFileSync(process.execPath, [path.join(root, "tools/run/run.mjs"), task], {
      cwd: root,
      stdio: ["ignore", "ignore", "inherit"],
    });
  const folder = mkdtempSync(path.join(os.tmpdir(), "tidemark-package-"));
  const tarball = packInto(folder);
  execFileSync("tar", ["-xzf", tarball, "-C", folder]);
  return { folder, tarball };
}

export default function setup(project: TestProject): () => void {
  const { folder, tarball } = (shared.tidemarkPacked ??= pack());
  project.provide("packageFolder", folder);
  project.provide("tarball", tarball);
  project.provide("unpacked", path.join(folder, "package"));
  return () => rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
}
