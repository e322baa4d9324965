/**
 * One name has one meaning: finds names that two files of one program export, for the structure test. A name that a
 * file re-exports does not count.
 */
import { parse } from "./tidy.ts";

/** The names that a file exports and declares itself. */
function ownExports(source: string, file: string): string[] {
  const body = parse(source, file)["body"] as Record<string, unknown>[];
  return body.flatMap(({ type, declaration }) => {
    if (type !== "ExportNamedDeclaration" || !declaration) return [];
    const { id, declarations = [] } = declaration as {
      id?: { name: string };
      declarations?: { id: { name?: string } }[];
    };
    return [id, ...declarations.map((each) => each.id)].flatMap((each) => each?.name ?? []);
  });
}

/** "name: file, file" for each name that more than one of the files exports. */
export function doubledNames(files: ReadonlyMap<string, string>): string[] {
  const places = new Map<string, Set<string>>();
  for (const [file, source] of files) {
    for (const name of ownExports(source, file)) places.set(name, (places.get(name) ?? new Set()).add(file));
  }
  return [...places].filter(([, where]) => where.size > 1).map(([name, where]) => `${name}: ${[...where].join(", ")}`);
}
