/** Folders for tides over files, in one that the test makes and removes. */
import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll } from "vitest";
import type { Topic } from "../../src/browser/api.ts";

export const SMALL = { segmentBytes: 64 * 1024 };

/** Makes names of folders that do not exist yet. All of them are removed after the file's last test. */
export function foldersOf(test: string): { readonly home: string; readonly newFolder: () => string } {
  const home = mkdtempSync(path.join(os.tmpdir(), `tidemark-${test}-`));
  afterAll(() => rmSync(home, { recursive: true, force: true }));
  let folders = 0;
  return { home, newFolder: () => path.join(home, String(folders++)) };
}

export async function valuesOf<V>(topic: Topic<V>): Promise<(V | null)[]> {
  const values: (V | null)[] = [];
  for await (const { value } of topic.read()) values.push(value);
  return values;
}
