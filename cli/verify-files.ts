/**
 * Checks Kafka's files: each batch by its checksum and its records, offsets that rise, epochs that do not fall; index
 * entries, which must name a batch that is there; and, in a folder that `tidemark export` made, each file's SHA-256.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { TidemarkError } from "../src/errors.ts";
import type { Kernel } from "../src/kernel/types.ts";
import { BATCH_HEADER_BYTES, nextOffsetOf, readHeader } from "../src/record/format.ts";
import { decodeBatch } from "../src/record/record-batch.ts";
import { viewOf } from "../src/record/bytes.ts";
import { unpackBatch } from "./kafka-codecs.ts";
import {
  type ExportedFile,
  goodManifest,
  holdsSegments,
  type Manifest,
  MANIFEST,
  notWhole,
  readManifest,
  sha256,
} from "./manifest.ts";
import type { Range } from "./offset-ranges.ts";
import { OLD_FORMAT, oldFormatOf } from "./segment-files.ts";
import type { Checked, Fault } from "./verify-tide.ts";

/** A folder of segments: what to look at, and what is wrong with the folder itself. */
export interface FolderCheck {
  readonly logs: readonly string[];
  readonly faults: Fault[];
  /** Where its topic begins and ends, and offsets of files that are gone, as far as its manifest can be read. */
  readonly start: number;
  readonly end?: number;
  readonly gone?: readonly Range[];
}

/** Undefined if it is no folder of segments. */
export function verifyFolder(folder: string): FolderCheck | undefined {
  if (!holdsSegments(folder)) return undefined;
  const there = readdirSync(folder).sort();
  const logs = there.filter((name) => name.endsWith(".log"));
  const all = logs.map((name) => path.join(folder, name));
  const what = notWhole(folder);
  // What was trimmed before an earlier export began stays away as well.
  if (what !== undefined)
    return {
      logs: all,
      start: goodManifest(folder)?.start ?? 0,
      faults: [{ where: folder, what: `its export is not whole: ${what}` }],
    };
  let manifest: Manifest | undefined;
  try {
    manifest = readManifest(folder);
  } catch (thrown) {
    return { logs: all, start: 0, faults: [{ where: MANIFEST, what: (thrown as Error).message }] };
  }
  if (!manifest) return { logs: all, start: 0, faults: [] };
  const named = new Set(manifest.files.map(({ name }) => name));
  const others = logs.filter((name) => !named.has(name));
  return {
    logs: logs.filter((name) => named.has(name)).map((name) => path.join(folder, name)),
    start: manifest.start,
    end: manifest.end,
    gone: goneFrom(manifest, logs),
    faults: [
      ...manifest.files.flatMap((file) => fileFaults(folder, file)),
      ...others.map((name) => ({ where: name, what: `${MANIFEST} does not name it, so it is not looked at` })),
    ],
  };
}

/** The offsets of .log files that are not there: from a file's name to the next one's. */
function goneFrom({ files, end }: Manifest, there: readonly string[]): Range[] {
  const names = files.map(({ name }) => name).filter((name) => name.endsWith(".log"));
  const bases = [...names.map(Number.parseFloat), end];
  return names.flatMap((name, i): Range[] => (there.includes(name) ? [] : [[bases[i]!, bases[i + 1]!]]));
}

function fileFaults(folder: string, { name, bytes, sha256: wanted }: ExportedFile): Fault[] {
  const file = path.join(folder, name);
  if (!existsSync(file)) return [{ where: name, what: `is named by ${MANIFEST} and is not there` }];
  const found = readFileSync(file);
  if (found.length !== bytes)
    return [{ where: name, what: `has ${found.length} bytes, and ${MANIFEST} says ${bytes}` }];
  return sha256(found) === wanted ? [] : [{ where: name, what: `its SHA-256 is not the one of ${MANIFEST}` }];
}

export interface CheckedLog extends Checked {
  /** Behind its last batch. */
  readonly end: number;
}

/** `before`: where the file before it ended. */
export async function verifyLog(file: string, kernel: Kernel, before = 0): Promise<CheckedLog> {
  const name = path.basename(file);
  const bytes = new Uint8Array(readFileSync(file));
  const faults: Fault[] = [];
  const fault = (what: string): void => void faults.push({ where: name, what });
  const batches = new Map<number, readonly [first: number, last: number]>();
  const named = /^(\d{20})\.log$/.exec(name);
  let expected = Math.max(before, named ? Number(named[1]) : 0);
  let epoch = 0;
  for (let at = 0; at < bytes.length;) {
    if (bytes.subarray(at).every((byte) => byte === 0)) break;
    const format = oldFormatOf(bytes.subarray(at), bytes.length - at);
    if (format !== undefined) {
      fault(`byte ${at}: message format ${format}, ${OLD_FORMAT}; the rest of the file is not looked at`);
      break;
    }
    const header = bytes.length - at < BATCH_HEADER_BYTES ? undefined : readHeader(bytes, at);
    if (!header || header.sizeBytes < BATCH_HEADER_BYTES || at + header.sizeBytes > bytes.length) {
      fault(`byte ${at}: no whole batch stands there; the rest of the file is not looked at`);
      break;
    }
    const place = `byte ${at}, offset ${header.baseOffset}`;
    try {
      await decodeBatch(kernel, unpackBatch(kernel, bytes.subarray(at, at + header.sizeBytes)));
    } catch (thrown) {
      fault(`${place}: ${TidemarkError.from(thrown).message}`);
    }
    if (header.baseOffset < expected) fault(`${place}: offsets must rise, and ${expected} comes next`);
    if (header.leaderEpoch < epoch) fault(`${place}: the leader epoch falls from ${epoch} to ${header.leaderEpoch}`);
    epoch = header.leaderEpoch;
    expected = nextOffsetOf(header);
    batches.set(at, [header.baseOffset, expected - 1]);
    at += header.sizeBytes;
  }
  const base = named ? Number(named[1]) : ([...batches.values()][0]?.[0] ?? 0);
  faults.push(...indexFaults(file, base, batches));
  return { faults, batches: batches.size, bytes: bytes.length, end: expected };
}

/** An entry of an offset index names the byte where a batch begins, and an offset in it. */
function indexFaults(file: string, base: number, batches: ReadonlyMap<number, readonly [number, number]>): Fault[] {
  const index = file.replace(/\.log$/, ".index");
  if (!existsSync(index)) return [];
  const view = viewOf(new Uint8Array(readFileSync(index)));
  const faults: Fault[] = [];
  for (let at = 0; at + 8 <= view.byteLength; at += 8) {
    const offset = base + view.getInt32(at);
    const position = view.getInt32(at + 4);
    // A broker keeps room ahead in its newest index.
    if (at > 0 && offset === base && position === 0) break;
    const [first, last] = batches.get(position) ?? [];
    if (first === undefined || offset < first || offset > last!)
      faults.push({
        where: path.basename(index),
        what: `entry ${at / 8}: offset ${offset} does not stand at byte ${position}`,
      });
  }
  return faults;
}
