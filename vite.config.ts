/**
 * One configuration for two uses of Vite.
 *
 * Playground (`vite`, `vite build`): root web/, result in .cache/playground. Mode "package" (tools/package/build.mjs):
 * without the data sets, result in dist/playground; `tidemark dev` serves it with data that it makes up.
 *
 * Tests (`vitest`), eight projects:
 *   unit     Node: units, contract suites, simulation, structure. Files of `unit-alone` have a process of their own
 *   browser  the same contract suites and more inside real Chromium. The profile lies on disk, because an incognito
 *            profile keeps OPFS in memory and its flush does nothing; one file at a time, because the profile is one.
 *            Workers are bundled, because a test starts several.
 *            TIDEMARK_DIST=1: over the package's built files (`npm run build` first), where a suite uses the public
 *            entry
 *   edge     inside real workerd: the store's contract, the Durable Object
 *   http     Node speaks HTTP to the worker in local workerd: restarts, the published client
 *   pages    Node drives Chromium from outside: many tabs, kills, the playground
 *   package  the packed package, installed from its tarball into apps outside this repository; real browsers, compilers
 *   pages-untimed, package-timed  those of their files that judge no times, or that do: fromOutside() below
 *
 * The library itself is bundled by tools/package/build.mjs: Vite's library mode would inline the worker and the kernel.
 */
import { mkdtempSync, mkdirSync, rmSync } from "node:fs";
import path from "node:path";
import { playwright } from "@vitest/browser-playwright";
import type { Plugin } from "vite";
import { defineConfig, type ViteUserConfig } from "vitest/config";
// @ts-expect-error plain JavaScript, because it also runs before any package is installed
import { CHROMIUM_ARGS, findChromium } from "./tools/run/setup.mjs";
import { bundledWorkers } from "./test/support/bundled-workers.ts";
import { servedPackageFiles } from "./tools/package/package-files.mjs";

const root = import.meta.dirname;

const shared: ViteUserConfig = {
  // The kernel stays a file: compiled while it streams, and no content security policy has to allow data URLs.
  build: { target: "es2022", assetsInlineLimit: 0 },
  worker: { format: "es" },
};

