/**
 * What lies beside the segments of an exported folder:
 *
 *   tidemark-export.json  from before the first segment until all is there: whose export is under way, and which
 *                         segments it has written or found
 *   manifest.json         written last: whose segments these are, where the topic began and ended, each file's size and
 *                         SHA-256, and the SHA-256 of what the manifest itself says
 *
 * A .log file that the manifest does not name does not belong to the topic: an earlier export may have left it.
 */
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import path from "node:path";
import { Failure } from "./failure.ts";
import { identityOf } from "./identity.ts";
import { writeWhole } from "./whole-file.ts";

export const MANIFEST = "manifest.json";
export const UNDER_WAY = "tidemark-export.json";
/** Names that export gives to files, as a broker does. */
const EXPORTED = /^(\d{20})\.(log|index|timeindex)$/;
/** Fields by which a damaged manifest is still known: one flipped bit leaves most of them. A web app's has none. */
const FIELDS = ["tidemark", "source", "start", "end", "files", "sha256"];

export interface ExportedFile {
  readonly name: string;
  readonly bytes: number;
  readonly sha256: string;
}

/** Whose segments a folder holds. */
export interface Exported {
  readonly topic: string;
  /**
   * The content type if the topic is a stream at an edge. An import makes a stream of this type. A folder's has none.
   */
  readonly contentType?: string | undefined;
  /** Tells targets apart and names none: the first digits of a SHA-256. Earlier versions did not write it. */
  readonly source?: string;
}

export interface Manifest extends Exported {
  /** Where the topic began: what was trimmed may still be in its first segment. */
  readonly start: number;
  readonly end: number;
  readonly files: readonly ExportedFile[];
}

