/**
 * `npm test` runs every suite, even if one fails, and prints each result. The last line is `N passed, N failed`: it
 * counts the tests of the Vitest suites, and every other step as one. A suite in which no test ran counts as failed,
 * and so does one that was cut short. Lines above it name what was skipped, and what is needed to run it, and each test
 * that failed with the first lines of its error.
 *
 * Suites that start servers or browsers wait for much, and a part of the processor stays free. `edge` and, after it,
 * `browser` run beside `http`; `pages` and `package` judge times, so they run behind those, one after the other. Suites
 * of plain Node use what is left of the processor, and so do `size` and `bench`, which measure no time here. They run
 * aside, at the lowest priority: `unit`, which takes longest, beside the others. What runs aside or beside another
 * suite prints at the end. The package is built once, before them all.
 *
 *     npm test -- unit browser      only these steps
 *     npm test -- --seeds 20000     a larger share of the simulation
 */
import { existsSync } from "node:fs";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { node } from "./child.mjs";
import { commandLine, integer } from "./command-line.mjs";
import { ensureEngines } from "./engines.mjs";
import { afterAgain, failedFiles, sum, tally } from "./report.mjs";
import { BUILT, usePackageFiles } from "../package/package-files.mjs";
import { SetupError, ensureChromium, root } from "./setup.mjs";

const tool = (name) => path.join(root, "tools", name);
const results = path.join(root, ".cache", "results");
/** What Node has compiled of a program, for its next start: tests start some programs hundreds of times. */
const compiled = path.join(root, ".cache", "compiled");
const run = (name, args = [], how = {}) => node([tool("run/run.mjs"), name, ...args], { ...how, limitMs: LIMIT_MS });
const one = (code) => (code === 0 ? { passed: 1, failed: 0 } : { passed: 0, failed: 1 });

/**
 * Suites of real browsers, servers and processes. What the machine does at the moment is a part of their input: files
 * of theirs that fail are run once more, and what passes then is named (docs/decisions/0017).
 */
const AGAIN = new Set(["http", "browser", "pages", "package"]);
/** More than these failing at once is no accident. */
const AGAIN_FILES_MAX = 3;

/** The longest step takes two thirds of it. One that hangs fails then, and the others are heard of. */
const LIMIT_MS = 30 * 60_000;

/** Tests of the browser that see the public API only: they also run over the built files. */
const OVER_DIST = ["test/browser/segments.test.ts", "test/browser/typed.test.ts"];

/** Suites that are more than one project of Vitest. */
const PROJECTS = { unit: "unit*", pages: "pages*", package: "package*" };

/** `only`: these files of the project. */
async function vitest(project, how = {}, only = []) {
  const run = async (name, files) => {
    const file = path.join(results, `${name}.json`);
    const errors = path.join(results, `${name}-outside.json`);
    for (const old of [file, errors]) await rm(old, { force: true });
    const bin = path.join(root, "node_modules", "vitest", "vitest.mjs");
    const reporters = ["default", "json", tool("run/outside-errors.mjs")].map((each) => `--reporter=${each}`);
    const env = { ...(how.env ?? process.env), TIDEMARK_OUTSIDE_ERRORS: errors };
    const args = [
      bin,
      "run",
      "--project",
      PROJECTS[project] ?? project,
      ...reporters,
      `--outputFile.json=${file}`,
      ...files,
    ];
    const code = await node(args, { ...how, env, limitMs: LIMIT_MS });
    const read = async (from) => (existsSync(from) ? JSON.parse(await readFile(from, "utf8")) : undefined);
    const [report, outside] = [await read(file), await read(errors)];
    return { report, outside, ...tally(report, code, outside) };
  };
  const { report, outside, ...first } = await run(project, only);
  // An error outside of every test names no file that could be run again.
  const files = outside?.length === 0 && AGAIN.has(project) ? failedFiles(report).map(({ name }) => name) : [];
  if (files.length === 0 || files.length > AGAIN_FILES_MAX) return first;
  console.log(`\n── ${project}, what failed again ──`);
  return afterAgain(report, await run(`${project}-again`, files));
}

/**
 * Runs a suite that uses other browsers as well. Tests of a browser that is missing and can't be installed are skipped.
 */
async function withEngines(suite) {
  process.env.CHROMIUM_PATH = ensureChromium();
  ensureEngines();
  return suite();
}

/** Runs the suite of many tabs and kills over the package's built files. */
async function overPackage(suite) {
  await usePackageFiles();
  return suite().finally(() => delete process.env.TIDEMARK_DIST);
}

const quick = async (target, how, only = []) => one(await run("bench", ["--target", target, "--quick", ...only], how));
/** The benchmarks of sync start a dozen browsers, which takes too long: these workloads show that all parts run. */
const QUICK_SYNC = ["--only", "sync.push,sync.join,sync.reconnect"];

/**
 * Chromium for a step that may run beside another: it sets no variable of this process. Without Chromium the step fails
 * and says what to do.
 */
const chromiumFor = (how = {}) => ({ ...how, env: { ...(how.env ?? process.env), CHROMIUM_PATH: ensureChromium() } });

async function browser(_, how) {
  const own = chromiumFor(how);
  const sources = await vitest("browser", own);
  if ((await run("build", [], own)) !== 0) throw new SetupError("The package could not be built.");
  return sum([sources, await vitest("browser", { ...own, env: { ...own.env, TIDEMARK_DIST: "1" } }, OVER_DIST)]);
}

/** The suite `unit` runs the first histories of the simulation (test/simulation/simulation.test.ts), `sim` the next. */
const IN_UNIT = 1000;

