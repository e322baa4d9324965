/** `tidemark import`: records of files into a topic: lines of JSON, in gzip or not, and Kafka's segments. */
import path from "node:path";
import { choiceOf, type Command, numberOf } from "../arguments.ts";
import { Failure } from "../failure.ts";
import { TidemarkError } from "../../src/errors.ts";
import { feed } from "../feed.ts";
import { bytesOf, isKept, recordsOfLines, segmentFiles } from "../inputs.ts";
import { stopSignal } from "../interrupt.ts";
import { LINES_AS, type LineInput, type LinesAs } from "../lines.ts";
import { type Ends, endsOf, recordsOfSegments, segmentsInOrder, toldTypeOf } from "../segment-files.ts";
import type { LogTarget } from "../target.ts";
import { isEdge, openTarget } from "../targets.ts";
import { acked, counted, endProgress, goOnUnread, note, offsetsText } from "../terminal.ts";
import { TOKEN, tokenOf, TOPIC } from "./target-arguments.ts";

interface ImportArguments {
  readonly _: readonly string[];
  readonly target: string;
  readonly topic: string;
  readonly inputs: string;
  readonly as: string;
  readonly state?: string;
  readonly expect?: string;
  readonly append?: boolean;
  readonly acks?: boolean;
  readonly token?: string;
}

async function* linesOfFiles(files: readonly string[], as: LinesAs): AsyncGenerator<LineInput[]> {
  for (const file of files)
    try {
      yield* recordsOfLines(bytesOf(file), as);
    } catch (thrown) {
      if (thrown instanceof Failure && file !== "-") throw new Failure(`${file}, ${thrown.message}`);
      throw thrown;
    }
}

/**
 * Records keep their offsets. If they are there already, an earlier call has done it. `signal` stops it between two
 * pieces at an edge. A folder takes all at once, so there is none, and an interrupt ends the process.
 */
export async function takeSegments(
  target: LogTarget,
  topic: string,
  given: readonly string[],
  signal?: AbortSignal,
  expect?: number,
): Promise<void> {
  const { files, start } = segmentsInOrder(given);
  try {
    await takenOnce(target, topic, { files, start, expect }, signal);
  } catch (thrown) {
    endProgress();
    if (!signal?.aborted || thrown !== signal.reason) throw thrown;
    note("stopped before all was done; the same call goes on there");
  }
}

interface Taking {
  readonly files: readonly string[];
  /** Where their topic began. */
  readonly start: number;
  /** The log must end there. */
  readonly expect?: number | undefined;
}

async function takenOnce(
  target: LogTarget,
  topic: string,
  { files, start, expect = 0 }: Taking,
  signal: AbortSignal | undefined,
): Promise<void> {
  const place = await target.place(topic, signal);
  const ends = place && place.end > 0 ? await endsOf(files, target.kernel) : undefined;
  const from = Math.max(start, ends?.first.offset ?? 0);
  // A topic that begins behind the files has never had their first records, or has trimmed them: nobody can say which.
  if (ends && place!.start <= from && (await isThere(target, topic, ends, start, signal))) {
    if (place!.start < start) await target.trim(topic, start, signal);
    const { offset } = ends.last;
    return note(
      `nothing to do: ${offsetsText(from, offset + 1)} ${from === offset ? "is" : "are"} in ${topic} already`,
    );
  }
  if (place && place.end > 0)
    throw new Failure(
      `${topic} has had ${counted(place.end, "record")}, so these can't keep their offsets: import into a new ` +
        `topic, or give --append for new offsets`,
    );
  if (expect !== 0) throw new TidemarkError("OFFSET_CONFLICT", `the log ends at 0, not ${expect}`);
  const { records, firstOffset, nextOffset } = await target.take!(topic, files, signal);
  endProgress();
  const trimmed = start > firstOffset ? `; those before ${start} were trimmed, and are removed again` : "";
  if (trimmed) await target.trim(topic, start, signal);
  const offsets = records > 0 ? `, ${offsetsText(firstOffset, nextOffset)}` : "";
  note(`${counted(records, "record")} imported${offsets}${trimmed}`);
}

