/**
 * `npm run bench` measures Tidemark and its peers in one real Chromium with a profile on disk, in one run. Ours and a
 * peer take turns and each round gives a ratio, so that a machine whose speed drifts does not change the ratios. The
 * page runs the package's built files (browser.mjs).
 *
 *     npm run bench -- --json FILE     also as JSON: { ratios, figures, targets, environment }
 *     npm run bench -- --quick         tiny sizes: shows that everything runs; its figures mean nothing
 *     npm run bench -- --only append   workloads whose names begin with "append"
 *     npm run bench -- --target edge   the edge instead: test/bench/edge/run.ts
 *     npm run bench -- --only sync     devices in sync with an edge: test/bench/sync/run.ts
 */
import path from "node:path";
import { node } from "../../tools/run/child.mjs";
import { choice, commandLine, flag, jsonFile, text, UsageError } from "../../tools/run/command-line.mjs";
import { ensurePackages, root } from "../../tools/run/setup.mjs";
import { usePackageFiles } from "../../tools/package/package-files.mjs";

/** Workloads of the browser, in the order in which they run. */
const NAMES = ["tabs", "append", "replay", "crc", "views", "bindings", "seek", "seek_shared", "topics", "compaction"];
const PEERS = path.join(root, "test/bench/peers");

export async function main(args) {
  const values = commandLine(
    {
      script: "bench",
      about: "Measures Tidemark beside its peers, in turns, in one run.",
      options: {
        target: choice(["browser", "edge", "sync"], { default: "browser", help: "which host, or both in sync" }),
        only: text({ sample: "NAME", help: "only workloads whose names begin with NAME" }),
        before: text({ sample: "DIR", help: "edge: also measure the worker of the checkout in DIR" }),
        quick: flag({ help: "tiny sizes: show that everything runs; the figures mean nothing" }),
        json: jsonFile(),
      },
      check({ target, only }) {
        if (target !== "browser" || only === undefined || only.startsWith("sync")) return;
        if (NAMES.some((name) => name.startsWith(only))) return;
        throw new UsageError(`--only «${only}»: no workload's name begins so; they are ${NAMES.join(", ")}`);
      },
    },
    args,
  );
  ensurePackages(PEERS);
  if (values.target === "sync" || values.only?.startsWith("sync")) {
    if (process.env.TIDEMARK_DIST === undefined) await usePackageFiles();
    return node([path.join(root, "tools/run/run-ts.mjs"), "test/bench/sync/run.ts", ...args]);
  }
  if (values.target === "edge")
    return node([path.join(root, "tools/run/run-ts.mjs"), "test/bench/edge/run.ts", ...args]);
  // Figures are those of the files that users get.
  if (process.env.TIDEMARK_DIST !== "built") await usePackageFiles();
  const names = NAMES.filter((name) => values.only === undefined || name.startsWith(values.only));
  // Loaded late: it brings Vite and three frameworks along, and a wrong option is told at once.
  const { measure } = await import("./browser.mjs");
  return measure(names, values);
}

if (process.argv[1] === import.meta.filename) process.exit(await main(process.argv.slice(2)));
