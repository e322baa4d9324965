/** The text of --help: of one command, with examples, and of the whole. */
import type { Argument, Command } from "./arguments.ts";

const WIDTH = 26;

function optionText(name: string, { alias, type, valueHint }: Argument): string {
  const short = [alias ?? []].flat().map((each) => `-${each}, `);
  return `${short.join("")}--${name}${type === "boolean" ? "" : ` ${(valueHint ?? "text").toUpperCase()}`}`;
}

const row = (left: string, right: string): string =>
  left.length < WIDTH ? `  ${left.padEnd(WIDTH)}${right}` : `  ${left}\n  ${"".padEnd(WIDTH)}${right}`;

const placeText = (name: string, { required }: Argument): string => {
  const text = name.endsWith("s") ? `${name.slice(0, -1).toUpperCase()}…` : name.toUpperCase();
  return required === false ? `[${text}]` : text;
};

export function commandHelp(command: Command): string {
  const { meta, args, examples, more } = command;
  const places = Object.entries(args).filter(([, { type }]) => type === "positional");
  const options = Object.entries(args).filter(([, { type }]) => type !== "positional");
  const usage = ["tidemark", meta.name, ...(options.length > 0 ? ["[options]"] : [])].concat(
    places.map(([name, def]) => placeText(name, def)),
  );
  const lines = [meta.description, "", `  ${usage.join(" ")}`];
  if (places.length > 0)
    lines.push("", ...places.map(([name, def]) => row(placeText(name, { ...def, required: true }), def.description!)));
  if (options.length > 0)
    lines.push("", ...options.map(([name, def]) => row(optionText(name, def), def.description ?? "")));
  if (more !== undefined) lines.push("", more);
  lines.push("", ...examples.map((example) => `  ${example}`));
  return lines.join("\n");
}

export function overview(commands: readonly Command[], version: string): string {
  return [
    `tidemark ${version}: logs in a folder or at an edge, from a shell`,
    "",
    "  tidemark COMMAND [options] …        npx tidemark COMMAND --help tells more, with examples",
    "",
    ...commands.map(({ meta }) => row(meta.name, meta.description)),
    "",
    "A TARGET is a folder of tidemark/node, or the address of an edge (http:// or https://).",
    "Exit codes: 0 done, 1 it failed, 2 it was called wrongly.",
  ].join("\n");
}
