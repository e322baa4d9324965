/**
 * Code blocks of the documents, as programs of this repository: names of the package become paths of the sources that
 * they stand for.
 */
import { readFileSync } from "node:fs";
import path from "node:path";
// @ts-expect-error plain JavaScript, because it also runs before any package is installed
import { SIDE_ENTRIES } from "../../tools/package/side-entries.mjs";

const root = path.join(import.meta.dirname, "../..");

export interface DocBlock {
  /** The heading that it stands under. */
  readonly heading: string;
  /** The line of the document at which the code begins. */
  readonly line: number;
  /** "ts", "jsx", "vue", "svelte" … */
  readonly language: string;
  readonly code: string;
  /** The next block of plain text under the same heading: what the program prints. */
  readonly prints: string | undefined;
}

/** Blocks of a document in these languages, in their order. */
export function blocksOf(markdown: string, languages: readonly string[] = ["ts"]): DocBlock[] {
  const found: (Omit<DocBlock, "prints"> & { prints: string | undefined })[] = [];
  let heading = "";
  let open: { language: string; line: number; lines: string[] } | undefined;
  for (const [i, line] of markdown.split("\n").entries()) {
    const fence = /^```(\w*)/.exec(line);
    if (fence && !open) open = { language: fence[1]!, line: i + 2, lines: [] };
    else if (fence && open) {
      const code = open.lines.join("\n");
      const last = found.at(-1);
      const { language, line: begins } = open;
      if (languages.includes(language)) found.push({ heading, line: begins, language, code, prints: undefined });
      if (language === "text" && last?.heading === heading) last.prints ??= code;
      open = undefined;
    } else if (open) open.lines.push(line);
    else heading = /^#+ (.*)/.exec(line)?.[1] ?? heading;
  }
  return found;
}

const MAIN = { "": "src/index.ts", "/browser": "src/browser/index.ts", "/worker": "worker/library.ts" };

/** The source of each entry, by the name that an application imports. */
export const ENTRY_SOURCES: Readonly<Record<string, string>> = Object.fromEntries([
  ...Object.entries(MAIN).map(([name, source]) => [`tidemark${name}`, path.join(root, source)]),
  ...Object.entries(SIDE_ENTRIES as Record<string, { source: string }>).map(([name, { source }]) => [
    `tidemark/${name}`,
    path.join(root, source),
  ]),
]);

/** The code with each import of the package replaced by the source's path, or by another file's. */
export const overSources = (code: string, instead: Readonly<Record<string, string>> = {}): string =>
  code.replace(/(?<=from |import\()"(tidemark[\w/.-]*)"/g, (whole, name: string) => {
    const file = instead[name] ?? ENTRY_SOURCES[name];
    return file === undefined ? whole : JSON.stringify(file);
  });

export const readDoc = (file: string): string => readFileSync(path.join(root, file), "utf8");
