/**
 * Entries of the package beside the three main ones: `tidemark/NAME` is dist/NAME.js, made of one source file and what
 * it imports. Each is bundled on its own, so an app downloads only those that it imports. TidemarkError stays in
 * base.js, which all entries share. package.json has a line for each in `exports`; a test compares the two.
 *
 *   source     the entry's file, from the repository's root
 *   platform   "browser", "node", or "neutral" for code that runs everywhere
 *   external   packages of the app, which are not bundled: frameworks, optional peers
 *   instead    modules that have a stand-in there: [module, stand-in]
 *   later      modules that it import()s from a file of their own: [module, the file's name in LATER]
 *   whole      true: what it import()s is in its own file, and evaluated with it
 *   gzipMax    bytes of it, minified and in gzip, as an app downloads or deploys them; `npm run size` fails beyond
 */
const IN_NODE = [
  ["src/browser/platform/timing.ts", "src/node/package/timing.ts"],
  ["src/browser/platform/idle.ts", "src/node/package/idle.ts"],
  ["src/browser/platform/locks.ts", "src/node/package/locks.ts"],
  ["src/browser/page/slow-appends.ts", "src/node/package/slow-appends.ts"],
  ["src/node/kernel-file.ts", "src/node/package/kernel-file.ts"],
];

/** The entries that build.mjs makes, by their files. What tidemark/browser downloads is measured by visits. */
export const MAIN_ENTRIES = { index: { gzipMax: 34 * 1024 }, worker: { gzipMax: 125 * 1024 } };

export const SIDE_ENTRIES = {
  node: { source: "src/node/index.ts", platform: "node", instead: IN_NODE, whole: true, gzipMax: 60 * 1024 },
  react: { source: "src/bindings/react.ts", platform: "browser", external: ["react"], gzipMax: 3 * 1024 },
  vue: { source: "src/bindings/vue.ts", platform: "browser", external: ["vue"], gzipMax: 3 * 1024 },
  svelte: { source: "src/bindings/svelte.ts", platform: "browser", external: ["svelte"], gzipMax: 3 * 1024 },
  solid: { source: "src/bindings/solid.ts", platform: "browser", external: ["solid-js"], gzipMax: 3 * 1024 },
  "tanstack-db": { source: "src/bindings/tanstack-db.ts", platform: "browser", gzipMax: 3 * 1024 },
  client: {
    source: "src/client/index.ts",
    platform: "neutral",
    later: [
      ["src/client/read-topic.ts", "client-read"],
      ["src/client/views.ts", "client-views"],
      ["src/client/export-topic.ts", "client-export"],
      ["src/typed/typed-topic.ts", "client-typed"],
      ["src/topic/segment-upload.ts", "client-import"],
      ["src/client/append-all.ts", "client-append-all"],
    ],
    gzipMax: 11.5 * 1024,
  },
  // The same in one file, for service workers: no import() is allowed there.
  "client-whole": { source: "src/client/index.ts", platform: "neutral", whole: true, gzipMax: 26 * 1024 },
  otel: { source: "src/otel/index.ts", platform: "neutral", external: ["@opentelemetry/api"], gzipMax: 3 * 1024 },
};

/** Files that a side entry loads when a call needs them. They are bundled in the same way, and no app names them. */
export const LATER = {
  "client-read": {
    source: "src/client/read-topic.ts",
    platform: "neutral",
    later: [["src/client/live-socket.ts", "client-live"]],
  },
  "client-views": { source: "src/client/views.ts", platform: "neutral" },
  "client-export": { source: "src/client/export-topic.ts", platform: "neutral" },
  "client-typed": { source: "src/typed/typed-topic.ts", platform: "neutral" },
  "client-import": { source: "src/topic/segment-upload.ts", platform: "neutral" },
  "client-append-all": { source: "src/client/append-all.ts", platform: "neutral" },
  "client-live": { source: "src/client/live-socket.ts", platform: "neutral" },
};

/** Programs of the package, bundled in the same way. bin/ starts them, and no app imports them. */
export const PROGRAMS = { cli: { source: "cli/main.ts", platform: "node", instead: IN_NODE } };

/** Packages that are bundled into a side entry or a program; dist/licenses has their licences. */
export const INSIDE_SIDE_ENTRIES = ["citty"];
