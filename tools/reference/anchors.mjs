/**
 * The places of pages that other pages name. typedoc's plugin writes a link by a number that it has counted itself; a
 * reader of Markdown counts headings otherwise, and many links would lead to another heading or to none. So the plugin
 * writes an `<a id>` before each heading, and those that no link names are taken out again.
 */
import { readdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";

/** Readers of Markdown make an id of each heading. None of those begins so. */
export const PREFIX = "api-";
const ANCHOR = /<a id="([^"]*)"><\/a>\n*/g;
const LINK = /\]\(([^)\s]+)\)/g;

/** The file and the id that a link of a page leads to; undefined for one that leaves the pages. */
function targetOf(page, link) {
  if (/^[a-z]+:/.test(link)) return undefined;
  const [file, id] = link.split("#");
  return { file: file === "" ? page : path.posix.join(path.posix.dirname(page), decodeURI(file)), id };
}

/**
 * Gives the pages, texts by their path, without the anchors that no link names. Throws where a link leads to no page,
 * or to no place of one.
 */
export function withNamedAnchors(pages) {
  const places = new Map();
  for (const [page, text] of Object.entries(pages)) places.set(page, new Set(idsIn(text)));
  const named = new Map(Object.keys(pages).map((page) => [page, new Set()]));
  const lost = [];
  for (const [page, text] of Object.entries(pages))
    for (const [, link] of text.matchAll(LINK)) {
      const target = targetOf(page, link);
      if (target === undefined) continue;
      const isThere = places.has(target.file) && (target.id === undefined || places.get(target.file).has(target.id));
      if (isThere) named.get(target.file).add(target.id);
      else lost.push(`${page}: ${link}`);
    }
  if (lost.length > 0) throw new Error(`links of the reference lead nowhere:\n${lost.join("\n")}`);
  const kept = ([page, text]) => [page, text.replace(ANCHOR, (all, id) => (named.get(page).has(id) ? all : ""))];
  return Object.fromEntries(Object.entries(pages).map(kept));
}

const idsIn = (text) => [...text.matchAll(ANCHOR)].map(([, id]) => id);

/** The same for the Markdown files of a folder. */
export async function keepNamedAnchors(folder) {
  const files = (await readdir(folder, { recursive: true })).filter((name) => name.endsWith(".md"));
  const read = async (name) => [name.replaceAll("\\", "/"), await readFile(path.join(folder, name), "utf8")];
  const pages = withNamedAnchors(Object.fromEntries(await Promise.all(files.map(read))));
  for (const [name, text] of Object.entries(pages)) await writeFile(path.join(folder, name), text);
}
