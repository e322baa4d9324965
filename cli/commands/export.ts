/**
 * `tidemark export`: a topic as lines of JSON, in gzip if wanted (line-file.ts), or as Kafka's segment files.
 *
 * Segments are written under another name, synced and renamed, .log last; a segment that is there already is kept.
 * manifest.json is written last (manifest.ts).
 */
import { existsSync, mkdirSync, readFileSync, statSync } from "node:fs";
import path from "node:path";
import { choiceOf, type Command } from "../arguments.ts";
import { Failure, UsageError } from "../failure.ts";
import { identityOf } from "../identity.ts";
import { stopSignal } from "../interrupt.ts";
import { LineFile } from "../line-file.ts";
import { lineOfRecord } from "../lines.ts";
import { type ExportedFile, FolderExport, sha256 } from "../manifest.ts";
import type { LogTarget, Place } from "../target.ts";
import { checkPosition, openTarget, placeOf, positionOf } from "../targets.ts";
import {
  counted,
  endProgress,
  goOnUnread,
  note,
  offsetsText,
  print,
  printLine,
  progress,
  sizeText,
} from "../terminal.ts";
import { withFileName, writeWhole } from "../whole-file.ts";
import type { PlainRecord } from "../../src/delivery/read-record.ts";
import type { StartPosition } from "../../src/log/types.ts";
import { nextOffsetOf, readHeader } from "../../src/record/format.ts";
import { TOKEN, tokenOf, TOPIC } from "./target-arguments.ts";

const KINDS = ["ndjson", "kafka"] as const;

interface ExportArguments {
  readonly target: string;
  readonly topic: string;
  readonly out?: string;
  readonly to?: string;
  readonly from: string;
  readonly acks?: boolean;
  readonly token?: string;
}

/** Ends at an interrupt as at the end. */
async function* untilStopped(
  target: LogTarget,
  topic: string,
  range: { readonly from: StartPosition; readonly to: number; readonly signal: AbortSignal },
): AsyncGenerator<PlainRecord<Uint8Array>> {
  const { signal } = range;
  try {
    for await (const record of target.read(topic, range)) {
      yield record;
      if (signal.aborted) return;
    }
  } catch (thrown) {
    if (!signal.aborted || thrown !== signal.reason) throw thrown;
  }
}

/** Where lines begin and end that no earlier call has begun. OFFSET_OUT_OF_RANGE. */
async function rangeOf(
  target: LogTarget,
  topic: string,
  { start, end }: Pick<Place, "start" | "end">,
  from: StartPosition,
): Promise<{ readonly start: number; readonly end: number }> {
  checkPosition({ start, end }, from);
  return { start: Math.min(await target.resolve(topic, from), end), end };
}

/** What was trimmed since an earlier call is passed over, and told. */
function goOn(lines: LineFile, { start, end }: Place, topic: string): void {
  const { state } = lines;
  if (end < state.end)
    throw new Failure(
      `${topic} ends at ${end}, and ended at ${state.end} when this export was begun: it is another topic by now. ` +
        `Remove the file and its state, and export anew`,
    );
  lines.passOver(Math.min(start, state.end));
}

/** Into a file. `signal` stops it; what was read until then is in the file, and the same call goes on behind it. */
export async function exportLines(
  target: LogTarget,
  args: Pick<ExportArguments, "topic" | "from" | "acks"> & { readonly out: string },
  signal: AbortSignal,
): Promise<void> {
  const place = await placeOf(target, args.topic);
  const from = positionOf("from", args.from);
  const { topic, out: file } = args;
  const asked = { target: identityOf(target.where), topic, from: args.from };
  const lines = await LineFile.open(file, asked, () => rangeOf(target, topic, place, from));
  const before = lines.state.records;
  let isWhole = false;
  try {
    goOn(lines, place, topic);
    const { nextOffset, end } = lines.state;
    let next = nextOffset;
    if (next < end)
      for await (const record of untilStopped(target, topic, { from: next, to: end, signal })) {
        const isStep = lines.add(lineOfRecord(record), record.offset);
        next = record.offset + 1;
        if (isStep && args.acks) await printLine(`${lines.state.records} ${next}`);
        if (!args.acks) progress("records", lines.state.records, before + end - nextOffset);
      }
    lines.step(next, !signal.aborted);
    isWhole = !signal.aborted;
  } finally {
    lines.close(isWhole);
  }
  endProgress();
  const { records, bytes, missing } = lines.state;
  const earlier = before > 0 ? `, ${before} of them by an earlier call` : "";
  const gaps = missing
    .map(([first, last]) => {
      const trimmed = first === last ? "was trimmed before it was" : "were trimmed before they were";
      return `; ${offsetsText(first, last + 1)} ${trimmed} read`;
    })
    .join("");
  note(
    isWhole
      ? `${counted(records, "record")} in ${file} (${sizeText(bytes)})${earlier}${gaps}`
      : `stopped after ${counted(records, "record")}; the same call goes on there${gaps}`,
  );
}

