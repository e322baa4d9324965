/**
 * Runs every npm script: `node tools/run/run.mjs <task> [args…]`. A fresh clone needs no other step before. It installs
 * packages, fetches Node 24 if the task needs a newer Node than the one here, compiles the kernel, finds Chromium, and
 * then runs the task. Until the packages are there it imports only Node's own modules.
 */
import { existsSync } from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { node } from "./child.mjs";
import { commandLine } from "./command-line.mjs";
import { BUILT } from "../package/package-files.mjs";
import { SetupError, ensureChromium, ensurePackages, findNode24, root, runsVite, runsVitest } from "./setup.mjs";

/** Tools that are started must not report home, look for updates or fetch browsers. */
const QUIET = {
  DO_NOT_TRACK: "1",
  NO_UPDATE_NOTIFIER: "1",
  PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD: "1",
  WRANGLER_SEND_METRICS: "false",
  CLOUDFLARE_CF_FETCH_ENABLED: "false",
};

const tool = (name) => path.join(root, "tools", name);
const runTool = async (name, args) => (await import(pathToFileURL(tool(name)).href)).main(args);

/** Runs a TypeScript program of this repository. If the file does not exist it prints one line that says so. */
function program(file) {
  return (args) => {
    if (existsSync(path.join(root, file))) return node([tool("run/run-ts.mjs"), file, ...args]);
    console.error(`This part does not exist yet: ${file}`);
    return 1;
  };
}

/** A task without options. */
const plain = (script, about, run) => (args) => {
  commandLine({ script, about }, args);
  return run();
};
/**
 * One TypeScript program for each host, so that no source uses what its host lacks. The last one has tests and tools.
 */
const PROGRAMS = ["src", "src/browser", "worker", "."];
async function typecheck() {
  let failed = 0;
  for (const program of PROGRAMS) {
    const tsc = path.join(root, "node_modules", "typescript", "bin", "tsc");
    if ((await node([tsc, "-p", path.join(program, "tsconfig.json")])) !== 0) failed = 1;
  }
  return failed;
}

const TASKS = {
  start: { kernel: true, run: (args) => runTool("run/playground.mjs", args) },
  build: {
    kernel: true,
    run: plain("build", "Builds the library in dist/.", () =>
      process.env[BUILT] === "1" ? 0 : runTool("package/build.mjs", []),
    ),
  },
  format: { run: (args) => runTool("run/format.mjs", args) },
  typecheck: { run: plain("typecheck", "Checks the types of all sources and tests.", typecheck) },
  test: { node24: true, run: (args) => runTool("run/suites.mjs", args) },
  bench: {
    kernel: true,
    node24: true,
    chromium: true,
    run: async (args) => (await import(pathToFileURL(path.join(root, "test", "bench", "run.mjs")).href)).main(args),
  },
  // The log over faulty storage; with --tabs many tabs in one browser, with --sync devices and an edge, with
  // --edge the whole edge, with --api the public API.
  sim: {
    kernel: true,
    node24: true,
    run: (args) => {
      const kind = ["tabs", "sync", "edge", "api"].find((each) => args.includes(`--${each}`));
      const rest = args.filter((arg) => arg !== `--${kind}`);
      return program(kind ? `test/simulation/${kind}/run.ts` : "test/simulation/run.ts")(rest);
    },
  },
  crash: { kernel: true, node24: true, chromium: true, run: program("test/crash/run.ts") },
  tabs: { kernel: true, node24: true, chromium: true, run: program("test/tabs/run.ts") },
  sync: { kernel: true, node24: true, chromium: true, run: program("test/sync/run.ts") },
  power: { kernel: true, node24: true, chromium: true, run: program("test/power/run.ts") },
  fuzz: { kernel: true, node24: true, run: program("test/fuzz/run.ts") },
  rot: { kernel: true, node24: true, run: program("test/rot/run.ts") },
  // The store; with --sync the rules of sync.
  worlds: {
    kernel: true,
    node24: true,
    run: (args) =>
      program(args.includes("--sync") ? "test/worlds/sync/run.ts" : "test/worlds/run.ts")(
        args.filter((arg) => arg !== "--sync"),
      ),
  },
  conformance: { kernel: true, node24: true, run: program("test/conformance/run.ts") },
  reference: { run: (args) => runTool("reference/run.mjs", args) },
  size: { kernel: true, chromium: true, run: (args) => runTool("package/size.mjs", args) },
};

async function main([name, ...args]) {
  const task = TASKS[name];
  if (task === undefined) {
    console.error(`usage: node tools/run/run.mjs ${Object.keys(TASKS).join("|")} [args…]`);
    return 2;
  }
  Object.assign(process.env, QUIET);
  if (!(task.node24 ? runsVitest() : runsVite())) {
    const binary = findNode24();
    process.env.PATH = path.dirname(binary) + path.delimiter + process.env.PATH;
    return node([tool("run/run.mjs"), name, ...args], { binary });
  }
  ensurePackages();
  // `--help` needs neither a browser nor a build.
  if (args.includes("--help")) return task.run(args);
  if (task.chromium) process.env.CHROMIUM_PATH = ensureChromium();
  if (task.kernel) {
    const code = await node([tool("package/build-kernel.mjs"), "--quiet"]);
    if (code !== 0) return code;
  }
  return task.run(args);
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof SetupError)) throw error;
  console.error(error.message);
  process.exitCode = 1;
}