export const sha256 = (bytes: string | Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
const digestOf = (text: string): string => sha256(text).slice(0, 16);
/** What is written of a target. Earlier versions took it as it was spelled. */
const sourcesOf = (target: string): readonly [written: string, earlier: string] => [
  digestOf(identityOf(target)),
  digestOf(target),
];

const sayingOf = ({ topic, source, contentType, start, end, files }: Manifest): object => ({
  tidemark: 1,
  topic,
  source,
  contentType,
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
  const said = Object(parsed) as Record<string, unknown>;
  const { tidemark, topic, source, contentType, start, end, files, sha256: digest } = said;
  if (tidemark !== 1) return "it is none that this version of `tidemark export` writes";
  // Manifests of earlier versions say neither.
  const isEarlier = source === undefined && digest === undefined;
  if (!isText(topic) || !(isText(source) || isEarlier)) return "it does not say whose segments these are";
  if (contentType !== undefined && !isText(contentType)) return "its content type is no text";
  if (![start, end].every((each) => Number.isSafeInteger(each) && (each as number) >= 0))
    return "it does not say where the topic begins and ends";
  if (!Array.isArray(files) || !files.every(isFile))
    return "it does not name the files, each with its size and SHA-256";
  if (isEarlier) return undefined;
  return digest === sha256(JSON.stringify(sayingOf(parsed as Manifest))) ? undefined : "its own SHA-256 is another";
}

/** The contents of manifest.json; undefined if there is none, or if no export has written it. SyntaxError. */
function parsedIn(folder: string): Record<string, unknown> | undefined {
  const file = path.join(folder, MANIFEST);
  if (!existsSync(file)) return undefined;
  const parsed = Object(JSON.parse(readFileSync(file, "utf8"))) as Record<string, unknown>;
  return FIELDS.some((field) => Object.hasOwn(parsed, field)) ? parsed : undefined;
}

/** Undefined if the folder has none. Failure: it can't be read, or is not as it was written. */
export function readManifest(folder: string): Manifest | undefined {
  let parsed: Record<string, unknown> | undefined;
  let wrong: string | undefined;
  try {
    parsed = parsedIn(folder);
    wrong = parsed && wrongIn(parsed);
  } catch (thrown) {
    wrong = (thrown as Error).message;
  }
  if (wrong === undefined) return parsed as Manifest | undefined;
  throw new Failure(`${path.join(folder, MANIFEST)} can't be read: ${wrong}`);
}

/** The same, and undefined if it can't be read. */
export function goodManifest(folder: string): Manifest | undefined {
  try {
    return readManifest(folder);
  } catch {
    return undefined;
  }
}

/** What is to be done about a manifest that can't be read. Without it what was trimmed would come back. */
function wayOut(folder: string): string {
  try {
    const { start } = parsedIn(folder)!;
    if (Number.isSafeInteger(start))
      return (
        `it says that its topic begins at ${start as number}, and without it what was trimmed may come back: export ` +
        `anew, or take another copy of it`
      );
  } catch {
    // The broken manifest says nothing about its topic.
  }
  return "so where its topic begins is not known: remove it to take all";
}

const logsIn = (folder: string): string[] =>
  readdirSync(folder)
    .filter((name) => name.endsWith(".log"))
    .sort();

export const holdsSegments = (folder: string): boolean =>
  readdirSync(folder).some((name) => name.endsWith(".log") || name === UNDER_WAY) || hasManifest(folder);

function hasManifest(folder: string): boolean {
  try {
    return parsedIn(folder) !== undefined;
  } catch {
    return true;
  }
}

/** Whether all files are as the manifest says. */
const isWhole = (folder: string, { files }: Manifest): boolean =>
  files.every(({ name, sha256: digest }) => {
    const file = path.join(folder, name);
    return existsSync(file) && sha256(readFileSync(file)) === digest;
  });

/** Undefined if no export into the folder is under way; else what can be done. */
export function notWhole(folder: string): string | undefined {
  if (!existsSync(path.join(folder, UNDER_WAY))) return undefined;
  const manifest = goodManifest(folder);
  const without =
    manifest && isWhole(folder, manifest)
      ? `remove ${UNDER_WAY} to take the earlier export, which is still whole`
      : "tidemark verify FOLDER --repair saves what is there";
  return `make the same call of tidemark export again. If its source is gone, ${without}`;
}

/** Names of the .log files that a folder of segments holds, and where its topic began. */
export interface SegmentFolder {
  readonly logs: readonly string[];
  /** 0 for a broker's folder. */
  readonly start: number;
  /** .log files that do not belong to the topic. */
  readonly others: readonly string[];
  /** `tidemark export` has made it. */
  readonly isExported: boolean;
}

/** Undefined if no export has made the folder. Failure: it is not whole, or its manifest can't be read. */
function manifestOf(folder: string): Manifest | undefined {
  const what = notWhole(folder);
  if (what !== undefined) throw new Failure(`the export into ${folder} is not whole: ${what}`);
  try {
    return readManifest(folder);
  } catch (thrown) {
    throw new Failure(`${(thrown as Error).message}; ${wayOut(folder)}`);
  }
}

/** The content type of the stream that a folder was exported of, if it says so. Failure: as segmentFolder(). */
export const contentTypeOf = (folder: string): string | undefined => manifestOf(folder)?.contentType;

/** Where the topic of a folder's .log files began, whichever of them are there. Failure: as segmentFolder(). */
export const startOf = (folder: string): number => manifestOf(folder)?.start ?? 0;

/** Failure: its export is not whole, its manifest can't be read, or a file that it names is not there. */
export function segmentFolder(folder: string): SegmentFolder {
  const manifest = manifestOf(folder);
  const there = logsIn(folder);
  if (!manifest) return { logs: there, start: 0, others: [], isExported: false };
  const logs = manifest.files.map(({ name }) => name).filter((name) => name.endsWith(".log"));
  const missing = logs.find((name) => !there.includes(name));
  if (missing !== undefined) throw new Failure(`${folder}: ${missing} is named by ${MANIFEST} and is not there`);
  const others = there.filter((name) => !logs.includes(name));
  return { logs: logs.sort(), start: manifest.start, others, isExported: true };
}

interface State extends Exported {
  /** Names without their endings; undefined in a state of an earlier version. */
  readonly segments?: readonly string[] | undefined;
}

function readState(file: string): State {
  try {
    const { topic, source, segments } = JSON.parse(readFileSync(file, "utf8")) as Partial<State>;
    const isTold = Array.isArray(segments) && segments.every(isText);
    if (isText(topic) && isText(source)) return { topic: topic!, source: source!, ...(isTold && { segments }) };
  } catch {
    // Refused below.
  }
  throw new Failure(`${file} can't be read: remove it, and what lies beside it, or name another folder`);
}

const segmentsOf = (manifest: Manifest | undefined): string[] =>
  (manifest?.files ?? []).flatMap(({ name }) => EXPORTED.exec(name)?.[1] ?? []);

/** An export into a folder. What no export of the topic has written there stays as it is. */
export class FolderExport {
  readonly #folder: string;
  readonly #exported: Exported;
  /** Names without their endings. */
  readonly #segments: Set<string>;

  private constructor(folder: string, exported: Exported, segments: readonly string[]) {
    this.#folder = folder;
    this.#exported = exported;
    this.#segments = new Set(segments);
  }

  /**
   * Begins, or goes on. `target` is what is exported from, as LogTarget.where says it. Failure: the folder has another
   * topic's segments, or files of such names that no export has written.
   */
  static begin(folder: string, topic: string, target: string): FolderExport {
    const file = path.join(folder, UNDER_WAY);
    const state = existsSync(file) ? readState(file) : undefined;
    const found = state ?? readManifest(folder);
    if (!found && logsIn(folder).length > 0)
      throw new Failure(`${folder} has .log files that no export has named: name another folder, or remove them`);
    const [source, earlier] = sourcesOf(target);
    const isSame = found?.source === undefined || [source, earlier].includes(found.source);
    if (found && (found.topic !== topic || !isSame)) {
      const whose = found.topic === topic ? `${found.topic} of another target` : found.topic;
      throw new Failure(`${folder} has the segments of ${whose}: name another folder, or remove it`);
    }
    const segments = state?.segments ?? segmentsOf(goodManifest(folder));
    const isOwn = (name: string): boolean => segments.includes(EXPORTED.exec(name)?.[1] ?? "");
    const strays = readdirSync(folder).filter((name) => EXPORTED.test(name) && !isOwn(name));
    // A state of an earlier version does not say what was written under it.
    if (strays.length > 0 && !(state && !state.segments))
      throw new Failure(
        `${folder} has ${strays.slice(0, 3).join(", ")}, which no export of ${topic} has written: name another ` +
          `folder, or remove them`,
      );
    const begun = new FolderExport(folder, { topic, source }, segments);
    begun.#save();
    return begun;
  }

  #save(): void {
    const state: State = { ...this.#exported, segments: [...this.#segments] };
    writeWhole(path.join(this.#folder, UNDER_WAY), JSON.stringify(state));
  }

  /** Files of this segment are about to be written. */
  writes(segment: string): void {
    if (this.#segments.has(segment)) return;
    this.#segments.add(segment);
    this.#save();
  }

  /** All files are there. Those that an earlier export wrote, and that the topic has no more, are removed. */
  end({ contentType, start, end, files }: Omit<Manifest, "topic" | "source">): void {
    const said = sayingOf({ ...this.#exported, contentType, start, end, files });
    const whole = { ...said, sha256: sha256(JSON.stringify(said)) };
    writeWhole(path.join(this.#folder, MANIFEST), `${JSON.stringify(whole, null, 1)}\n`);
    const names = new Set(files.map(({ name }) => name));
    for (const name of readdirSync(this.#folder))
      if (this.#segments.has(EXPORTED.exec(name)?.[1] ?? "") && !names.has(name)) rmSync(path.join(this.#folder, name));
    rmSync(path.join(this.#folder, UNDER_WAY), { force: true });
  }
}