/** Behind the last batch of a segment. */
function endOf(log: Uint8Array): number {
  let end = 0;
  for (let at = 0; at < log.length;) {
    const header = readHeader(log, at);
    end = nextOffsetOf(header);
    at += header.sizeBytes;
  }
  return end;
}

async function exportSegments(target: LogTarget, topic: string, folder: string): Promise<void> {
  const signal = stopSignal();
  let segments = 0;
  try {
    if (await exportWhole(target, topic, folder, signal, () => progress("segments", ++segments))) return;
  } catch (thrown) {
    if (!signal.aborted || thrown !== signal.reason) throw thrown;
  }
  endProgress();
  note(`stopped after ${counted(segments, "segment")}; the same call goes on there`);
}

/** False if it was stopped between two segments. */
async function exportWhole(
  target: LogTarget,
  topic: string,
  folder: string,
  signal: AbortSignal,
  done: () => void,
): Promise<boolean> {
  const place = await placeOf(target, topic, signal);
  if (statSync(folder, { throwIfNoEntry: false })?.isDirectory() === false)
    throw new Failure(`${folder} is a file: name a folder for the segments`);
  withFileName(folder, () => mkdirSync(folder, { recursive: true }));
  const exported = FolderExport.begin(folder, topic, target.where);
  const files: ExportedFile[] = [];
  let { end } = place;
  let segments = 0;
  for await (const { name, log, index, timeindex } of target.segments(topic, place.start, signal)) {
    if (signal.aborted) return false;
    exported.writes(name);
    for (const [ending, bytes] of [
      ["index", index],
      ["timeindex", timeindex],
      ["log", log],
    ] as const) {
      const file = path.join(folder, `${name}.${ending}`);
      const isThere = existsSync(file) && Buffer.compare(readFileSync(file), bytes) === 0;
      if (!isThere) writeWhole(file, bytes);
      files.push({ name: path.basename(file), bytes: bytes.length, sha256: sha256(bytes) });
    }
    end = Math.max(end, endOf(log));
    segments++;
    done();
  }
  endProgress();
  exported.end({ contentType: place.contentType, start: place.start, end, files });
  note(`${counted(segments, "segment")} in ${folder} (${sizeText(files.reduce((sum, { bytes }) => sum + bytes, 0))})`);
  return true;
}

async function printRecords(target: LogTarget, topic: string, from: StartPosition): Promise<void> {
  const place = await placeOf(target, topic);
  checkPosition(place, from);
  if (place.end === place.start) return;
  for await (const record of untilStopped(target, topic, { from, to: place.end, signal: stopSignal() }))
    await print(`${lineOfRecord(record)}\n`);
}

export const exportCommand: Command = {
  meta: { name: "export", description: "a topic as lines of JSON, or as Kafka's segment files" },
  args: {
    ...TOPIC,
    out: {
      type: "positional",
      required: false,
      description: "a file of lines, .gz for gzip; or a folder for segments. Default: lines to stdout",
    },
    to: {
      type: "string",
      valueHint: "kind",
      description: "ndjson, or kafka. Default: ndjson for a name with an ending, else kafka",
    },
    from: {
      type: "string",
      default: "earliest",
      description: "of lines: earliest (default), an offset, -N, or a time",
    },
    acks: {
      type: "boolean",
      description: "of lines: prints how many records are in OUT, and the next offset, as it goes on",
    },
    ...TOKEN,
  },
  more: "An export that was stopped or killed goes on where it was when the same call is made again.",
  examples: [
    "tidemark export ./data orders orders.ndjson.gz",
    "tidemark export ./data orders ./orders-segments --to kafka",
    "tidemark export https://edge.example orders | gzip > orders.ndjson.gz",
  ],
  async run({ args }: { readonly args: ExportArguments }) {
    const { topic, out } = args;
    const from = positionOf("from", args.from);
    const kind = choiceOf(
      "--to",
      args.to ?? (out === undefined || path.extname(out) !== "" ? "ndjson" : "kafka"),
      KINDS,
    );
    if (kind === "kafka" && out === undefined)
      throw new UsageError("OUT is missing: the folder for the segments", "export");
    if (kind === "kafka" && from !== "earliest")
      throw new UsageError("--from is for lines: segments are exported whole", "export");
    const target = await openTarget(args.target, { token: tokenOf(args.token) });
    try {
      if (out === undefined) return await printRecords(target, topic, from);
      goOnUnread();
      if (kind === "kafka") await exportSegments(target, topic, out);
      else await exportLines(target, { ...args, out }, stopSignal());
    } finally {
      await target.close();
    }
  },
};
