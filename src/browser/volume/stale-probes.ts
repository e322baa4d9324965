/**
 * Removes what a self-test (engine-self-test.ts) leaves where its tab ends in the middle of it: a folder, a file or a
 * database of some bytes, under a name that nobody uses again. Loaded with destroy().
 *
 * Only names that were there while no worker of any tide lived are removed: the tests that made them are over. A test
 * that begins meanwhile has another name.
 */
import { heldLocks } from "../platform/locks.ts";
import { databaseName, databaseNames } from "../platform/names.ts";
import { type DirectoryHandle, findDirectory } from "./opfs-files.ts";

/** The names of all workers' locks begin so (platform/locks.ts). */
const WORKER = "tidemark-worker:";
const UUID = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$";
const PROBE = new RegExp(`^\\.probe-${UUID}`);
const PRIVATE_TEST = new RegExp(`^\\.tidemark-${UUID}`);
const DATABASE = new RegExp(`^${databaseName("\\.probe-")}${UUID}`);

async function findLeft(path: readonly string[], pattern: RegExp): Promise<() => Promise<unknown>> {
  const directory: DirectoryHandle = await findDirectory(path, false);
  const names: string[] = [];
  for await (const name of directory.keys()) if (pattern.test(name)) names.push(name);
  return () => Promise.allSettled(names.map((name) => directory.removeEntry(name, { recursive: true })));
}

async function findLeftDatabases(): Promise<() => Promise<unknown>> {
  const names = (await databaseNames()).filter((name) => DATABASE.test(String(name)));
  return async () => names.forEach((name) => indexedDB.deleteDatabase(String(name)));
}

/** Removes all that it can; the next call tries the rest again. */
export async function removeStaleProbes(): Promise<void> {
  const found = await Promise.allSettled([
    findLeft(["tidemark"], PROBE),
    findLeft([], PRIVATE_TEST),
    findLeftDatabases(),
  ]);
  // The locks are listed after the names. So if no worker lives now, the test behind each of these names is over.
  const isTested = await heldLocks().then((locks) => locks.some((lock) => lock.startsWith(WORKER)));
  if (isTested) return;
  await Promise.allSettled(found.map((each) => each.status === "fulfilled" && each.value()));
}
