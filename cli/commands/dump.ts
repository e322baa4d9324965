/** `tidemark dump`: a tide's files, or the batches of Kafka's .log files, field by field as their bytes say. */
import { existsSync, statSync } from "node:fs";
import type { Command } from "../arguments.ts";
import { type Dumped, dumpedBatch, dumpTide, type Item } from "../dump-tide.ts";
import { Failure } from "../failure.ts";
import { segmentFiles } from "../inputs.ts";
import { holdsSegments } from "../manifest.ts";
import { lineOfRecord } from "../lines.ts";
import { batchesOfFile } from "../segment-files.ts";
import { tidesBelow } from "../slot-files.ts";
import { ownKernel } from "../targets.ts";
import { counted, dim, printLine, red } from "../terminal.ts";
import type { Kernel } from "../../src/kernel/types.ts";

interface DumpArguments {
  readonly _: readonly string[];
  readonly records?: boolean;
  readonly json?: boolean;
}

async function* dumped(given: string, kernel: Kernel): AsyncGenerator<Dumped> {
  if (!existsSync(given)) throw new Failure(`${given} is not there`);
  if (statSync(given).isDirectory() && !holdsSegments(given)) {
    const tides = await tidesBelow(given, kernel);
    if (tides.length === 0)
      throw new Failure(`${given} holds no tide, no .log file and no browser's "File System" with a tide`);
    for (const tide of tides) {
      yield { item: { kind: "tide", where: tide.where, slotBytes: tide.volume.slotBytes, isGood: true } };
      yield* dumpTide(tide, kernel);
    }
    return;
  }
  const files = segmentFiles([given]);
  if (!files) throw new Failure(`${given} is no .log file: \`tidemark export\` makes them of a topic`);
  for (const file of files)
    for (const { position, bytes } of batchesOfFile(file)) yield await dumpedBatch(kernel, bytes, { file, position });
}

/** A field for people. Long lists are counted; --json has them whole. */
function shownField([name, value]: readonly [string, unknown]): string {
  if (Array.isArray(value) && value.length > 4) return dim(`${name}=(${value.length})`);
  return `${dim(`${name}=`)}${typeof value === "string" ? value : JSON.stringify(value)}`;
}

function shown({ kind, isGood, error, ...fields }: Item): string {
  const all = Object.entries(fields).filter(([, value]) => value !== undefined);
  const line = [kind, ...all.map(shownField)].join(" ");
  return isGood ? line : `${line} ${red(`damaged: ${error}`)}`;
}

async function printRecords(batch: NonNullable<Dumped["batch"]>, json: boolean): Promise<void> {
  for (let i = 0; i < batch.count; i++) {
    const line = lineOfRecord({
      offset: batch.offsetAt(i),
      timestamp: batch.timestampAt(i),
      keyBytes: batch.keyAt(i),
      valueBytes: batch.valueAt(i),
      rawHeaders: batch.headersAt(i),
    });
    await printLine(json ? line : `  ${line}`);
  }
}

export const dump: Command = {
  meta: { name: "dump", description: "a tide's files, a Chromium profile's or .log files, field by field" },
  args: {
    paths: {
      type: "positional",
      description: "a tide's folder, a profile, .log files, or a folder of them",
      required: true,
    },
    records: { type: "boolean", alias: "r", description: "below each batch its records" },
    json: { type: "boolean", description: "one JSON object a line, with every field" },
  },
  more:
    "Of a tide: both copies of the catalog, its logs, and of each slot role, marks, batches, indexes, producers and\n" +
    "footer, each with the byte where it stands (at). Nothing is changed. Exit code 1: something is damaged.",
  examples: [
    "tidemark dump ./data",
    "tidemark dump ~/.config/chromium/Default --json | jq 'select(.isGood == false)'",
    "tidemark dump ./orders-segments --records",
  ],
  async run({ args: { _: paths, records = false, json = false } }: { readonly args: DumpArguments }) {
    const kernel = await ownKernel();
    let damaged = 0;
    for (const given of paths)
      for await (const { item, batch } of dumped(given, kernel)) {
        damaged += item.isGood ? 0 : 1;
        await printLine(json ? JSON.stringify(item) : shown(item));
        if (batch && records) await printRecords(batch, json);
      }
    if (damaged > 0) throw new Failure(`${counted(damaged, "thing is", "things are")} damaged`);
  },
};
