/**
 * What a command is called with, checked before anything is done. citty describes commands and hands them their
 * arguments; it takes unknown options and options without a value in silence, so each is looked at here first.
 *
 *   -o -10  --offset=-10  --offset -10  -f  --no-progress  --  TARGET …
 */
import { UsageError } from "./failure.ts";

/** An argument, as citty describes it. A positional whose name ends with "s" takes all that is left. */
export interface Argument {
  readonly type: "positional" | "string" | "boolean";
  readonly description: string;
  readonly alias?: string;
  readonly valueHint?: string;
  readonly default?: string;
  readonly required?: boolean;
  /** Of an option's value: the empty text says something, or has a message of its own. */
  readonly mayBeEmpty?: true;
}
export type Arguments = Readonly<Record<string, Argument>>;

/** A command with what its help shows besides its arguments. */
export interface Command {
  readonly meta: { readonly name: string; readonly description: string };
  readonly args: Arguments;
  readonly examples: readonly string[];
  /** Longer words below the options. */
  readonly more?: string;
  run(context: { readonly args: never }): Promise<void> | void;
}

const namesOf = (name: string, { alias }: Argument): string[] => [name, ...(alias === undefined ? [] : [alias].flat())];

/** One argument as `--name=value`, so that nothing is left to be understood in two ways. */
export function checkedArguments(command: Command, given: readonly string[]): string[] {
  const { name } = command.meta;
  const options = Object.entries(command.args).filter(([, { type }]) => type !== "positional");
  const positionals = Object.entries(command.args).filter(([, { type }]) => type === "positional");
  const seen = new Set<string>();
  const checked: string[] = [];
  const rest: string[] = [];
  const words = [...given];
  for (let word = words.shift(); word !== undefined; word = words.shift()) {
    if (word === "--") {
      rest.push(...words.splice(0));
      break;
    }
    if (word === "-" || !word.startsWith("-")) {
      rest.push(word);
      continue;
    }
    const [, dashes = "", called = "", value] = /^(--?)([^=]*)(?:=([\s\S]*))?$/.exec(word) ?? [];
    const found = options.find(([key, def]) =>
      namesOf(key, def).some((each) => each === called && (each.length === 1) === (dashes === "-")),
    );
    if (!found) throw new UsageError(`there is no option ${word.split("=")[0]}`, name);
    const [key, { type, mayBeEmpty }] = found;
    if (seen.has(key)) throw new UsageError(`--${key} is given twice`, name);
    seen.add(key);
    if (type === "boolean") {
      if (value !== undefined) throw new UsageError(`--${key} takes no value`, name);
      checked.push(`--${key}`);
    } else {
      const next = value ?? words.shift();
      if (next === undefined) throw new UsageError(`${word} needs a value`, name);
      // As of a variable that is not set: an empty path would be this folder, too.
      if (next === "" && !mayBeEmpty) throw new UsageError(`--${key} is empty`, name);
      checked.push(`--${key}=${next}`);
    }
  }
  const isOpen = positionals.at(-1)?.[0].endsWith("s") === true;
  const missing = positionals.find(([, { required }], i) => required !== false && rest[i] === undefined);
  if (missing) throw new UsageError(`${missing[0].replace(/s$/, "").toUpperCase()} is missing`, name);
  const empty = rest.indexOf("");
  if (empty >= 0) {
    const [of = ""] = positionals[Math.min(empty, positionals.length - 1)] ?? [];
    throw new UsageError(`${of.replace(/s$/, "").toUpperCase()} is empty`, name);
  }
  if (!isOpen && rest.length > positionals.length)
    throw new UsageError(`${JSON.stringify(rest[positionals.length])} is one argument too many`, name);
  return [...checked, "--", ...rest];
}

const NO_MAX = Number.MAX_SAFE_INTEGER;

/** A whole number in this range. */
export function numberOf(option: string, text: string | undefined, min: number, max = NO_MAX) {
  if (text === undefined) return undefined;
  const number = /^-?\d{1,16}$/.test(text) ? Number(text) : NaN;
  if (!(number >= min && number <= max))
    throw new UsageError(
      `--${option} ${text}: it must be a whole number from ${min} ${max === NO_MAX ? "on" : `to ${max}`}`,
    );
  return number;
}

/** One of these words. `argument`: what the help calls it, such as --as. */
export function choiceOf<T extends string>(argument: string, text: string, choices: readonly T[]): T {
  if ((choices as readonly string[]).includes(text)) return text as T;
  throw new UsageError(`${argument} ${text}: it must be one of ${choices.join(", ")}`);
}
