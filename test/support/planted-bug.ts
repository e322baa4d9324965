/**
 * A planted bug: one piece of a product's source file, replaced while a bundle is made. The product has no hooks for
 * it; a piece that no longer stands there exactly once is an error, so lists of bugs keep up with the code.
 */
import path from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../", import.meta.url));

export interface PlantedBug {
  readonly name: string;
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

const CLOSING = /^[)\]}]$/;

/**
 * The piece, however the formatter breaks it into lines: blanks between two words may be any, elsewhere there may be
 * none or some, and a comma may stand before a closing bracket.
 */
export function pieceOf(find: string): RegExp {
  const tokens = find.match(/\w+|[^\w\s]/g) ?? [];
  const escaped = tokens.map((token) => token.replace(/[^\w]/g, "\\$&"));
  const isWord = (token = ""): boolean => /^\w+$/.test(token);
  const gap = (before: string, token: string): string => {
    if (isWord(before) && isWord(token)) return "\\s+";
    return CLOSING.test(token) && before !== "," ? "\\s*,?\\s*" : "\\s*";
  };
  return new RegExp(
    escaped.map((token, at) => (at === 0 ? token : gap(tokens[at - 1]!, tokens[at]!) + token)).join(""),
    "g",
  );
}

/** A bundler's plugin. `check` throws unless the piece was there, once. */
export function plantedBug({ name, file, find, replace }: PlantedBug) {
  let found = 0;
  return {
    name: "planted-bug",
    transform(code: string, id: string) {
      if (path.relative(root, id).replaceAll("\\", "/") !== file) return null;
      const piece = pieceOf(find);
      found = [...code.matchAll(piece)].length;
      return { code: code.replace(piece, () => replace), map: null };
    },
    check(): void {
      if (found !== 1) throw new Error(`"${name}": its source stands ${found} times in ${file}`);
    },
  };
}
