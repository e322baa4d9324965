/**
 * A planted bug: one piece of the product's source is replaced while a bundle is made, so the product needs no hooks
 * for it. If the piece does not occur exactly once, that is an error; so lists of bugs keep up with the code.
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
 * Matches the piece however the formatter breaks it into lines: between two words any white space may stand, elsewhere
 * any or none, and a comma may stand before a closing bracket.
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

/** A bundler's plugin. `check` throws unless the piece occurred exactly once. */
export function plantedBug({ name, file, find, replace }: PlantedBug) {
  let found = 0;
  return {
    name: "planted-bug",
    transform: {
      // The bundler itself passes over the other modules.
      filter: { id: new RegExp(`${path.basename(file).replaceAll(".", "\\.")}$`) },
      handler(code: string, id: string) {
        if (path.relative(root, id).replaceAll("\\", "/") !== file) return null;
        const piece = pieceOf(find);
        found = [...code.matchAll(piece)].length;
        return { code: code.replace(piece, () => replace), map: null };
      },
    },
    check(): void {
      if (found !== 1)
        throw new Error(`"${name}": its piece of source occurs ${found} times in ${file}, and must occur once`);
    },
  };
}
