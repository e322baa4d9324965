/** `tidemark completion`: scripts that complete commands and options in a shell. */
import { choiceOf, type Command } from "../arguments.ts";
import { printLine } from "../terminal.ts";

const SHELLS = ["bash", "zsh", "fish"] as const;

interface Word {
  readonly name: string;
  readonly about: string;
  readonly options: readonly { readonly names: readonly string[]; readonly about: string; readonly takes: boolean }[];
}

const wordsOf = (commands: readonly Command[]): Word[] =>
  commands.map(({ meta, args }) => ({
    name: meta.name,
    about: meta.description,
    options: Object.entries(args)
      .filter(([, { type }]) => type !== "positional")
      .map(([name, { alias, description = "", type }]) => ({
        names: [`--${name}`, ...[alias ?? []].flat().map((each) => `-${each}`)],
        about: description,
        takes: type !== "boolean",
      })),
  }));

/** A text between single quotes, for all three shells. */
const quoted = (text: string): string => `'${text.replaceAll("'", "")}'`;
const firstSentence = (text: string): string => text.split(/[.;] /)[0]!;

function bash(words: readonly Word[]): string {
  const cases = words.map(
    ({ name, options }) => `    ${name}) options="${options.flatMap(({ names }) => names).join(" ")} --help" ;;`,
  );
  return `_tidemark() {
  local word="\${COMP_WORDS[COMP_CWORD]}" options=""
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "${words.map(({ name }) => name).join(" ")} help --help --version" -- "$word"))
    return
  fi
  case "\${COMP_WORDS[1]}" in
${cases.join("\n")}
  esac
  case "$word" in
    -*) COMPREPLY=($(compgen -W "$options" -- "$word")) ;;
    *) [ "\${COMP_WORDS[1]}" = completion ] && COMPREPLY=($(compgen -W "${SHELLS.join(" ")}" -- "$word")) ;;
  esac
}
# Where it has no words the shell completes files, and knows their spaces.
complete -o default -F _tidemark tidemark`;
}

function zsh(words: readonly Word[]): string {
  const commands = words.map(
    ({ name, about }) => `    ${quoted(`${name}:${firstSentence(about).replaceAll(":", " ")}`)}`,
  );
  const cases = words.map(({ name, options }) => {
    const specs = options.map(({ names, about, takes }) => {
      const text = firstSentence(about).replaceAll(/[[\]:]/g, " ");
      const listed = names.length > 1 ? `'(${names.join(" ")})'{${names.join(",")}}` : names[0];
      return `${listed}${quoted(`[${text}]${takes ? ":value:_files" : ""}`)}`;
    });
    return `    ${name}) _arguments ${[...specs, `'*:file:_files'`].join(" ")} ;;`;
  });
  return `#compdef tidemark
_tidemark() {
  local -a commands
  commands=(
${commands.join("\n")}
  )
  if (( CURRENT == 2 )); then
    _describe command commands
    return
  fi
  local command=$words[2]
  shift words
  (( CURRENT-- ))
  case $command in
${cases.join("\n")}
  esac
}
# As a file of fpath this is the function's first call; sourced, it is none yet.
if [[ $funcstack[1] == _tidemark ]]; then
  _tidemark "$@"
else
  compdef _tidemark tidemark
fi`;
}

function fish(words: readonly Word[]): string {
  const lines = words.flatMap(({ name, about, options }) => [
    `complete -c tidemark -n __fish_use_subcommand -f -a ${name} -d ${quoted(firstSentence(about))}`,
    ...options.map(({ names, about: text, takes }) => {
      const [long, short] = names;
      const parts = [`-l ${long!.slice(2)}`, ...(short === undefined ? [] : [`-s ${short.slice(1)}`])];
      const of = quoted(`__fish_seen_subcommand_from ${name}`);
      return `complete -c tidemark -n ${of} ${parts.join(" ")}${takes ? " -r" : ""} -d ${quoted(firstSentence(text))}`;
    }),
  ]);
  return lines.join("\n");
}

/** `commands`: all of them, this one too; it is called when the script is asked for. */
export const completionOf = (commands: () => readonly Command[]): Command => ({
  meta: { name: "completion", description: "a script that completes commands and options in a shell" },
  args: { shell: { type: "positional", description: SHELLS.join(", "), required: true } },
  examples: [
    "tidemark completion bash > ~/.local/share/bash-completion/completions/tidemark",
    "tidemark completion zsh > ~/.zfunc/_tidemark",
    "tidemark completion fish > ~/.config/fish/completions/tidemark.fish",
  ],
  run({ args: { shell } }: { readonly args: { shell: string } }) {
    const make = { bash, zsh, fish }[choiceOf("SHELL", shell, SHELLS)];
    return printLine(make(wordsOf(commands())));
  },
});
