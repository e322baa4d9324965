/**
 * The names of code that a document mentions. The structure test compares them with the sources, so that no document
 * mentions a name that was changed or removed.
 *
 *   in backticks                   `makeLeavingPlan`, `store.append()`, `LEASE_MS`   the word occurs in a source
 *   in backticks and in drawings   `joiner.ts`, log-object/sockets.ts                a file's path ends with it
 *
 * Only words that look like our names count: with a capital letter inside, or in capitals with an underscore.
 *
 * A specification mentions names that do not exist yet. It lists them in a fenced block called `planned`. Once a source
 * has such a name, it must leave that list.
 */

/** Names of other people's code and protocols: they occur in documents but in none of our sources. */
const FOREIGN = new Set([
  // TypeScript and Cloudflare.
  ..."NodeNext blockConcurrencyWhile".split(" "),
  // Answers of a Kafka broker.
  ..."INVALID_RECORD INVALID_TIMESTAMP MESSAGE_TOO_LARGE".split(" "),
]);

export interface DocName {
  readonly line: number;
  readonly name: string;
}

const EXPRESSION = /^#?[A-Za-z_$][\w$]*(\.[\w$]+)*(\(.*\))?$/;
const WORD = /[A-Za-z_$][\w$]*/g;
const LIKE_OURS = /[a-z][A-Z]|[A-Z][A-Z0-9]*_[A-Z0-9]/;
const FILE = /(?<![\w/.-])[\w-][\w/.-]*\.(?:ts|mjs)\b/g;

/** Code names in backticks, and names of source files in backticks and drawings. */
export function namesOf(markdown: string): { readonly words: DocName[]; readonly files: DocName[] } {
  const words: DocName[] = [];
  const files: DocName[] = [];
  let fenced = false;
  markdown.split("\n").forEach((text, i) => {
    const line = i + 1;
    if (/^\s*```/.test(text)) {
      fenced = !fenced;
      return;
    }
    const codes = fenced ? [text] : [...text.matchAll(/`([^`]+)`/g)].map(([, code = ""]) => code);
    for (const code of codes) {
      for (const [name] of code.matchAll(FILE)) files.push({ line, name });
      if (fenced || !EXPRESSION.test(code)) continue;
      for (const [name] of code.matchAll(WORD))
        if (LIKE_OURS.test(name) && !FOREIGN.has(name)) words.push({ line, name });
    }
  });
  return { words, files };
}

/** Names that the document lists as planned. */
export function plannedOf(markdown: string): string[] {
  const blocks = [...markdown.matchAll(/^```planned\n([\s\S]*?)^```/gm)];
  return blocks.flatMap(([, names = ""]) => names.split(/\s+/).filter((name) => name !== ""));
}

/** All words of a source outside its comments. Comments don't count: they may mention names that no longer exist. */
export function wordsOf(source: string): string[] {
  return source.replace(/\/\*[\s\S]*?\*\/|(?<!:)\/\/.*$/gm, "").match(WORD) ?? [];
}
