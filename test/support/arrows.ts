/**
 * Arrows between files, for the structure test. Inside `worker/` and `src/browser/` imports run one way, from room to
 * room, and no files import each other in a circle. The imports are taken from the parsed program (tidy.ts).
 *
 *   worker/       errors, env, kernel ← bindings ← store ← stream ← wire ← rpc ← telemetry ← subscriptions
 *                 ← front │ log-object ← client ← index, library
 *   src/browser/  platform ← sync-api ← api ← volume, tools ← port ← sync ← worker │ tabs ← page ← package, index
 *
 * Rooms on the two sides of a │ run in different programs and never import one another.
 */
import path from "node:path";
import { importsOf, parse } from "./tidy.ts";

/**
 * The inner rooms from the ground up. Each may import itself and the rooms on lines above its own. A file on the top
 * level counts as a room.
 */
const FLOORS: Readonly<Record<string, readonly (readonly string[])[]>> = {
  worker: [
    ["errors", "env", "kernel", "platform.d"],
    ["bindings"],
    ["store"],
    ["stream"],
    ["wire"],
    ["rpc"],
    ["telemetry"],
    ["subscriptions"],
    ["front", "log-object"],
    ["client"],
    ["index", "library"],
  ],
  "src/browser": [
    ["platform"],
    ["sync-api"],
    ["api"],
    ["volume", "tools"],
    ["port"],
    ["sync"],
    ["worker", "tabs"],
    ["page"],
    ["package", "index"],
  ],
};

interface Inner {
  readonly house: string;
  readonly room: string;
  readonly floor: number;
}

function innerOf(file: string): Inner | undefined {
  for (const [house, floors] of Object.entries(FLOORS)) {
    if (!file.startsWith(`${house}/`)) continue;
    const room = file
      .slice(house.length + 1)
      .split("/")[0]!
      .replace(/\.ts$/, "");
    return { house, room, floor: floors.findIndex((rooms) => rooms.includes(room)) };
  }
  return undefined;
}

const targetsOf = (source: string, file: string): string[] =>
  importsOf(parse(source, file))
    .filter((name) => name.startsWith("."))
    .map((name) => path.posix.normalize(path.posix.join(path.posix.dirname(file), name.replace(/\?\w+$/, ""))));

/** Arrows of one file that run against the order of the rooms around it, as "from → to". */
export function wrongArrows(source: string, file: string): string[] {
  const own = innerOf(file);
  if (!own) return [];
  if (own.floor < 0) return [`${file} is in no known room`];
  return targetsOf(source, file)
    .filter((target) => {
      const other = innerOf(target);
      return other?.house === own.house && other.room !== own.room && other.floor >= own.floor;
    })
    .map((target) => `${file} → ${target}`);
}

/**
 * Sets of files that reach each other by their imports, one sorted list for each circle. (Strongly connected
 * components, Tarjan 1972.)
 */
export function circles(files: ReadonlyMap<string, string>): string[][] {
  const index = new Map<string, number>();
  const low = new Map<string, number>();
  const stack: string[] = [];
  const found: string[][] = [];
  const visit = (file: string): void => {
    index.set(file, index.size);
    low.set(file, index.get(file)!);
    stack.push(file);
    for (const target of targetsOf(files.get(file)!, file)) {
      if (!files.has(target)) continue;
      if (!index.has(target)) {
        visit(target);
        low.set(file, Math.min(low.get(file)!, low.get(target)!));
      } else if (stack.includes(target)) low.set(file, Math.min(low.get(file)!, index.get(target)!));
    }
    if (low.get(file) !== index.get(file)) return;
    const circle = stack.splice(stack.indexOf(file));
    if (circle.length > 1) found.push(circle.sort());
  };
  for (const file of files.keys()) if (!index.has(file)) visit(file);
  return found;
}
