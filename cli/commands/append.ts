/** `tidemark append`: appends lines of stdin. */
import { choiceOf, type Command, numberOf } from "../arguments.ts";
import { feed } from "../feed.ts";
import { recordsOfLines, standardInput } from "../inputs.ts";
import { stopSignal } from "../interrupt.ts";
import { LINES_AS } from "../lines.ts";
import { openTarget } from "../targets.ts";
import { acked, counted, endProgress, goOnUnread, note } from "../terminal.ts";
import { TOKEN, tokenOf, TOPIC } from "./target-arguments.ts";

interface AppendArguments {
  readonly target: string;
  readonly topic: string;
  readonly as: string;
  readonly state?: string;
  readonly expect?: string;
  readonly quiet?: boolean;
  readonly acks?: boolean;
  readonly token?: string;
}

export const append: Command = {
  meta: { name: "append", description: "appends the lines of stdin to a topic" },
  args: {
    ...TOPIC,
    as: {
      type: "string",
      valueHint: "kind",
      default: "records",
      description: "records (default), json or text; see below",
    },
    state: {
      type: "string",
      valueHint: "file",
      description: "keeps there what was appended: the same call goes on behind it",
    },
    expect: {
      type: "string",
      valueHint: "offset",
      description: "only if the log ends there, else nothing is appended",
    },
    quiet: { type: "boolean", alias: "q", description: "says nothing at the end" },
    acks: {
      type: "boolean",
      description: "prints a line for each batch once it is in the log: records so far, and the log's end",
    },
    ...TOKEN,
  },
  more:
    'records: each line is {"value": …} and, if wanted, key, headers and timestamp, as tail --json prints them.\n' +
    "json: each line is a value. text: each line is a text.\n" +
    "With --state, the same input may be given again after a crash or a lost network: each record is appended once.",
  examples: [
    `echo '{"key":"o-17","value":{"total":42}}' | tidemark append ./data orders`,
    "tail -F app.log | tidemark append https://edge.example logs/app --as text",
    "tidemark append ./data orders --state orders.state < orders.ndjson",
  ],
  async run({ args }: { readonly args: AppendArguments }) {
    goOnUnread();
    const as = choiceOf("--as", args.as, LINES_AS);
    const expect = numberOf("expect", args.expect, 0);
    const input = standardInput();
    const target = await openTarget(args.target, { access: "create", as, token: tokenOf(args.token) });
    try {
      const { appended, before, end } = await feed({
        target,
        topic: args.topic,
        input: recordsOfLines(input, as),
        state: args.state,
        expect,
        signal: stopSignal(),
        onAcked: acked(args.acks),
      });
      endProgress();
      const earlier = before > 0 ? `, after ${before} of an earlier call` : "";
      const where = appended + before > 0 ? `; the log ends at ${end}` : "";
      if (!args.quiet) note(`${counted(appended, "record")} appended${earlier}${where}`);
    } finally {
      await target.close();
    }
  },
};
