/**
 * The names of code that a document mentions. The structure test compares them with the sources, so that a document
 * names nothing that was renamed or removed.
 *
 *   in backticks                   `makeLeavingPlan`, `store.append()`, `LEASE_MS`   the word occurs in a source
 *   in backticks and in drawings   `joiner.ts`, log-object/sockets.ts                a file's path ends so
 *
 * Only words that look like ours count: with a capital inside, or in capitals with an underscore.
 *
 * A specification names code that is to come. It lists such names in a fenced block called `planned`. A name that a
 * source has meanwhile must go off that list.
 */

/** Names of other people's code and protocols: they occur in documents and in no source. */
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

/** Names that the document itself calls to come. */
export function plannedOf(markdown: string): string[] {
  const blocks = [...markdown.matchAll(/^```planned\n([\s\S]*?)^```/gm)];
  return blocks.flatMap(([, names = ""]) => names.split(/\s+/).filter((name) => name !== ""));
}

/** All words of a source outside its comments: a comment may still tell of what is gone. */
export function wordsOf(source: string): string[] {
  return source.replace(/\/\*[\s\S]*?\*\/|(?<!:)\/\/.*$/gm, "").match(WORD) ?? [];
}
