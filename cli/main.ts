/** The program `tidemark`: finds the command, checks its arguments, runs it, and says in one line what failed. */
import { type ArgsDef, type CommandDef, runCommand } from "citty";
import { readFileSync } from "node:fs";
import { checkedArguments } from "./arguments.ts";
import { COMMANDS } from "./all-commands.ts";
import { lineOf, UsageError } from "./failure.ts";
import { commandHelp, overview } from "./help.ts";
import { INTERRUPTED, wasInterrupted } from "./interrupt.ts";
import { continueUnread, note, printLine } from "./terminal.ts";

const version = (): string => {
  const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as {
    version: string;
  };
  return version;
};

/** The command whose help a wrong call names. */
let called: string | undefined;

async function run(words: readonly string[]): Promise<void> {
  const [first, ...rest] = words;
  if (first === "--version" || first === "-v") return printLine(version());
  const isHelp = first === "help" || first === "--help" || first === "-h";
  const name = isHelp ? rest[0] : first;
  if (isHelp && name === undefined) return printLine(overview(COMMANDS, version()));
  const command = COMMANDS.find(({ meta }) => meta.name === name);
  if (!command)
    throw new UsageError(
      `${name === undefined ? "a command is needed" : `there is no command ${JSON.stringify(name)}`}; there are ` +
        COMMANDS.map(({ meta }) => meta.name).join(", "),
    );
  called = isHelp ? undefined : name;
  const end = rest.indexOf("--");
  const before = end < 0 ? rest : rest.slice(0, end);
  if (isHelp || before.includes("--help") || before.includes("-h")) return printLine(commandHelp(command));
  const { meta, args } = command;
  const definition: CommandDef = {
    meta,
    args: args as ArgsDef,
    run: (context) => command.run({ args: context.args as never }),
  };
  await runCommand(definition, { rawArgs: checkedArguments(command, rest) });
}

process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  // The program that reads stdout wants no more of it, as `head` does.
  if (error.code === "EPIPE" || error.code === "ERR_STREAM_DESTROYED")
    return continueUnread() ? undefined : process.exit(0);
  note(`tidemark: stdout can't be written: ${error.message}`);
  process.exit(1);
});
// Notes that nobody can read change nothing of what a command does.
process.stderr.on("error", () => undefined);

try {
  await run(process.argv.slice(2));
  // After an interrupt the process ends at once, even if a socket is still closing.
  if (wasInterrupted()) process.exit(INTERRUPTED);
} catch (thrown) {
  const isUsage = thrown instanceof UsageError;
  note(`tidemark: ${lineOf(thrown)}`);
  const of = isUsage ? (thrown.of ?? called) : undefined;
  if (isUsage) note(`(npx tidemark ${of === undefined ? "" : `${of} `}--help)`);
  process.exitCode = isUsage ? 2 : 1;
}
