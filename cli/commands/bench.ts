/**
 * `tidemark bench`: what appends and reads cost on this machine's disk, or at an edge. Each figure stands beside what
 * the same bytes cost without Tidemark, measured in turns with it: a bare write and fsync, or a bare request.
 *
 *   awaited   append, then the bare one, one pair after the other     raw: write(size) + fdatasync, or HEAD
 *   batches   the same with whole batches                             raw: write(batch) + fdatasync
 *   read      all of that, from the start
 *   live      from the call of append() until a follower has the record
 */
import { closeSync, existsSync, mkdtempSync, openSync, rmSync, statSync, writeFileSync } from "node:fs";
import { randomBytes } from "node:crypto";
import os from "node:os";
import path from "node:path";
import { SEGMENT_BYTES } from "../../src/browser/page/open-options.ts";
import { connect } from "../../src/client/index.ts";
import { TidemarkError } from "../../src/errors.ts";
import { NodeTide } from "../../src/node/node-tide.ts";
import { type Command, numberOf } from "../arguments.ts";
import { BareFile } from "../bare-file.ts";
import { Failure, lineOf, UsageError } from "../failure.ts";
import { stopSignal } from "../interrupt.ts";
import { isEdge, ownKernel } from "../targets.ts";
import { counted, endProgress, goOnUnread, note, printLine, progress } from "../terminal.ts";
import { TOKEN, tokenOf } from "./target-arguments.ts";

const MIB = 1024 * 1024;
const SIZE_MAX = 1_000_000;
/** Bytes that a record takes beside its value, at most, as far as a batch's bound is concerned. */
const RECORD_OVERHEAD = 32;
/** Appends whose way to a follower is measured, at most. */
const LIVE_MAX = 200;

interface Asked {
  readonly records: number;
  readonly size: number;
  readonly batch: number;
  readonly signal: AbortSignal;
}

/** A socket that is still closing at the end is waited for this long. */
const SOCKET_END_MS = 500;

type Value = { readonly value: Uint8Array };

/** The calls that a folder's topic and an edge's share. */
interface BenchTopic {
  append(record: Value): Promise<{ readonly offset: number }>;
  appendBatch(records: readonly Value[]): Promise<{ readonly offset: number }>;
  read(options: {
    readonly from?: number;
    readonly follow?: boolean;
    readonly signal?: AbortSignal;
  }): AsyncIterableIterator<{ readonly offset: number; readonly valueBytes: Uint8Array | null }>;
}

interface Bench {
  readonly kind: "folder" | "edge";
  readonly where: string;
  readonly topic: BenchTopic;
  /** What the same bytes cost without Tidemark: writes them to the disk and syncs, or sends a bare request. */
  bare(bytes: Uint8Array): Promise<void> | void;
  /** Removes all that the bench has made. */
  clean(): Promise<void>;
}

async function folderBench(target: string): Promise<Bench> {
  if (!existsSync(target) || !statSync(target).isDirectory())
    throw new Failure(`${target} is no folder: name one on the disk that is to be measured`);
  const folder = mkdtempSync(path.join(path.resolve(target), "tidemark-bench-"));
  const remove = (): void => rmSync(folder, { recursive: true, force: true });
  let bareFile: BareFile | undefined;
  try {
    const kernel = await ownKernel();
    const bare = (bareFile = new BareFile(path.join(folder, "bare"), SEGMENT_BYTES));
    const tide = await NodeTide.open({
      folder: path.join(folder, "tide"),
      segmentBytes: SEGMENT_BYTES,
      mustExist: false,
      kernel,
    });
    return {
      kind: "folder",
      where: folder,
      topic: tide.topic<Uint8Array>("bench", { serializer: "bytes" }),
      bare: (bytes) => bare.write(bytes),
      clean: async () => {
        try {
          await tide.close();
        } finally {
          bare.close();
          remove();
        }
      },
    };
  } catch (thrown) {
    bareFile?.close();
    remove();
    throw thrown;
  }
}

async function edgeBench(url: string, token: string | undefined): Promise<Bench> {
  const edge = connect(url, token === undefined ? {} : { token });
  const name = `tidemark-bench-${randomBytes(6).toString("hex")}`;
  const topic = edge.topic<Uint8Array>(name, { serializer: "bytes" });
  try {
    await topic.create();
  } catch (thrown) {
    await edge.close();
    throw thrown;
  }
  return {
    kind: "edge",
    where: `${url}, topic ${name}`,
    topic,
    bare: async () => void (await topic.state()),
    clean: async () => {
      try {
        await topic.delete();
      } catch (thrown) {
        const why = TidemarkError.from(thrown).message;
        throw new Failure(`the topic ${name} could not be deleted (${why}): give a token with the right admin`);
      } finally {
        await edge.close();
        // A server that does not answer the end of its socket would hold up the end of this process.
        setTimeout(() => process.exit(), SOCKET_END_MS).unref();
      }
    },
  };
}

