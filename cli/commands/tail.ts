/** `tidemark tail`: prints records, the last ones or from anywhere, and those that come. */
import { type Command, numberOf } from "../arguments.ts";
import { UsageError } from "../failure.ts";
import { stopSignal } from "../interrupt.ts";
import { type LineRecord, lineOfRecord } from "../lines.ts";
import { checkPosition, openTarget, placeOf, positionOf } from "../targets.ts";
import { cyan, dim, print, printLine, shownText, timeText } from "../terminal.ts";
import { TOKEN, tokenOf, TOPIC } from "./target-arguments.ts";

interface TailArguments {
  readonly target: string;
  readonly topic: string;
  readonly token?: string;
  readonly offset: string;
  readonly limit?: string;
  readonly follow?: boolean;
  readonly key?: string;
  readonly grep?: string;
  readonly format?: string;
  readonly json?: boolean;
}

const decoder = new TextDecoder();
const textOf = (bytes: Uint8Array | null): string => (bytes === null ? "" : decoder.decode(bytes));
const headersText = ({ rawHeaders }: LineRecord): string =>
  rawHeaders.map(([name, value]) => `${name}=${textOf(value)}`).join(",");

const FIELDS: Readonly<Record<string, (record: LineRecord, topic: string) => string>> = {
  o: ({ offset }) => String(offset),
  t: ({ timestamp }) => String(timestamp),
  T: ({ timestamp }) => timeText(timestamp),
  k: ({ keyBytes }) => textOf(keyBytes),
  v: ({ valueBytes }) => textOf(valueBytes),
  h: headersText,
  s: ({ valueBytes }) => String(valueBytes?.length ?? -1),
  n: (_, topic) => topic,
  "%": () => "%",
};
const ESCAPES: Readonly<Record<string, string>> = { n: "\n", t: "\t", r: "\r", "0": "\0", "\\": "\\" };

/** What `--format` says, as a function. */
function formatOf(format: string): (record: LineRecord, topic: string) => string {
  const parts = [...format.matchAll(/%([\s\S]?)|\\([\s\S]?)|[^%\\]+/g)].map(([text, field, escape]) => {
    if (field !== undefined) {
      const made = FIELDS[field];
      if (!made) throw new UsageError(`--format: there is no %${field}; there are ${fieldList()}`, "tail");
      return made;
    }
    const made = escape === undefined ? text : (ESCAPES[escape] ?? text);
    return () => made;
  });
  return (record, topic) => parts.map((part) => part(record, topic)).join("");
}
const fieldList = (): string =>
  Object.keys(FIELDS)
    .map((name) => `%${name}`)
    .join(" ");

function shownLine(record: LineRecord): string {
  const key = record.keyBytes === null ? "" : ` ${cyan(shownText(textOf(record.keyBytes)))}`;
  const value = record.valueBytes === null ? dim("(tombstone)") : shownText(textOf(record.valueBytes));
  const headers = record.rawHeaders.length === 0 ? "" : ` ${dim(shownText(headersText(record)))}`;
  return `${dim(`${record.offset} ${timeText(record.timestamp)}`)}${key} ${value}${headers}`;
}

function patternOf(text: string | undefined): RegExp | undefined {
  try {
    return text === undefined ? undefined : new RegExp(text);
  } catch (thrown) {
    throw new UsageError(`--grep: ${(thrown as Error).message}`, "tail");
  }
}

export const tail: Command = {
  meta: { name: "tail", description: "prints a topic's records: the last ones, or from anywhere, and those that come" },
  args: {
    ...TOPIC,
    offset: {
      type: "string",
      alias: "o",
      valueHint: "from",
      default: "-10",
      description: "earliest, latest, an offset, -N for the last N, or a time. Default: -10",
    },
    limit: { type: "string", alias: "n", valueHint: "count", description: "ends after so many records" },
    follow: { type: "boolean", alias: "f", description: "stays, and prints what comes" },
    key: { type: "string", alias: "k", mayBeEmpty: true, description: "only records with this key" },
    grep: { type: "string", valueHint: "regex", mayBeEmpty: true, description: "only records whose value matches" },
    format: { type: "string", description: "how to print a record; see below" },
    json: { type: "boolean", description: "one JSON object a line, as append and import take them" },
    ...TOKEN,
  },
  more:
    "--format: %o offset, %t timestamp, %T the same as ISO 8601, %k key, %v value, %s its bytes, %h headers,\n" +
    "%n topic, %% a percent sign; \\n \\t \\r \\0 \\\\ as usual. No end of line is added.\n" +
    "A folder is read without its lock: another process may have it open, and goes on appending.",
  examples: [
    "tidemark tail ./data orders",
    "tidemark tail ./data orders -f",
    "tidemark tail https://edge.example orders -f --grep '\"total\":4'",
    "tidemark tail ./data orders -o 2026-11-29T12:00:00Z -n 100 --json | jq .value",
    "tidemark tail ./data orders -o earliest --format '%o %k %v\\n'",
  ],
  async run({ args }: { readonly args: TailArguments }) {
    const from = positionOf("offset", args.offset);
    const limit = numberOf("limit", args.limit, 1) ?? Infinity;
    const pattern = patternOf(args.grep);
    if (args.json && args.format !== undefined) throw new UsageError("give --json or --format, not both", "tail");
    const format = args.format === undefined ? undefined : formatOf(args.format);
    const target = await openTarget(args.target, { token: tokenOf(args.token) });
    const signal = stopSignal();
    try {
      checkPosition(await placeOf(target, args.topic), from);
      let printed = 0;
      for await (const record of target.read(args.topic, { from, follow: args.follow === true, signal })) {
        if (signal.aborted) break;
        if (args.key !== undefined && textOf(record.keyBytes) !== args.key) continue;
        if (args.key !== undefined && record.keyBytes === null) continue;
        if (pattern && !pattern.test(textOf(record.valueBytes))) continue;
        if (format) await print(format(record, args.topic));
        else await printLine(args.json ? lineOfRecord(record) : shownLine(record));
        if (++printed >= limit) break;
      }
    } catch (thrown) {
      if (!signal.aborted) throw thrown;
    } finally {
      await target.close();
    }
  },
};
