/** `tidemark dump`: the batches of Kafka's .log files field by field, as their bytes say. */
import { batchesOfFile } from "../segment-files.ts";
import type { Command } from "../arguments.ts";
import { segmentFiles } from "../inputs.ts";
import { lineOfRecord } from "../lines.ts";
import { ownKernel } from "../targets.ts";
import { printLine } from "../terminal.ts";
import { TidemarkError } from "../../src/errors.ts";
import { readHeader } from "../../src/record/format.ts";
import { decodeBatch } from "../../src/record/record-batch.ts";
import { Failure } from "../failure.ts";

interface DumpArguments {
  readonly _: readonly string[];
  readonly records?: boolean;
}

export const dump: Command = {
  meta: { name: "dump", description: "the batches of .log files, field by field, one JSON object a line" },
  args: {
    paths: { type: "positional", description: ".log files, or folders of them", required: true },
    records: { type: "boolean", alias: "r", description: "below each batch its records" },
  },
  examples: ["tidemark dump ./orders-segments", "tidemark dump 00000000000000000000.log --records | jq ."],
  async run({ args }: { readonly args: DumpArguments }) {
    const kernel = await ownKernel();
    const files = segmentFiles(args._);
    if (!files) throw new Failure("dump reads .log files: `tidemark export` makes them of a topic");
    let damaged = 0;
    for (const file of files)
      for (const { position, bytes } of batchesOfFile(file)) {
        const fields = { file, position, ...readHeader(bytes) };
        try {
          const batch = await decodeBatch(kernel, bytes);
          await printLine(JSON.stringify({ ...fields, isGood: true }));
          for (let i = 0; args.records && i < batch.count; i++)
            await printLine(
              lineOfRecord({
                offset: batch.offsetAt(i),
                timestamp: batch.timestampAt(i),
                keyBytes: batch.keyAt(i),
                valueBytes: batch.valueAt(i),
                rawHeaders: batch.headersAt(i),
              }),
            );
        } catch (thrown) {
          damaged++;
          await printLine(JSON.stringify({ ...fields, isGood: false, error: TidemarkError.from(thrown).message }));
        }
      }
    if (damaged > 0) throw new Failure(`${damaged} batches are damaged`);
  },
};