const quantile = (sorted: readonly number[], share: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]!;

class Times {
  readonly #ms: number[] = [];

  async of<T>(work: () => Promise<T> | T): Promise<T> {
    const from = performance.now();
    const result = await work();
    this.#ms.push(performance.now() - from);
    return result;
  }
  get figures(): { readonly p50Ms: number; readonly p99Ms: number; readonly sumMs: number } {
    const sorted = [...this.#ms].sort((a, b) => a - b);
    return {
      p50Ms: quantile(sorted, 0.5),
      p99Ms: quantile(sorted, 0.99),
      sumMs: sorted.reduce((sum, each) => sum + each, 0),
    };
  }
}

/** Figures by name: milliseconds, records or MiB a second, ratios. */
export type BenchFigures = Readonly<Record<string, number>>;

async function appends({ topic, bare }: Bench, { records, size, signal }: Asked): Promise<BenchFigures> {
  const [own, raw] = [new Times(), new Times()];
  const bytes = randomBytes(size);
  for (let n = 0; n < records; n++) {
    signal.throwIfAborted();
    await own.of(() => topic.append({ value: bytes }));
    await raw.of(() => bare(bytes));
    progress("awaited appends", n + 1, records);
  }
  const { p50Ms, p99Ms, sumMs } = own.figures;
  return {
    "append.p50Ms": p50Ms,
    "append.p99Ms": p99Ms,
    "append.recordsPerSecond": (records * 1000) / sumMs,
    "append.bareP50Ms": raw.figures.p50Ms,
    "append.bareP99Ms": raw.figures.p99Ms,
    "append.ratio": p50Ms / raw.figures.p50Ms,
  };
}

async function batches({ topic, bare }: Bench, { records, size, batch, signal }: Asked): Promise<BenchFigures> {
  const [own, raw] = [new Times(), new Times()];
  for (let done = 0; done < records; done += batch) {
    signal.throwIfAborted();
    const count = Math.min(batch, records - done);
    const values = Array.from({ length: count }, () => ({ value: randomBytes(size) }));
    await own.of(() => topic.appendBatch(values));
    const bytes = Buffer.concat(values.map(({ value }) => value));
    await raw.of(() => bare(bytes));
    progress("records in batches", done + count, records);
  }
  const { p50Ms, p99Ms, sumMs } = own.figures;
  return {
    "batches.p50Ms": p50Ms,
    "batches.p99Ms": p99Ms,
    "batches.recordsPerSecond": (records * 1000) / sumMs,
    "batches.mibPerSecond": (records * size * 1000) / sumMs / MIB,
    "batches.bareP50Ms": raw.figures.p50Ms,
    "batches.ratio": p50Ms / raw.figures.p50Ms,
  };
}

async function catchUp({ topic }: Bench, { records, size, signal }: Asked): Promise<BenchFigures> {
  const total = records * 2;
  const from = performance.now();
  let read = 0;
  for await (const { valueBytes } of topic.read({ from: 0, signal })) {
    if (valueBytes?.length !== size) throw new Failure(`the record at offset ${read} is not the one that was appended`);
    progress("records read", ++read, total);
  }
  const ms = performance.now() - from;
  if (read !== total) throw new Failure(`of ${total} records that were appended ${read} came back`);
  return { "read.recordsPerSecond": (read * 1000) / ms, "read.mibPerSecond": (read * size * 1000) / ms / MIB };
}

async function live({ topic }: Bench, { records, size, signal }: Asked): Promise<BenchFigures> {
  const times = new Times();
  const count = Math.min(records, LIVE_MAX);
  const bytes = randomBytes(size);
  const reading = topic.read({ from: records * 2, follow: true, signal });
  try {
    for (let n = 0; n < count; n++) {
      signal.throwIfAborted();
      await times.of(async () => {
        const arrived = reading.next();
        // Both may fail; the one that is awaited last must not count as unhandled meanwhile.
        arrived.catch(() => undefined);
        await topic.append({ value: bytes });
        await arrived;
      });
      progress("records followed", n + 1, count);
    }
  } finally {
    await reading.return?.();
  }
  const { p50Ms, p99Ms } = times.figures;
  return { "live.p50Ms": p50Ms, "live.p99Ms": p99Ms };
}

const ms = (figure: number | undefined): string => `${figure!.toFixed(figure! < 10 ? 2 : 1)} ms`.padStart(10);
const rate = (figure: number | undefined): string => Math.round(figure!).toLocaleString("en").padStart(9);

function linesOf({ kind }: Bench, { batch }: Asked, figures: BenchFigures): string[] {
  const mibs = figures["read.mibPerSecond"]!;
  const bare = kind === "folder" ? "a bare write and fsync" : "a bare request";
  const ratio = (name: string): string =>
    `${figures[`${name}.ratio`]!.toFixed(2)} × ${bare} (${ms(figures[`${name}.bareP50Ms`]).trim()})`;
  const row = (what: string, name: string, more: string): string =>
    `${what.padEnd(20)}p50 ${ms(figures[`${name}.p50Ms`])}   p99 ${ms(figures[`${name}.p99Ms`])}   ${more}`;
  const perSecond = (name: string): string => `${rate(figures[`${name}.recordsPerSecond`])} records/s`;
  return [
    row("append, awaited", "append", `${perSecond("append")}   ${ratio("append")}`),
    row(`batches of ${batch}`, "batches", `${perSecond("batches")}   ${ratio("batches")}`),
    row("append to follower", "live", "").trimEnd(),
    `${"read from the start".padEnd(20)}${perSecond("read").trim()}   ${mibs.toFixed(1)} MiB/s`,
  ];
}

interface BenchArguments {
  readonly target?: string;
  readonly records?: string;
  readonly size?: string;
  readonly batch?: string;
  readonly json?: string;
  readonly token?: string;
}

function askedIn(args: BenchArguments): Omit<Asked, "signal"> {
  const records = numberOf("records", args.records, 10, 1_000_000) ?? 1_000;
  const size = numberOf("size", args.size, 1, SIZE_MAX) ?? 200;
  const batch =
    numberOf("batch", args.batch, 1, 10_000) ??
    Math.max(1, Math.min(100, Math.floor(SIZE_MAX / (size + RECORD_OVERHEAD))));
  if (batch * (size + RECORD_OVERHEAD) > SIZE_MAX + RECORD_OVERHEAD)
    throw new UsageError(`--batch ${batch} of --size ${size}: a batch has at most ${SIZE_MAX} bytes`, "bench");
  return { records, size, batch };
}

/** A file of figures that can't be written is told before anything is measured. */
function checkFile(file: string | undefined): void {
  if (file === undefined) return;
  const isThere = existsSync(file);
  try {
    closeSync(openSync(file, "a"));
    if (!isThere) rmSync(file);
  } catch (thrown) {
    throw new UsageError(`--json ${file} can't be written: ${(thrown as Error).message}`, "bench");
  }
}

async function measured(made: Bench, asked: Asked): Promise<BenchFigures> {
  note(`${asked.records} records of ${counted(asked.size, "byte")}, in ${made.where}`);
  const figures: Record<string, number> = {};
  for (const part of [appends, batches, catchUp, live]) Object.assign(figures, await part(made, asked));
  endProgress();
  return figures;
}

async function tell(figures: BenchFigures, made: Bench, asked: Asked, json: string | undefined): Promise<void> {
  for (const line of linesOf(made, asked, figures)) await printLine(line);
  if (json === undefined) return;
  const { records, size, batch } = asked;
  const host = { node: process.version, platform: `${process.platform} ${process.arch}`, cpus: os.cpus().length };
  const file = { tidemark: 1, target: made.kind, records, size, batch, host, figures };
  writeFileSync(json, `${JSON.stringify(file, null, 1)}\n`);
}

export const bench: Command = {
  meta: { name: "bench", description: "what appends and reads cost on this disk, or at an edge" },
  args: {
    target: {
      type: "positional",
      required: false,
      description: "a folder on the disk to measure (default: this one), or the address of an edge",
    },
    records: { type: "string", valueHint: "n", description: "awaited appends, and as many in batches. Default: 1000" },
    size: { type: "string", valueHint: "bytes", description: "of each record's value. Default: 200" },
    batch: { type: "string", valueHint: "n", description: "records of a batch. Default: 100, fewer if they are large" },
    json: { type: "string", valueHint: "file", description: "writes the figures there as well" },
    ...TOKEN,
  },
  more:
    "It makes a folder tidemark-bench-… of its own in TARGET, or at an edge a topic of that name, and removes it at\n" +
    "the end, also when it is interrupted. At an edge the token needs the rights read, write and admin.\n" +
    "Beside each append the same bytes are written and synced without Tidemark (at an edge: a request without a\n" +
    "body), in turns, so a ratio means more than a time. Figures of a busy machine tell little.",
  examples: [
    "tidemark bench",
    "tidemark bench /mnt/disk --records 10000 --size 1024 --json figures.json",
    "TIDEMARK_TOKEN=$(tidemark token) tidemark bench https://edge.example --records 200",
  ],
  async run({ args }: { readonly args: BenchArguments }) {
    goOnUnread();
    const signal = stopSignal();
    const asked: Asked = { ...askedIn(args), signal };
    checkFile(args.json);
    const target = args.target ?? ".";
    const made = isEdge(target) ? await edgeBench(target, tokenOf(args.token)) : await folderBench(target);
    try {
      // Before anything is removed, which may fail.
      await tell(await measured(made, asked), made, asked, args.json);
    } catch (thrown) {
      endProgress();
      if (!signal.aborted) {
        // The command reports the first failure; that of the cleaning is told beside it.
        await made.clean().catch((also: unknown) => note(lineOf(also)));
        throw thrown;
      }
    }
    await made.clean();
  },
};
