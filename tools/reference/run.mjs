/**
 * `npm run reference` writes the API reference of every public entry to dist/reference, from the docstrings of the
 * sources: Markdown, a file for an entry, which the package brings. typedoc reads TypeScript 6, so both are installed
 * beside this file, from a lock file of their own. A type that a public signature names, and no entry exports, is an
 * error: a reader could not look it up.
 *
 * It takes a while, and a build removes dist/. So what was made is kept in .cache/reference, with a digest of what it
 * was made of.
 */
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { cp, mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { node } from "../run/child.mjs";
import { commandLine } from "../run/command-line.mjs";
import { ensurePackages, root } from "../run/setup.mjs";
import { keepNamedAnchors, PREFIX } from "./anchors.mjs";
import { ENTRIES } from "./entries.mjs";

const here = path.join(root, "tools", "reference");
const kept = path.join(root, ".cache", "reference");
const made = path.join(root, "dist", "reference");
/** Between the objects of one Worker, and inside the log: no application calls these. */
const INTERNAL = [
  ...[
    "Answer",
    "AppendCall",
    "Background",
    "ForkAnswer",
    "Peer",
    "SigningKey",
    "SourceAnswer",
    "SourceRange",
    "StreamPeer",
  ],
  ...["StreamTold", "SubscriptionPeer", "Beginning", "CatalogChange", "LogEntry", "LogReads", "Mark", "Pending"],
  ...[
    "Segment",
    "SegmentReader",
    "StoreContext",
    "KIND_OF",
    "RollingLog",
    "ReadRecord",
    "Header",
    "ChangesPlace",
    "Acked",
  ],
  ...["IndexState", "Result", "Made", "Sent", "StoredSettings", "StreamJudge", "KeyInput", "HeaderPair", "HeaderBytes"],
  ...["Key", "AnyBatch", "FollowedRecord", "AnySchema", "ImportOptions", "OnSeal"],
];
/** The digest of every file that the reference is made of. */
async function digest() {
  const hash = createHash("sha256");
  for (const folder of ["src", "worker", "tools/reference", "tools/package"]) {
    const names = await readdir(path.join(root, folder), { recursive: true });
    for (const name of names.filter((each) => /\.(ts|mjs|json)$/.test(each) && !each.includes("node_modules")).sort())
      hash.update(name).update(await readFile(path.join(root, folder, name)));
  }
  return hash.digest("hex");
}

/** Runs typedoc. */
const make = (folder) =>
  node([
    path.join(here, "node_modules", "typedoc", "bin", "typedoc"),
    ...["--tsconfig", path.join(here, "tsconfig.json"), "--plugin", "typedoc-plugin-markdown"],
    ...["--plugin", path.join(here, "entry-names.mjs"), "--router", "module", "--entryFileName", "README"],
    ...["--out", folder, "--readme", "none", "--hideBreadcrumbs", "--hidePageHeader"],
    ...["--useHTMLAnchors", "--anchorPrefix", PREFIX],
    ...["--name", "Tidemark", "--disableSources", "--treatWarningsAsErrors", "--skipErrorChecking"],
    ...INTERNAL.flatMap((name) => ["--intentionallyNotExported", name]),
    ...Object.values(ENTRIES).map((entry) => path.join(root, entry)),
  ]);

export async function main(args) {
  const about = "Writes the API reference of every public entry to dist/reference, from the docstrings.";
  commandLine({ script: "reference", about }, args);
  ensurePackages(here);
  const [stamp, now] = [path.join(kept, "digest"), await digest()];
  if (!existsSync(stamp) || (await readFile(stamp, "utf8")) !== now) {
    await rm(kept, { recursive: true, force: true });
    const code = await make(path.join(kept, "pages"));
    if (code !== 0) return code;
    await keepNamedAnchors(path.join(kept, "pages"));
    await writeFile(stamp, now);
  }
  // Whole or not at all: something else may pack dist/ meanwhile.
  const [copy, old] = [`${made}.new`, `${made}.old`];
  await mkdir(path.dirname(made), { recursive: true });
  for (const each of [copy, old]) await rm(each, { recursive: true, force: true });
  await cp(path.join(kept, "pages"), copy, { recursive: true });
  if (existsSync(made)) await rename(made, old);
  await rename(copy, made);
  await rm(old, { recursive: true, force: true });
  return 0;
}
