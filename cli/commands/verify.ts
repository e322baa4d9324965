/** `tidemark verify`: every checksum of a tide's files or of Kafka's, and what is whole of them into a new folder. */
import { existsSync, readdirSync, rmSync, statSync } from "node:fs";
import path from "node:path";
import { SEGMENT_BYTES } from "../../src/browser/page/open-options.ts";
import type { Topic } from "../../src/browser/api.ts";
import type { Kernel } from "../../src/kernel/types.ts";
import { NodeTide } from "../../src/node/node-tide.ts";
import { nextOffsetOf, readHeader } from "../../src/record/format.ts";
import type { Command } from "../arguments.ts";
import { Failure, UsageError } from "../failure.ts";
import { repackedForRepair } from "../repacked-files.ts";
import { type FoundTide, tidesBelow } from "../slot-files.ts";
import { ownKernel } from "../targets.ts";
import { counted, goOnUnread, green, note, printLine, red, sizeText } from "../terminal.ts";
import { MANIFEST } from "../manifest.ts";
import { merged, type Range, without } from "../offset-ranges.ts";
import { type FolderCheck, verifyFolder, verifyLog } from "../verify-files.ts";
import { bodiesOf, type Body, type Checked, verifyTide } from "../verify-tide.ts";

interface VerifyArguments {
  readonly _: readonly string[];
  readonly repair?: string;
  readonly topic?: string;
  readonly tide?: string;
  readonly json?: boolean;
}

interface Found {
  readonly where: string;
  readonly checked: Checked;
  /** Bytes of a slot of the tide that `--repair` makes. */
  readonly segmentBytes: number;
  /** What can be saved, by topic. */
  readonly bodies: () => AsyncIterable<Body>;
}

/** .log files, one behind the other. */
async function logsFound(
  where: string,
  { logs, faults, start, end: topicEnd, gone = [] }: FolderCheck,
  topic: string,
  kernel: Kernel,
): Promise<Found> {
  let [batches, bytes, end] = [0, 0, 0];
  for (const file of logs) {
    const checked = await verifyLog(file, kernel, end);
    faults.push(...checked.faults);
    batches += checked.batches;
    bytes += checked.bytes;
    end = checked.end;
  }
  // Compaction may have taken what was there, so it is no fault.
  if (topicEnd !== undefined && Math.max(end, start) < topicEnd && faults.length === 0)
    note(`${where}: no record is there from ${end} on, and the topic ended at ${topicEnd}: right if it is compacted`);
  const bodies = async function* (): AsyncGenerator<Body> {
    const files = logs.map((file) => repackedForRepair(file, kernel));
    yield { topic, start, end: topicEnd, held: [...gone, ...files.flatMap(({ lost }) => lost)], files };
  };
  return { where, checked: { faults, batches, bytes }, segmentBytes: SEGMENT_BYTES, bodies };
}

async function foundIn(given: string, topic: string, only: string, kernel: Kernel): Promise<Found[]> {
  if (!existsSync(given)) throw new Failure(`${given} is not there`);
  if (!statSync(given).isDirectory()) {
    if (!given.endsWith(".log"))
      throw new Failure(`${given} is no .log file; of a tide, or of what \`tidemark export\` made, give the folder`);
    // The others of its folder are not asked for.
    const start = existsSync(path.join(path.dirname(given), MANIFEST))
      ? (verifyFolder(path.dirname(given))?.start ?? 0)
      : 0;
    return [await logsFound(given, { logs: [given], faults: [], start }, topic, kernel)];
  }
  const folder = verifyFolder(given);
  if (folder) return [await logsFound(given, folder, topic, kernel)];
  const tides = (await tidesBelow(given, kernel)).filter(({ id = only }) => id.startsWith(only));
  if (tides.length === 0)
    throw new Failure(
      `${given} holds no tide${only && ` whose id begins with ${only}`}, no .log file and no browser's ` +
        `"File System": a tide in IndexedDB can't be read from outside the browser`,
    );
  const ofTide = async (tide: FoundTide): Promise<Found> => ({
    where: tide.where,
    checked: await verifyTide(tide, kernel),
    segmentBytes: tide.volume.slotBytes,
    bodies: () => bodiesOf(tide, kernel, () => note(LOST_CATALOG)),
  });
  return Promise.all(tides.map(ofTide));
}

const LOST_CATALOG =
  "the catalog is lost, so the slots are taken for what they say themselves: what was trimmed, deleted or replaced " +
  "by compaction may come back, and a topic that was renamed has its first name";

/** The offsets that a topic has. */
async function offsetsOf(topic: Topic<unknown>): Promise<Range[]> {
  const found: Range[] = [];
  for (const { baseOffset, bytes } of (await topic.state()).segments) {
    const { log } = bytes > 0 ? await topic.exportSegment(baseOffset) : { log: new Uint8Array(0) };
    for (let at = 0; at < log.length;) {
      const header = readHeader(log, at);
      found.push([header.baseOffset, nextOffsetOf(header)]);
      at += header.sizeBytes;
    }
  }
  return merged(found);
}

