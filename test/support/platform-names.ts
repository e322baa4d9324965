/**
 * Which names of the platform a source uses, and since when each browser has them by MDN's compatibility data. A name
 * alone does not say which object it belongs to, so a member counts from the first object that ever had one of that
 * name. So what this reports as too new is too new for certain; names that it can't tell apart are in a list of the
 * test.
 */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { parseAst } from "rolldown/parseAst";

/** Read, not imported: a bundler would make a module of its 18 MB. */
const bcd: unknown = JSON.parse(
  readFileSync(createRequire(import.meta.url).resolve("@mdn/browser-compat-data"), "utf8"),
);

export const BROWSERS = { chromium: "chrome", firefox: "firefox", safari: "safari" } as const;
export type Browser = keyof typeof BROWSERS;
export type Versions = Readonly<Record<Browser, number>>;

interface Support {
  readonly version_added?: string | false | null;
  readonly flags?: unknown;
  readonly prefix?: string;
}
interface Feature {
  readonly __compat?: { readonly support: Readonly<Record<string, Support | readonly Support[]>> };
  readonly [name: string]: unknown;
}

/** The first version that has it without a flag or a prefix; Infinity if there is none. */
function since(feature: Feature, browser: Browser): number {
  const all = [feature.__compat!.support[BROWSERS[browser]] ?? []].flat() as Support[];
  const versions = all.filter(
    ({ version_added: added, flags, prefix }) => typeof added === "string" && !flags && !prefix,
  );
  return Math.min(
    Infinity,
    ...versions
      .map(({ version_added: added }) => parseFloat((added as string).replace("≤", "")))
      .filter(Number.isFinite),
  );
}

const versionsOf = (feature: Feature): Versions => ({
  chromium: since(feature, "chromium"),
  firefox: since(feature, "firefox"),
  safari: since(feature, "safari"),
});

/** The versions for a path of MDN's data, as "api.IDBFactory.databases". */
export function feature(path: string): Versions {
  let found = bcd as Feature;
  for (const name of path.split(".")) {
    found = found?.[name] as Feature;
    if (found === undefined) throw new Error(`MDN's compatibility data has no ${path}`);
  }
  return versionsOf(found);
}

/** Globals by name, and members of all objects by name. */
function tables(): { readonly globals: Map<string, Versions>; readonly members: Map<string, Versions> } {
  const globals = new Map<string, Versions>();
  const members = new Map<string, Versions>();
  const earliest = (a: Versions | undefined, b: Versions): Versions =>
    a
      ? {
          chromium: Math.min(a.chromium, b.chromium),
          firefox: Math.min(a.firefox, b.firefox),
          safari: Math.min(a.safari, b.safari),
        }
      : b;
  const { api, javascript } = bcd as { readonly api: Feature; readonly javascript: { readonly builtins: Feature } };
  for (const objects of [api, javascript.builtins]) {
    for (const [name, object] of Object.entries(objects) as [string, Feature][]) {
      if (object.__compat) globals.set(name, versionsOf(object));
      for (const [member, inner] of Object.entries(object) as [string, Feature][]) {
        const plain = member.replace(/_(static|event)$/, "");
        if (member !== "__compat" && inner.__compat)
          members.set(plain, earliest(members.get(plain), versionsOf(inner)));
      }
    }
  }
  return { globals, members };
}
export const { globals, members } = tables();

/** Names of fields and methods that a source declares itself, in classes, interfaces and object literals. */
export function ownNames(source: string, file: string): Set<string> {
  const found = new Set<string>();
  const visit = (node: unknown): void => {
    if (Array.isArray(node)) return node.forEach(visit);
    if (node === null || typeof node !== "object") return;
    const { type, ...rest } = node as Record<string, unknown>;
    const isDeclared = /^(MethodDefinition|PropertyDefinition|TSPropertySignature|TSMethodSignature|Property)$/.test(
      String(type),
    );
    const { type: kind, name } = (isDeclared ? rest["key"] : {}) as { type?: string; name?: string };
    if (kind === "Identifier") found.add(name!);
    if (type === "TSParameterProperty") visitName(rest["parameter"]);
    Object.values(rest).forEach(visit);
  };
  const visitName = (parameter: unknown): void => {
    const { name } = Object(parameter) as { name?: string };
    if (name !== undefined) found.add(name);
  };
  visit(parseAst(source, { lang: "ts" }, file));
  return found;
}

/** Every global that is called or constructed, and every member that is read from an object other than `this`. */
export function platformNames(
  source: string,
  file: string,
): { readonly globals: Set<string>; readonly members: Set<string> } {
  const found = { globals: new Set<string>(), members: new Set<string>() };
  const visit = (node: unknown): void => {
    if (Array.isArray(node)) return node.forEach(visit);
    if (node === null || typeof node !== "object") return;
    const { type, ...rest } = node as Record<string, unknown>;
    if (
      type === "ImportDeclaration" ||
      (typeof type === "string" && type.startsWith("TS") && !/Expression$/.test(type))
    )
      return;
    if (type === "NewExpression" || type === "CallExpression") {
      const { type: kind, name } = rest["callee"] as { type: string; name?: string };
      if (kind === "Identifier") found.globals.add(name!);
    }
    if (type === "MemberExpression" && rest["computed"] === false) {
      const { object, property } = rest as {
        object: { type: string; name?: string };
        property: { type: string; name: string };
      };
      if (property.type === "Identifier" && object.type !== "ThisExpression") found.members.add(property.name);
      if (object.type === "Identifier") found.globals.add(object.name!);
    }
    Object.values(rest).forEach(visit);
  };
  visit(parseAst(source, { lang: "ts" }, file));
  return found;
}