/** Steps that may run aside. `how` is what child.mjs takes. */
const ASIDE = {
  // The first: `package` packs what it makes, and would else make the same at the same time.
  reference: async (_, how) => one(await run("reference", [], how)),
  format: async (_, how) => one(await run("format", ["--check"], how)),
  typecheck: async (_, how) => one(await run("typecheck", [], how)),
  unit: (_, how) => vitest("unit", how),
  sim: async ({ seeds }, how) => one(await run("sim", ["--seed", `${IN_UNIT + 1}`, "--seeds", `${seeds}`], how)),
  size: async (_, how) => one(await run("size", [], chromiumFor(how))),
  // Runs all once with tiny sizes, to see that they work. Their peers are installed from a lock file of their own.
  bench: async (_, how) =>
    sum([
      await quick("browser", chromiumFor(how)),
      await quick("edge", chromiumFor(how)),
      await quick("sync", chromiumFor(how), QUICK_SYNC),
    ]),
};
const STEPS = {
  kernel: async () => one(await node([tool("package/build-kernel.mjs")])),
  build: async () => {
    const code = await run("build");
    if (code === 0) process.env[BUILT] = "1";
    return one(code);
  },
  ...ASIDE,
  edge: (_, how) => vitest("edge", how),
  http: () => vitest("http"),
  browser,
  pages: () => withEngines(() => overPackage(() => vitest("pages"))),
  package: () => withEngines(() => vitest("package")),
};
const FIRST = ["kernel", "build"];
/** They run beside `http`, in this order. */
const BESIDE = ["edge", "browser"];
/** The step aside that takes as long as all others there. */
const LONGEST = "unit";

async function step(name, options, how) {
  if (!how) console.log(`\n── ${name} ──`);
  const started = performance.now();
  let result;
  try {
    result = await STEPS[name](options, how);
  } catch (error) {
    result = {
      passed: 0,
      failed: 1,
      note: error instanceof SetupError ? error.message : String(error?.stack ?? error),
    };
  }
  return { name, seconds: (performance.now() - started) / 1000, note: "", ...result };
}

async function inOrder(names, options) {
  const done = [];
  for (const name of names) done.push(await step(name, options));
  return done;
}

/** Each step writes into a file. Steps that run meanwhile set variables of the environment for themselves only. */
async function runKept(names, options, isAside) {
  const env = { ...process.env };
  const done = [];
  for (const name of names) {
    const file = path.join(results, `${name}.txt`);
    await writeFile(file, "");
    done.push({ ...(await step(name, options, { file, isAside, env })), file });
  }
  return done;
}

/**
 * The steps that run at the same time. `aside`: lanes of those of plain Node, where another step runs meanwhile.
 * `beside`: what runs beside `together`: `edge`, which needs its share of the processor, because its tests measure
 * lives of streams, and then `browser`. `main` comes when both are through.
 */
export function lanes(names) {
  const others = names.filter((name) => !FIRST.includes(name) && !(name in ASIDE));
  if (others.length === 0) return { first: names, together: [], beside: [], main: [], aside: [] };
  const together = others.filter((name) => name === "http");
  const beside = together.length > 0 ? others.filter((name) => BESIDE.includes(name)) : [];
  const aside = names.filter((name) => name in ASIDE);
  return {
    first: names.filter((name) => FIRST.includes(name)),
    together,
    beside,
    main: others.filter((name) => !together.includes(name) && !beside.includes(name)),
    aside: [aside.filter((name) => name === LONGEST), aside.filter((name) => name !== LONGEST)].filter(
      (lane) => lane.length > 0,
    ),
  };
}

async function runAll(names, options) {
  await mkdir(results, { recursive: true });
  // It would grow with each run.
  await rm(compiled, { recursive: true, force: true });
  process.env.NODE_COMPILE_CACHE ??= compiled;
  const { first, together, beside, main, aside } = lanes(names);
  const begun = await inOrder(first, options);
  const kept = [...aside.flat(), ...beside];
  if (kept.length > 0) console.log(`\n${kept.join(", ")} run meanwhile; what they print comes at the end`);
  const shown = async () => {
    const [servers, second] = await Promise.all([inOrder(together, options), runKept(beside, options, false)]);
    return [second, [...servers, ...(await inOrder(main, options))]];
  };
  const [[second, ours], ...quiet] = await Promise.all([shown(), ...aside.map((lane) => runKept(lane, options, true))]);
  for (const { name, file } of [...quiet.flat(), ...second])
    console.log(`\n── ${name} ──\n${await readFile(file, "utf8")}`);
  return [...begun, ...quiet.flat(), ...second, ...ours];
}

export async function main(args) {
  const values = commandLine(
    {
      script: "test",
      about: "Runs every suite; the last line says how many tests passed and failed.",
      options: { seeds: integer({ default: 1000, help: "histories of the simulation, beside those of `unit`" }) },
      positionals: { sample: "STEP", help: "only these steps", words: Object.keys(STEPS) },
    },
    args,
  );
  const done = await runAll(values.names.length > 0 ? values.names : Object.keys(STEPS), values);
  console.log("");
  for (const { name, seconds, passed, failed, note } of done) {
    console.log(
      `${failed === 0 ? "ok  " : "FAIL"} ${name.padEnd(10)}${String(passed).padStart(6)} ` +
        `passed${String(failed).padStart(5)} failed${seconds.toFixed(1).padStart(8)} s  ${note}`,
    );
  }
  for (const { skipped = [] } of done) for (const line of skipped) console.log(line);
  for (const { failures = [] } of done) for (const line of failures) console.log(line);
  const passed = done.reduce((sum, result) => sum + result.passed, 0);
  const failed = done.reduce((sum, result) => sum + result.failed, 0);
  console.log(`${passed} passed, ${failed} failed`);
  return failed === 0 && passed > 0 ? 0 : 1;
}
