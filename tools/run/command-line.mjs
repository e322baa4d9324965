/**
 * The command line of every script of this repository. A script names its options to `commandLine` and gets their
 * values, checked. `--help` prints the options and ends with 0. A wrong value or an unknown option ends the script with
 * exit code 2 and one line that says what is allowed: a typing error must never look like a successful run.
 */
import { mkdirSync, statSync } from "node:fs";
import path from "node:path";
import { parseArgs } from "node:util";

/** A wrong command line. The message says what is allowed. */
export class UsageError extends Error {}

const number = (text, { min = -Infinity, max = Infinity }, isRight, noun) => {
  // Number("") is 0 and Number("0x10") is 16; nobody means that.
  const value = /^-?(\d+\.?\d*|\.\d+)(e\d+)?$/i.test(text) ? Number(text) : NaN;
  if (isRight(value) && value >= min && value <= max) return value;
  const range = max === Infinity ? (min === -Infinity ? "" : ` of at least ${min}`) : ` from ${min} to ${max}`;
  throw new UsageError(`must be ${noun}${range}`);
};

/** A whole number. It is at least 1 unless `min` says otherwise, because a run that does nothing is never intended. */
export const integer = (settings) => ({
  sample: "N",
  ...settings,
  read: (text) =>
    number(text, { min: 1, max: Number.MAX_SAFE_INTEGER, ...settings }, Number.isSafeInteger, "a whole number"),
});

/** The seed with which random generators begin. */
export const seedNumber = (settings = {}) => ({
  ...integer({ min: 0, max: 2 ** 31 - 1, default: 1, help: "first seed", ...settings }),
  sample: "S",
});

/** Any finite number. */
export const decimal = (settings) => ({
  sample: "N",
  ...settings,
  read: (text) => number(text, { min: 0, ...settings }, Number.isFinite, "a number"),
});

export const text = (settings) => ({
  sample: "TEXT",
  ...settings,
  read(given) {
    if (given !== "") return given;
    throw new UsageError("must not be empty");
  },
});

/** One of these words. */
export const choice = (words, settings) => ({
  sample: words.length > 4 ? "NAME" : words.join("|"),
  ...settings,
  words,
  read(given) {
    if (words.includes(given)) return given;
    throw new UsageError(`must be one of ${words.join(", ")}`);
  },
});

/** Some of these words, separated by commas. `all` stands for all of them. */
export const choices = (words, settings) => ({
  sample: "NAME,…",
  ...settings,
  words,
  read(given) {
    const named = given === "all" ? words : given.split(",");
    if (named.every((word) => words.includes(word))) return [...new Set(named)];
    throw new UsageError(`must be all, or some of ${words.join(", ")}, separated by commas`);
  },
});

export const flag = (settings) => ({ isFlag: true, default: false, ...settings });

/** A file to write. Its folder is made at once, so that a long run does not fail at its end. */
export const outputFile = (settings) => ({
  sample: "FILE",
  ...settings,
  read(given) {
    const file = path.resolve(given);
    if (given === "" || statSync(file, { throwIfNoEntry: false })?.isDirectory())
      throw new UsageError("must be the path of a file");
    try {
      mkdirSync(path.dirname(file), { recursive: true });
    } catch (error) {
      throw new UsageError(`can't be written: ${error.message}`);
    }
    return file;
  },
});

/** The option that every script with figures has. */
export const jsonFile = () => outputFile({ help: "also write the figures to FILE" });

function helpOf({ script, command = `npm run ${script}`, about, options, positionals }) {
  const rows = Object.entries(options).map(([name, option]) => [
    option.isFlag ? `--${name}` : `--${name} ${option.sample}`,
    option.help + (option.words && !option.help.includes(option.words[0]) ? ` (${option.words.join(", ")})` : ""),
    option.isFlag || option.default === undefined ? "" : ` [default ${option.default}]`,
  ]);
  rows.push(["--help", "print this", ""]);
  const width = Math.max(...rows.map(([left]) => left.length));
  const named = positionals ? ` [${positionals.sample} …]` : "";
  const lines = rows.map(([left, help, standard]) => `  ${left.padEnd(width)}  ${help}${standard}`);
  const before = command.startsWith("npm ") && !command.includes(" -- ") ? " --" : "";
  const names = positionals
    ? [`  ${positionals.sample.padEnd(width)}  ${positionals.help}: ${positionals.words.join(" ")}`]
    : [];
  return [`${command}${before}${named} [options]`, "", about, "", ...names, ...lines].join("\n");
}

/** Node's own message, without its advice about «--». */
const plain = (error) => error.message.split(/\. To specify|\.? Did you/)[0];

function parsed(options, positionals, args) {
  const known = Object.entries({ ...options, help: { isFlag: true } });
  const kinds = known.map(([name, { isFlag }]) => [name, { type: isFlag ? "boolean" : "string" }]);
  try {
    const settings = { allowPositionals: positionals !== undefined, options: Object.fromEntries(kinds) };
    const { tokens, ...found } = parseArgs({ args, ...settings, tokens: true });
    const given = tokens.filter(({ kind }) => kind === "option").map(({ name }) => name);
    const twice = given.find((name, i) => given.indexOf(name) !== i);
    // The last one would count alone.
    if (twice !== undefined) throw new UsageError(`--${twice} is given twice`);
    return found;
  } catch (error) {
    throw new UsageError(plain(error));
  }
}

/** The values, or `{ help }` with the text to print. Throws a UsageError. */
export function readCommandLine(spec, args) {
  const { options = {}, positionals } = spec;
  const { values: given, positionals: words } = parsed(options, positionals, args);
  if (given.help) return { help: helpOf({ ...spec, options }) };
  const values = { names: words };
  for (const [name, option] of Object.entries(options)) {
    const said = given[name];
    try {
      values[name] = said === undefined || option.isFlag ? (said ?? option.default) : option.read(said);
    } catch (error) {
      if (!(error instanceof UsageError)) throw error;
      throw new UsageError(`--${name} ${error.message}, not «${said}»`);
    }
  }
  const unknown = words.filter((word) => !positionals.words.includes(word));
  if (unknown.length > 0) {
    throw new UsageError(`${positionals.sample} must be one of ${positionals.words.join(", ")}, not «${unknown[0]}»`);
  }
  spec.check?.(values);
  return { values };
}

/** Returns the values. Ends the process after --help, and after a wrong command line. */
export function commandLine(spec, args = process.argv.slice(2)) {
  try {
    const { help, values } = readCommandLine(spec, args);
    if (help === undefined) return values;
    console.log(help);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    console.error(`${spec.script}: ${error.message}. --help lists the options.`);
    process.exit(2);
  }
  process.exit(0);
}
