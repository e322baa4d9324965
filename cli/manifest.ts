/**
 * What lies beside the segments of an exported folder:
 *
 *   tidemark-export.json  from before the first segment until all is there: whose export is under way
 *   manifest.json         written last: whose segments these are, where the topic began and ended, each file's size and
 *                         SHA-256, and the SHA-256 of what the manifest itself says
 *
 * A .log file that the manifest does not name is none of the topic's: an earlier export may have left it.
 */
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import path from "node:path";
import { Failure } from "./failure.ts";
import { writeWhole } from "./whole-file.ts";

export const MANIFEST = "manifest.json";
export const UNDER_WAY = "tidemark-export.json";
/** Names that export gives to files. Others in its folder are somebody else's. */
const EXPORTED = /^\d{20}\.(log|index|timeindex)$/;

export interface ExportedFile {
  readonly name: string;
  readonly bytes: number;
  readonly sha256: string;
}

/** Whose segments a folder holds. */
export interface Exported {
  readonly topic: string;
  /** Tells targets apart and names none: the first digits of a SHA-256. */
  readonly source: string;
}

export interface Manifest extends Exported {
  /** Where the topic began: what was trimmed may still be in its first segment. */
  readonly start: number;
  readonly end: number;
  readonly files: readonly ExportedFile[];
}

export const sha256 = (bytes: string | Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
export const sourceOf = (target: string): string => sha256(target).slice(0, 16);

const sayingOf = ({ topic, source, start, end, files }: Manifest): object => ({
  tidemark: 1,
  topic,
  source,
  start,
  end,
  files: files.map(({ name, bytes, sha256: digest }) => ({ name, bytes, sha256: digest })),
});

const isFile = (file: unknown): boolean => {
  const { name, bytes, sha256: digest } = Object(file) as { readonly [field in keyof ExportedFile]?: unknown };
  return typeof name === "string" && path.basename(name) === name && Number.isSafeInteger(bytes) && isText(digest);
};
const isText = (value: unknown): boolean => typeof value === "string";

/** Why the text is no manifest; undefined if it is one. */
function wrongIn(parsed: unknown): string | undefined {
  const { tidemark, topic, source, start, end, files, sha256: digest } = Object(parsed) as Record<string, unknown>;
  if (tidemark !== 1) return "it is none that this version of `tidemark export` writes";
  if (!isText(topic) || !isText(source)) return "it does not say whose segments these are";
  if (![start, end].every((each) => Number.isSafeInteger(each) && (each as number) >= 0))
    return "it does not say where the topic begins and ends";
  if (!Array.isArray(files) || !files.every(isFile))
    return "it does not name the files, each with its size and SHA-256";
  return digest === sha256(JSON.stringify(sayingOf(parsed as Manifest))) ? undefined : "its own SHA-256 is another";
}

/** Undefined if the folder has none. Failure: it can't be read, or is not as it was written. */
export function readManifest(folder: string): Manifest | undefined {
  const file = path.join(folder, MANIFEST);
  if (!existsSync(file)) return undefined;
  let parsed: unknown;
  let wrong: string | undefined;
  try {
    parsed = JSON.parse(readFileSync(file, "utf8"));
    wrong = wrongIn(parsed);
  } catch (thrown) {
    wrong = (thrown as Error).message;
  }
  if (wrong === undefined) return parsed as Manifest;
  throw new Failure(`${file} can't be read: ${wrong}`);
}

const logsIn = (folder: string): string[] =>
  readdirSync(folder)
    .filter((name) => name.endsWith(".log"))
    .sort();

export const holdsSegments = (folder: string): boolean =>
  readdirSync(folder).some((name) => name.endsWith(".log") || name === MANIFEST || name === UNDER_WAY);

/** Names of the .log files that a folder of segments holds, and where its topic began. */
export interface SegmentFolder {
  readonly logs: readonly string[];
  /** 0 for a broker's folder. */
  readonly start: number;
  /** .log files that are none of the topic's. */
  readonly others: readonly string[];
}

/** Failure: its export is not whole, or its manifest can't be read. */
export function segmentFolder(folder: string): SegmentFolder {
  if (existsSync(path.join(folder, UNDER_WAY)))
    throw new Failure(`the export into ${folder} is not whole: make the same call of tidemark export again`);
  let manifest: Manifest | undefined;
  try {
    manifest = readManifest(folder);
  } catch (thrown) {
    throw new Failure(`${(thrown as Error).message}; so where its topic begins is not known: remove it to take all`);
  }
  const there = logsIn(folder);
  if (!manifest) return { logs: there, start: 0, others: [] };
  const logs = manifest.files.map(({ name }) => name).filter((name) => name.endsWith(".log"));
  const missing = logs.find((name) => !there.includes(name));
  if (missing !== undefined) throw new Failure(`${folder}: ${missing} is named by ${MANIFEST} and is not there`);
  return { logs: logs.sort(), start: manifest.start, others: there.filter((name) => !logs.includes(name)) };
}

function readState(file: string): Exported {
  try {
    const { topic, source } = JSON.parse(readFileSync(file, "utf8")) as Partial<Exported>;
    if (topic !== undefined && source !== undefined) return { topic, source };
  } catch {
    // Refused below.
  }
  throw new Failure(`${file} can't be read: remove it, and what lies beside it, or name another folder`);
}

/** An export into this folder begins, or goes on. Failure: the folder has another topic's segments. */
export function beginExport(folder: string, exported: Exported): void {
  const state = path.join(folder, UNDER_WAY);
  const isBegun = existsSync(state);
  const found = isBegun ? readState(state) : readManifest(folder);
  if (!found && logsIn(folder).length > 0)
    throw new Failure(`${folder} has .log files that no export has named: name another folder, or remove them`);
  if (found && (found.topic !== exported.topic || found.source !== exported.source)) {
    const whose = found.topic === exported.topic ? `${found.topic} of another target` : found.topic;
    throw new Failure(`${folder} has the segments of ${whose}: name another folder, or remove it`);
  }
  if (!isBegun) writeWhole(state, JSON.stringify(exported));
}

/** All files are there. Those of an earlier export that are none of the topic's any more are removed. */
export function endExport(folder: string, manifest: Manifest): void {
  const said = sayingOf(manifest);
  const whole = { ...said, sha256: sha256(JSON.stringify(said)) };
  writeWhole(path.join(folder, MANIFEST), `${JSON.stringify(whole, null, 1)}\n`);
  const names = new Set(manifest.files.map(({ name }) => name));
  for (const name of readdirSync(folder)) if (EXPORTED.test(name) && !names.has(name)) rmSync(path.join(folder, name));
  rmSync(path.join(folder, UNDER_WAY));
}
