/**
 * A planted bug: one exact piece of a product's source file, replaced while a bundle is made. The product has no hooks for
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

/** A bundler's plugin. `check` throws unless the piece was there, once. */
export function plantedBug({ name, file, find, replace }: PlantedBug) {
  let found = 0;
  return {
    name: "planted-bug",
    transform(code: string, id: string) {
      if (path.relative(root, id).replaceAll("\\", "/") !== file) return null;
      found = code.split(find).length - 1;
      return { code: code.replace(find, () => replace), map: null };
    },
    check(): void {
      if (found !== 1) throw new Error(`"${name}": its source stands ${found} times in ${file}`);
    },
  };
}
