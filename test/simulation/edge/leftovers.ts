/** Finds leftovers of streams that are gone: tables, objects in storage, notes in their sources. */
import { type Core, PATHS } from "./core.ts";
import type { Platform } from "./platform.ts";

/** The forks that a stream's object has noted. */
export function notedForks(platform: Platform, path: string): string[] {
  const host = platform.logOf(path);
  if (!tablesOf(platform, path).includes("meta")) return [];
  return host!.rows("SELECT key FROM meta WHERE key LIKE 'fork:%'").map(({ key }) => String(key).slice(5));
}

export function tablesOf(platform: Platform, path: string): string[] {
  const rows = platform.logOf(path)?.rows("SELECT name FROM sqlite_master WHERE type = 'table'") ?? [];
  return rows.map(({ name }) => String(name)).sort();
}

interface Described {
  readonly releasing: boolean;
  readonly forkCheck?: { readonly at: number };
}

/** The description in a stream's tables. */
export function configIn(platform: Platform, path: string): Described | undefined {
  if (!tablesOf(platform, path).includes("meta")) return undefined;
  const text = platform.logOf(path)!.rows("SELECT value FROM meta WHERE key = 'config'")[0]?.["value"];
  return text === undefined ? undefined : (JSON.parse(String(text)) as Described);
}

/** Keys in the bucket that the path's object knows as its log's. */
function keptKeys(platform: Platform, path: string): Set<string> {
  if (!tablesOf(platform, path).includes("archive")) return new Set();
  return new Set(
    platform
      .logOf(path)!
      .rows("SELECT key FROM archive WHERE state = 1")
      .map(({ key }) => String(key)),
  );
}

/** Fails if there is anything. Enough time must have passed for what alarms do late. */
export function checkLeftovers(of: Core): void {
  const { platform, model } = of;
  for (const path of PATHS) {
    const stream = model.at.get(path);
    // Nobody knows yet whether it is over.
    if (stream && stream.ends[0] <= of.now + 1_000) continue;
    const prefix = `dev/${path}/`;
    const keys = [...platform.bucket.held.keys()].filter((key) => key.startsWith(prefix));
    if (!stream) {
      const tables = tablesOf(platform, path);
      if (tables.length + keys.length > 0) of.fail(`left of ${path}: ${tables.join()} ${keys.join()}`);
      continue;
    }
    const kept = keptKeys(platform, path);
    const unknown = keys.filter((key) => !kept.has(key));
    if (unknown.length > 0) of.fail(`the log of ${path} has no use for ${unknown.join()}`);
    const noted = notedForks(platform, path).sort().join();
    const forks = [...stream.forks]
      .map((fork) => fork.path)
      .sort()
      .join();
    if (noted !== forks) of.fail(`${path} is held by ${noted}, its forks are ${forks}`);
  }
  of.count("leftovers looked for");
}
