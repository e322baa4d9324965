/** A plugin of typedoc: a module has the name by which an app imports it, not its file's. */
import path from "node:path";
import { Converter } from "typedoc";
import { root } from "../run/setup.mjs";
import { ENTRIES } from "./entries.mjs";

export function load(app) {
  app.converter.on(Converter.EVENT_RESOLVE_BEGIN, ({ project }) => {
    for (const module of project.children ?? []) {
      const file = project.getSymbolIdFromReflection(module)?.fileName;
      const [name] = Object.entries(ENTRIES).find(([, source]) => path.join(root, source) === file) ?? [];
      if (name === undefined) throw new Error(`${module.name} (${file}) is no entry`);
      module.name = name;
    }
  });
}
