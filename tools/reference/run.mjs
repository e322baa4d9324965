/**
 * `npm run reference` writes the API reference of every public entry to .cache/reference, from the docstrings of the
 * sources. typedoc reads TypeScript 6, so both are installed beside this file, from a lock file of their own. A type
 * that a public signature names, and no entry exports, is an error: a reader could not look it up.
 */
import path from "node:path";
import { node } from "../run/child.mjs";
import { commandLine } from "../run/command-line.mjs";
import { ensurePackages, root } from "../run/setup.mjs";
import { SIDE_ENTRIES } from "../package/side-entries.mjs";

const here = path.join(root, "tools", "reference");
/** Between the objects of one Worker, and inside the log: no application calls these. */
const INTERNAL = [
  ...["Answer", "AppendCall", "Background", "ForkAnswer", "Peer", "SigningKey", "SourceAnswer", "StreamPeer"],
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
const ENTRIES = ["src/browser/index.ts", "worker/library.ts", "src/index.ts"];

export async function main(args) {
  const about = "Writes the API reference of every public entry to .cache/reference, from the docstrings.";
  commandLine({ script: "reference", about }, args);
  ensurePackages(here);
  const entries = [...ENTRIES, ...Object.values(SIDE_ENTRIES).map(({ source }) => source)];
  return node([
    path.join(here, "node_modules", "typedoc", "bin", "typedoc"),
    ...["--tsconfig", path.join(here, "tsconfig.json")],
    ...["--out", path.join(root, ".cache", "reference"), "--readme", "none"],
    ...["--name", "Tidemark", "--disableSources", "--treatWarningsAsErrors", "--skipErrorChecking"],
    ...INTERNAL.flatMap((name) => ["--intentionallyNotExported", name]),
    ...entries.map((entry) => path.join(root, entry)),
  ]);
}