/** Saves one topic, and says what is lost of it. */
async function save(tide: NodeTide, { topic: name, start, end, held, files, doubt }: Body): Promise<void> {
  const topic = tide.topic(name);
  const { records, damage, firstOffset, nextOffset } = await topic.importSegments(files, { damage: "skip" });
  const saved = records > 0 ? await offsetsOf(topic) : [];
  // A segment may still hold what was trimmed; the end may be what is lost.
  const from = Math.min(Math.max(start, firstOffset), nextOffset);
  if (from > firstOffset) await topic.trim(from);
  const trimmed = from > firstOffset ? `, and those before ${from} were trimmed and are removed again` : "";
  const damaged = damage.map(({ from: first, to }): Range => [first, to ?? Math.max(end ?? Infinity, first + 1)]);
  const lost = without([...damaged, ...held], [...saved, [0, start]])
    .map(([first, to]) => `${first} to ${to === Infinity ? "the end" : to}`)
    .join(", ");
  const told = [...(lost ? [`lost: ${lost}`] : []), ...(doubt === undefined ? [] : [doubt])];
  const lostText = told.join("; ") || "nothing is lost";
  note(`${name}: ${counted(records, "record")} saved, offsets ${firstOffset} to ${nextOffset}${trimmed}; ${lostText}`);
}

/** Copies what is whole into a new folder, and says what is not. The folder goes again if that fails. */
async function repairInto(folder: string, { bodies, segmentBytes }: Found, kernel: Kernel): Promise<void> {
  if (existsSync(folder) && (!statSync(folder).isDirectory() || readdirSync(folder).length > 0))
    throw new UsageError(`--repair ${folder}: it must be a folder that is new or empty`, "verify");
  const tide = await NodeTide.open({ folder: path.resolve(folder), segmentBytes, mustExist: false, kernel });
  try {
    for await (const body of bodies()) await save(tide, body);
  } catch (thrown) {
    await tide.close();
    rmSync(folder, { recursive: true });
    throw thrown;
  }
  await tide.close();
}

export const verify: Command = {
  meta: { name: "verify", description: "every checksum of a tide's files, of a Chromium profile's, or of Kafka's" },
  args: {
    paths: {
      type: "positional",
      description: "a tide's folder, a profile, .log files, or a folder of them",
      required: true,
    },
    repair: { type: "string", valueHint: "folder", description: "saves what is whole into a new folder" },
    topic: { type: "string", description: "of .log files: the topic that --repair makes. Default: the folder's name" },
    tide: { type: "string", valueHint: "id", description: "of a profile with several: the tide whose id begins so" },
    json: { type: "boolean", description: "one JSON object for each PATH" },
  },
  more:
    "Nothing is changed, but a folder that a process has open at the same time may seem damaged at its end.\n" +
    'A profile: what is in its "File System" (OPFS). What is in IndexedDB can\'t be read from outside the browser.\n' +
    "Exit code 1: something is damaged.",
  examples: [
    "tidemark verify ./data",
    "tidemark verify ./orders-segments",
    "tidemark verify ~/.config/chromium/Default --repair ./saved",
  ],
  async run({ args }: { readonly args: VerifyArguments }) {
    goOnUnread();
    const kernel = await ownKernel();
    let damaged = 0;
    const all: Found[] = [];
    for (const given of args._) {
      const topic =
        args.topic ??
        path
          .basename(path.resolve(given))
          .replace(/\.log$/, "")
          .replace(/[^\w.-]/g, "-");
      for (const found of await foundIn(given, topic, args.tide ?? "", kernel)) {
        const { faults, batches, bytes } = found.checked;
        all.push(found);
        damaged += faults.length > 0 ? 1 : 0;
        if (args.json) await printLine(JSON.stringify({ path: found.where, batches, bytes, faults }));
        else {
          const verdict = faults.length === 0 ? green("good") : red(counted(faults.length, "fault"));
          await printLine(`${found.where}: ${counted(batches, "batch", "batches")}, ${sizeText(bytes)}: ${verdict}`);
          for (const { where, what } of faults) await printLine(red(`  ${where}: ${what}`));
        }
      }
    }
    if (args.repair !== undefined) {
      if (all.length !== 1)
        throw new UsageError(
          `--repair is for one tide, and here are ${all.length}: choose one by --tide, or give as PATH the folder ` +
            "that its line names",
          "verify",
        );
      await repairInto(args.repair, all[0]!, kernel);
    }
    if (damaged > 0) throw new Failure(`${damaged} of ${all.length} damaged`);
  },
};