/** Whether the topic has the ends of what the files hold; of those before `start` nothing can be said. */
async function isThere(
  target: LogTarget,
  topic: string,
  { first, last }: Ends,
  start: number,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  if (last.offset < start) return false;
  for (const { offset, value, key } of [first, last].filter(({ offset }) => offset >= start)) {
    let found: { readonly valueBytes: Uint8Array | null; readonly keyBytes: Uint8Array | null } | undefined;
    try {
      for await (const record of target.read(topic, { from: offset, to: offset + 1, signal })) found = record;
    } catch {
      signal?.throwIfAborted();
      return false;
    }
    signal?.throwIfAborted();
    const same = (a: Uint8Array | null, b: Uint8Array | null): boolean => Buffer.compare(a ?? EMPTY, b ?? EMPTY) === 0;
    if (!found || !same(found.valueBytes, value) || !same(found.keyBytes, key)) return false;
  }
  return true;
}
const EMPTY = new Uint8Array(0);

export const importCommand: Command = {
  meta: { name: "import", description: "records of files into a topic: lines of JSON (.gz too), or Kafka's segments" },
  args: {
    ...TOPIC,
    inputs: {
      type: "positional",
      description: "files of lines, - for stdin; .log files, or folders of them",
      required: true,
    },
    as: {
      type: "string",
      valueHint: "kind",
      default: "records",
      description: "of lines: records (default), json or text, as for append",
    },
    state: {
      type: "string",
      valueHint: "file",
      description: "default: the first INPUT, with .tidemark-import.json; of a pipe none",
    },
    expect: {
      type: "string",
      valueHint: "offset",
      description: "only if the log ends there, else nothing is appended",
    },
    append: {
      type: "boolean",
      description: "of segments: at the topic's end, with new offsets, also if the topic is empty",
    },
    acks: {
      type: "boolean",
      description: "prints a line for each batch once it is in the log: records so far, and the log's end",
    },
    ...TOKEN,
  },
  more:
    "Segments keep their offsets in a topic that is empty or new: all of them, or none, is there then. At an edge\n" +
    "this takes a token with the rights read, write and admin. Batches of snappy, LZ4 and Zstandard become gzip.\n" +
    "An import that was stopped or killed goes on where it was when the same call is made again: each record is\n" +
    "appended once. The state file stays; remove it to import the same files once more.",
  examples: [
    "tidemark import ./data orders orders.ndjson.gz",
    "tidemark import ./data orders /var/lib/kafka/orders-0",
    "zcat orders.gz | tidemark import https://edge.example orders - --state orders.state",
  ],
  async run({ args }: { readonly args: ImportArguments }) {
    goOnUnread();
    const as = choiceOf("--as", args.as, LINES_AS);
    const expect = numberOf("expect", args.expect, 0);
    const paths = args._.slice(2);
    const segments = segmentFiles(paths);
    if (segments?.length === 0) return note("0 records imported: the topic was empty when it was exported");
    const [first = "-"] = paths;
    const state = args.state ?? (isKept(first) ? `${path.resolve(first)}.tidemark-import.json` : undefined);
    const contentType = segments && toldTypeOf(segments);
    const target = await openTarget(args.target, { access: "create", as, contentType, token: tokenOf(args.token) });
    try {
      if (segments && target.take && !args.append) {
        const signal = isEdge(args.target) ? stopSignal() : undefined;
        return await takeSegments(target, args.topic, segments, signal, expect);
      }
      const { appended, before, end, isWhole } = await feed({
        target,
        topic: args.topic,
        input: segments ? recordsOfSegments(segments, target.kernel) : linesOfFiles(paths, as),
        state,
        expect,
        signal: stopSignal(),
        onAcked: acked(args.acks),
      });
      endProgress();
      const earlier = before > 0 ? `, after ${before} of an earlier call` : "";
      const hint = appended === 0 && before > 0 && state ? `; remove ${state} to import them once more` : "";
      const stopped = isWhole ? "" : "; stopped: the same call goes on there";
      const where = appended + before > 0 ? `; the log ends at ${end}` : "";
      note(`${counted(appended, "record")} imported${earlier}${where}${hint}${stopped}`);
    } finally {
      await target.close();
    }
  },
};
