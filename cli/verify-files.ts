/**
 * Checks Kafka's files: each batch by its checksum and its records, offsets that rise, epochs that do not fall; index
 * entries, which must name a batch that is there; and, in a folder that `tidemark export` made, each file's SHA-256.
 */
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { TidemarkError } from "../src/errors.ts";
import type { Kernel } from "../src/kernel/types.ts";
import { BATCH_HEADER_BYTES, nextOffsetOf, readHeader } from "../src/record/format.ts";
import { decodeBatch } from "../src/record/record-batch.ts";
import { viewOf } from "../src/record/bytes.ts";
import { MANIFEST } from "./segment-files.ts";
import type { Checked, Fault } from "./verify-tide.ts";

interface Manifest {
  readonly files: readonly { readonly name: string; readonly bytes: number; readonly sha256: string }[];
}

/** Faults of files that a manifest names. */
export function verifyManifest(folder: string): Fault[] {
  const file = path.join(folder, MANIFEST);
  if (!existsSync(file)) return [];
  let manifest: Manifest;
  try {
    manifest = JSON.parse(readFileSync(file, "utf8")) as Manifest;
    if (!Array.isArray(manifest.files)) throw new Error("it names no files");
  } catch (thrown) {
    return [{ where: "manifest.json", what: `can't be read: ${(thrown as Error).message}` }];
  }
  return manifest.files.flatMap(({ name, bytes, sha256 }) => {
    const each = path.join(folder, path.basename(String(name)));
    if (!existsSync(each)) return [{ where: name, what: "is named by manifest.json and is not there" }];
    const found = readFileSync(each);
    if (found.length !== bytes)
      return [{ where: name, what: `has ${found.length} bytes, and manifest.json says ${bytes}` }];
    const digest = createHash("sha256").update(found).digest("hex");
    return digest === sha256 ? [] : [{ where: name, what: "its SHA-256 is not the one of manifest.json" }];
  });
}

/** `expected`: where the file before it ended. */
export async function verifyLog(file: string, kernel: Kernel): Promise<Checked> {
  const name = path.basename(file);
  const bytes = new Uint8Array(readFileSync(file));
  const faults: Fault[] = [];
  const fault = (what: string): void => void faults.push({ where: name, what });
  const batches = new Map<number, readonly [first: number, last: number]>();
  const named = /^(\d{20})\.log$/.exec(name);
  let expected = named ? Number(named[1]) : 0;
  let epoch = 0;
  for (let at = 0; at < bytes.length;) {
    if (bytes.subarray(at).every((byte) => byte === 0)) break;
    const header = bytes.length - at < BATCH_HEADER_BYTES ? undefined : readHeader(bytes, at);
    if (!header || header.sizeBytes < BATCH_HEADER_BYTES || at + header.sizeBytes > bytes.length) {
      fault(`byte ${at}: no whole batch stands there; the rest of the file is not looked at`);
      break;
    }
    const place = `byte ${at}, offset ${header.baseOffset}`;
    try {
      await decodeBatch(kernel, bytes.subarray(at, at + header.sizeBytes));
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
  return { faults, batches: batches.size, bytes: bytes.length };
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
