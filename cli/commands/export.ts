/**
 * `tidemark export`: a topic as lines of JSON, in gzip if wanted, or as Kafka's segment files.
 *
 * Lines go on where a killed export stopped: beside OUT lies OUT.tidemark-export.json, which says how many bytes of OUT
 * are good and which offset comes next. It is written after those bytes are synced, and removed at the end. gzip files
 * are made of members, one for each such step; any gunzip reads them as one.
 *
 * Segments are written under another name, synced and renamed, .log last; a segment that is there already is kept.
 * manifest.json, written last, has size and SHA-256 of each file.
 */
import { createHash } from "node:crypto";
import {
  closeSync,
  existsSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import path from "node:path";
import { gzipSync } from "node:zlib";
import { choiceOf, type Command } from "../arguments.ts";
import { Failure, UsageError } from "../failure.ts";
import { stopSignal } from "../interrupt.ts";
import { lineOfRecord } from "../lines.ts";
import { MANIFEST } from "../segment-files.ts";
import type { LogTarget, Place } from "../target.ts";
import { openTarget, placeOf, positionOf } from "../targets.ts";
import { endProgress, note, print, printLine, progress, sizeText } from "../terminal.ts";
import type { StartPosition } from "../../src/log/types.ts";
import { TOKEN, tokenOf, TOPIC } from "./target-arguments.ts";

const KINDS = ["ndjson", "kafka"] as const;
/** After so many bytes of lines the file is synced and the state written. */
const STEP_BYTES = 1024 * 1024;

interface ExportArguments {
  readonly target: string;
  readonly topic: string;
  readonly out?: string;
  readonly to?: string;
  readonly from: string;
  readonly acks?: boolean;
  readonly token?: string;
}

/** What lies beside a file of lines that is not whole yet. */
interface ExportState {
  readonly target: string;
  readonly topic: string;
  readonly bytes: number;
  readonly nextOffset: number;
  readonly end: number;
  readonly records: number;
}

function writeWhole(file: string, bytes: Uint8Array | string): void {
  const aside = `${file}.new`;
  const fd = openSync(aside, "w");
  try {
    writeSync(fd, bytes as Uint8Array);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  renameSync(aside, file);
}

/** A file of lines, which an earlier export may have begun. */
class LineFile {
  readonly #fd: number;
  readonly #stateFile: string;
  readonly #isPacked: boolean;
  #state: ExportState;
  #lines: string[] = [];
  #pending = 0;

  private constructor(file: string, stateFile: string, state: ExportState) {
    this.#stateFile = stateFile;
    this.#state = state;
    this.#isPacked = file.endsWith(".gz");
    this.#fd = openSync(file, existsSync(file) ? "r+" : "w+");
    ftruncateSync(this.#fd, state.bytes);
  }

  static open(file: string, fresh: ExportState): LineFile {
    const stateFile = `${file}.tidemark-export.json`;
    if (existsSync(stateFile)) {
      const state = JSON.parse(readFileSync(stateFile, "utf8")) as ExportState;
      if (state.target !== fresh.target || state.topic !== fresh.topic)
        throw new Failure(
          `${file} was begun as an export of ${state.topic} in ${state.target}: remove it, or name another`,
        );
      if (existsSync(file) && statSync(file).size >= state.bytes) return new LineFile(file, stateFile, state);
      throw new Failure(`${file} is shorter than ${stateFile} says: remove both, and export anew`);
    }
    if (existsSync(file)) throw new Failure(`${file} is there already: name another file, or remove it`);
    writeWhole(stateFile, JSON.stringify(fresh));
    return new LineFile(file, stateFile, fresh);
  }

  get state(): ExportState {
    return this.#state;
  }

  /** True if it was time for a step. */
  add(line: string, offset: number): boolean {
    this.#lines.push(line);
    this.#pending += line.length;
    if (this.#pending < STEP_BYTES) return false;
    this.step(offset + 1);
    return true;
  }

  /** What was added is in the file for good. */
  step(nextOffset: number): void {
    const text = this.#lines.map((line) => `${line}\n`).join("");
    const plain = Buffer.from(text);
    const bytes = this.#isPacked && plain.length > 0 ? gzipSync(plain) : plain;
    for (let done = 0; done < bytes.length;)
      done += writeSync(this.#fd, bytes, done, bytes.length - done, this.#state.bytes + done);
    fsyncSync(this.#fd);
    const records = this.#state.records + this.#lines.length;
    this.#state = { ...this.#state, bytes: this.#state.bytes + bytes.length, nextOffset, records };
    writeWhole(this.#stateFile, JSON.stringify(this.#state));
    this.#lines = [];
    this.#pending = 0;
  }

  close(isWhole: boolean): void {
    closeSync(this.#fd);
    if (isWhole) rmSync(this.#stateFile);
  }
}

async function exportLines(
  target: LogTarget,
  args: ExportArguments & { readonly out: string },
  place: Place,
  from: StartPosition,
): Promise<void> {
  const signal = stopSignal();
  const { topic, out: file } = args;
  const fresh = { target: target.where, topic, bytes: 0, nextOffset: -1, end: place.end, records: 0 };
  const lines = LineFile.open(file, fresh);
  const { nextOffset, end, records: before } = lines.state;
  let isWhole = false;
  try {
    let next = nextOffset;
    if (end > place.start && nextOffset < end) {
      const start = nextOffset < 0 ? from : Math.max(nextOffset, place.start);
      for await (const record of target.read(topic, { from: start, to: end, signal })) {
        const isStep = lines.add(lineOfRecord(record), record.offset);
        next = record.offset + 1;
        if (isStep && args.acks) await printLine(`${lines.state.records} ${next}`);
        if (!args.acks) progress("records", lines.state.records, end - place.start);
        if (signal.aborted) break;
      }
    }
    lines.step(next);
    isWhole = !signal.aborted;
  } finally {
    lines.close(isWhole);
  }
  endProgress();
  const { records, bytes } = lines.state;
  const earlier = before > 0 ? `, ${before} of them by an earlier call` : "";
  note(
    isWhole
      ? `${records} records in ${file} (${sizeText(bytes)})${earlier}`
      : `stopped after ${records} records; the same call goes on there`,
  );
}

async function exportSegments(target: LogTarget, topic: string, folder: string, place: Place): Promise<void> {
  mkdirSync(folder, { recursive: true });
  const signal = stopSignal();
  const files: { name: string; bytes: number; sha256: string }[] = [];
  let segments = 0;
  for await (const { name, log, index, timeindex } of target.segments(topic, place.start)) {
    if (signal.aborted) return note(`stopped after ${segments} segments; the same call goes on there`);
    for (const [ending, bytes] of [
      ["index", index],
      ["timeindex", timeindex],
      ["log", log],
    ] as const) {
      const file = path.join(folder, `${name}.${ending}`);
      const isThere = existsSync(file) && Buffer.compare(readFileSync(file), bytes) === 0;
      if (!isThere) writeWhole(file, bytes);
      files.push({
        name: path.basename(file),
        bytes: bytes.length,
        sha256: createHash("sha256").update(bytes).digest("hex"),
      });
    }
    segments++;
    progress("segments", segments);
  }
  endProgress();
  const { start, end } = place;
  writeWhole(path.join(folder, MANIFEST), `${JSON.stringify({ tidemark: 1, topic, start, end, files }, null, 1)}\n`);
  note(`${segments} segments in ${folder} (${sizeText(files.reduce((sum, { bytes }) => sum + bytes, 0))})`);
}

async function printRecords(target: LogTarget, topic: string, place: Place, from: StartPosition): Promise<void> {
  if (place.end === place.start) return;
  for await (const record of target.read(topic, { from, to: place.end, signal: stopSignal() }))
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
    const kind = choiceOf("to", args.to ?? (out === undefined || path.extname(out) !== "" ? "ndjson" : "kafka"), KINDS);
    if (kind === "kafka" && out === undefined)
      throw new UsageError("OUT is missing: the folder for the segments", "export");
    if (kind === "kafka" && from !== "earliest")
      throw new UsageError("--from is for lines: segments are exported whole", "export");
    const target = await openTarget(args.target, { token: tokenOf(args.token) });
    try {
      const place = await placeOf(target, topic);
      if (out === undefined) await printRecords(target, topic, place, from);
      else if (kind === "kafka") await exportSegments(target, topic, out, place);
      else await exportLines(target, { ...args, out }, place, from);
    } finally {
      await target.close();
    }
  },
};