const playground: ViteUserConfig = {
  ...shared,
  root: path.join(root, "web"),
  // Relative, so that a copy of the result works under any path.
  base: "./",
  // The package's export map does not name its data files.
  resolve: {
    alias: [{ find: /^vega-datasets\/data\//, replacement: `${path.join(root, "node_modules/vega-datasets/data")}/` }],
  },
  build: {
    ...shared.build,
    outDir: path.join(root, ".cache", "playground"),
    emptyOutDir: true,
    chunkSizeWarningLimit: 2000,
    // A device of the sync part is a page of its own.
    rolldownOptions: { input: ["index.html", "device.html"].map((page) => path.join(root, "web", page)) },
  },
  server: { host: "127.0.0.1", fs: { allow: [root] } },
  preview: { host: "127.0.0.1" },
};

/** A name that ends in .json would be read as JSON. */
const SAMPLE = "\0tidemark-sample:";

/** Of index.html; a device's page speaks of no data. */
const MADE_UP = [
  ["200,000 real flights", "200,000 made-up flights"],
  ["flights and earthquakes of the <cite>vega-datasets</cite> package.", "flights and earthquakes that are made up."],
] as const;

/** The data sets are addresses beside the page, and the page says that they are made up. */
const samples: Plugin = {
  name: "tidemark-samples",
  enforce: "pre",
  resolveId: (id) => {
    const [, name] = /^vega-datasets\/data\/(.+)\.json\?url$/.exec(id) ?? [];
    return name === undefined ? undefined : SAMPLE + name;
  },
  load: (id) =>
    id.startsWith(SAMPLE)
      ? `export default ${JSON.stringify(`./samples/${id.slice(SAMPLE.length)}.json`)};`
      : undefined,
  transformIndexHtml: (html, { path: page }) =>
    page.endsWith("index.html")
      ? MADE_UP.reduce((text, [real, madeUp]) => {
          if (!text.includes(real)) throw new Error(`web/index.html does not say ${real}`);
          return text.replace(real, madeUp);
        }, html)
      : html,
};

const packaged: ViteUserConfig = {
  ...playground,
  resolve: {},
  plugins: [samples],
  build: { ...playground.build, outDir: path.join(root, "dist", "playground") },
};

/** A profile folder of this run's own, gone when the run ends. */
function freshProfile(): string {
  const profiles = path.join(root, ".cache", "profiles");
  mkdirSync(profiles, { recursive: true });
  const profile = mkdtempSync(path.join(profiles, "vitest-"));
  process.on("exit", () => rmSync(profile, { recursive: true, force: true, maxRetries: 3 }));
  return profile;
}

const node = { environment: "node" as const, root };

/**
 * Tests that drive browsers, servers and processes. They wait for events, on machines that may be slow and busy: these
 * limits end what hangs, and judge nothing.
 */
const LIMITS = { testTimeout: 240_000, hookTimeout: 240_000, expect: { poll: { timeout: 60_000 } } };

type Projects = NonNullable<NonNullable<ViteUserConfig["test"]>["projects"]>;

/** Files that judge how long a fail-over takes, or at which moment something comes: nothing runs beside them. */
const TIMED_PACKAGE = ["bundlers", "firefox", "plants", "tabs"].map((name) => `test/package/${name}.test.ts`);
/** Files of pages that wait for events alone, however long they take. */
const UNTIMED_PAGES = [
  "test/{crash,power,client}/*.test.ts",
  "test/playground/playground.test.ts",
  "test/tabs/{cleared,imports,packed-faults}.test.ts",
  "test/sync/{answers,end-to-end,engines,views}.test.ts",
];

/**
 * Node drives browsers. Files that judge no times run two at a time, because one often waits for a browser, a server,
 * an installation or a compiler. When they are through the others run, one at a time.
 */
function fromOutside(): Projects {
  const two = { ...node, ...LIMITS, maxWorkers: 2 };
  const alone = { ...node, ...LIMITS, fileParallelism: false, sequence: { groupOrder: 1 } };
  const globalSetup = "test/package/global.ts";
  const pages = ["test/{playground,tabs,sync,crash,power,client}/**/*.test.ts"];
  const projects = [
    { ...two, name: "pages-untimed", include: UNTIMED_PAGES },
    { ...alone, name: "pages", include: pages, exclude: UNTIMED_PAGES },
    { ...two, name: "package", include: ["test/package/*.test.ts"], exclude: TIMED_PACKAGE, globalSetup },
    { ...alone, name: "package-timed", include: TIMED_PACKAGE, globalSetup },
  ];
  return projects.map((test) => ({ extends: true, test }));
}

/** True unless the command line asks for other projects alone. */
function isAsked(project: string): boolean {
  const asked = process.argv.flatMap((word, i, all) =>
    word === "--project" ? [all[i + 1]!] : word.startsWith("--project=") ? [word.slice("--project=".length)] : [],
  );
  return asked.length === 0 || asked.some((name) => path.matchesGlob(project, name));
}

async function ofTheEdge(): Promise<Projects> {
  if (!isAsked("edge")) return [];
  // Only for these tests: it brings a whole runtime along, and a second of the processor.
  const { cloudflareTest } = await import("@cloudflare/vitest-plugin");
  return [
    {
      extends: true,
      plugins: [
        cloudflareTest({
          wrangler: { configPath: path.join(root, "worker", "wrangler.jsonc") },
          miniflare: { bindings: { TIDEMARK_OPEN_ACCESS: "loopback", TIDEMARK_EVENTS: "changes" } },
        }),
      ],
      test: {
        name: "edge",
        root,
        include: ["test/edge/*.test.ts"],
        // A runtime of its own for each file would cost a third of the time. Each file has names of streams of its own.
        isolate: false,
        setupFiles: ["test/support/leave-nothing.ts"],
        // Else Vitest sends printed lines itself, and waits at a file's end for all: for ever for one that a log
        // object prints at that moment (test/edge/late-lines.test.ts).
        disableConsoleIntercept: true,
        testTimeout: 120_000,
        maxWorkers: "100%",
      },
    },
  ];
}

/**
 * Files of plain Node with a process of their own: they load modules in another form, replace parts of the platform for
 * a whole world, measure memory, or start programs.
 */
const ALONE = [
  "test/{cli,simulation}/**/*.test.ts",
  "test/unit/{bindings-gone,bindings-svelte,client-later,command-line,edge-compaction,fuzz,fuzz-bombs}.test.ts",
  "test/unit/{kernel-memory,node-kills,node-power,outbox-world,rot,sync-worlds,worlds}.test.ts",
];

/** `npm test` runs them at the lowest priority, beside browsers; no test measures time. */
const patient = { testTimeout: 240_000, hookTimeout: 240_000, maxWorkers: "100%" };

async function tests(): Promise<ViteUserConfig> {
  return {
    ...shared,
    root,
    server: { host: "127.0.0.1", fs: { allow: [root] } },
    test: {
      allowOnly: false,
      projects: [
        {
          extends: true,
          test: {
            ...node,
            ...patient,
            name: "unit",
            include: ["test/{unit,contract,golden,checker,bench,types}/**/*.test.ts", "test/*.test.ts"],
            exclude: ["test/bench/peers/**", ...ALONE],
            // Modules that one file has loaded serve the next one.
            isolate: false,
            setupFiles: ["test/support/leave-nothing.ts"],
          },
        },
        { extends: true, test: { ...node, ...patient, name: "unit-alone", include: ALONE } },
        {
          extends: true,
          // Known beforehand, so that Vite does not find them during a test and reload the page.
          optimizeDeps: { include: ["comlink", "idb"] },
          plugins: [bundledWorkers(), ...(process.env["TIDEMARK_DIST"] ? [servedPackageFiles()] : [])],
          test: {
            name: "browser",
            root,
            include: ["test/browser/**/*.test.ts"],
            setupFiles: ["test/browser/setup.ts"],
            fileParallelism: false,
            testTimeout: 120_000,
            browser: {
              enabled: true,
              headless: true,
              screenshotFailures: false,
              instances: [{ browser: "chromium" }],
              provider: playwright({
                launchOptions: { executablePath: findChromium(), args: CHROMIUM_ARGS },
                persistentContext: freshProfile(),
              }),
            },
          },
        },
        ...(await ofTheEdge()),
        {
          extends: true,
          test: {
            ...node,
            ...LIMITS,
            name: "http",
            include: ["test/edge/http/*.test.ts"],
            // Each file has a worker of its own, on a port of its own, and much of the time waits for it.
            maxWorkers: 2,
          },
        },
        ...fromOutside(),
      ],
    },
  };
}

export default defineConfig(async ({ mode }) => {
  if (mode === "test") return tests();
  return mode === "package" ? packaged : playground;
});
