/** README's browser versions are those that the code needs, by MDN's compatibility data. */
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { describe, expect, test } from "vitest";
import {
  type Browser,
  BROWSERS,
  feature,
  globals,
  members,
  ownNames,
  platformNames,
  type Versions,
} from "../support/platform-names.ts";

const root = path.join(import.meta.dirname, "../..");
const read = (file: string): string => readFileSync(path.join(root, file), "utf8");
const names = Object.keys(BROWSERS) as Browser[];

/** Features that every tab needs and that no name in the code shows: modules in workers, synchronous files, SIMD. */
const NEEDED = [
  "api.Worker.Worker.ecmascript_modules",
  "api.StorageManager.getDirectory",
  "api.FileSystemFileHandle.createSyncAccessHandle",
  "api.FileSystemSyncAccessHandle.flush",
  "api.IDBFactory.databases",
  "api.LockManager.request",
  "api.LockManager.query",
  "api.BroadcastChannel",
  "api.Crypto.randomUUID",
  "api.AbortSignal.throwIfAborted",
  "webassembly.fixed-width-SIMD",
  "webassembly.bulk-memory-operations",
  "javascript.classes.private_class_fields",
  "javascript.builtins.Error.Error.options_cause_parameter",
  "javascript.builtins.Object.hasOwn",
];
/**
 * In Chromium 102 to 107 the methods of a file's handle returned promises. The compatibility data says so in a note
 * only. https://chromestatus.com/feature/5702777582911488
 */
const BY_NOTE: Partial<Versions> = { chromium: 108 };

/** Features that the code uses where they exist, and what it does where they do not. */
const GUARDED: Readonly<Record<string, string>> = {
  estimate: "asked for with ?.(): without it the report has no usage",
  asyncDispose: "for `await using`, which a browser without it does not have either",
  createPolicy: "asked for only where the page enforces Trusted Types",
  trustedTypes: "as above",
  setStatus: "of a span of OpenTelemetry",
};

/** README's sentence about browsers. */
function claimed(): Versions {
  const text = read("README.md").replace(/\s+/g, " ");
  const find = (pattern: RegExp): number => Number(pattern.exec(text)?.[1] ?? NaN);
  return {
    chromium: find(/Chromium and Edge from ([\d.]+)/),
    firefox: find(/Firefox from ([\d.]+)/),
    safari: find(/Safari from ([\d.]+)/),
  };
}

function sources(): string[] {
  const all = readdirSync(path.join(root, "src"), { recursive: true, encoding: "utf8" }).map(
    (file) => `src/${file.replaceAll("\\", "/")}`,
  );
  return all.filter((file) => file.endsWith(".ts") && !/^src\/(sync|node)\//.test(file));
}

/** Names of our own fields and methods. A member with such a name is assumed to be ours. */
const own = new Set(sources().flatMap((file) => [...ownNames(read(file), file)]));

/** The names of the platform that one of these browser versions does not have. */
function tooNew(source: string, file: string, versions: Versions): string[] {
  const used = platformNames(source, file);
  const known: [string, Versions | undefined][] = [
    ...[...used.globals].map((name): [string, Versions | undefined] => [name, globals.get(name)]),
    ...[...used.members].map((name): [string, Versions | undefined] => [
      name,
      own.has(name) ? undefined : members.get(name),
    ]),
  ];
  const found = known.filter(
    ([name, since]) => since && !(name in GUARDED) && names.some((browser) => since[browser] > versions[browser]),
  );
  return found.map(
    ([name, since]) => `${file}: ${name} is of ${names.map((browser) => `${browser} ${since![browser]}`).join(", ")}`,
  );
}

describe("browser versions", () => {
  test("README's are the first ones that have what every tab needs", () => {
    const first = Object.fromEntries(
      names.map((browser) => [
        browser,
        Math.max(BY_NOTE[browser] ?? 0, ...NEEDED.map((name) => feature(name)[browser])),
      ]),
    );
    expect(claimed()).toEqual(first);
  });

  test.each([
    ["a.toReversed();", "toReversed"],
    ["await Array.fromAsync(b);", "fromAsync"],
    ["const { promise } = Promise.withResolvers();", "withResolvers"],
    ["new WebTransport(url);", "WebTransport"],
  ])("a newer name is found: %s", (source, name) => {
    expect(tooNew(source, "src/x.ts", claimed())).toEqual([expect.stringContaining(`src/x.ts: ${name} is of `)]);
  });

  test("no source uses a name that these versions do not have", () => {
    const versions = claimed();
    expect(sources().length).toBeGreaterThan(50);
    expect(sources().flatMap((file) => tooNew(read(file), file, versions))).toEqual([]);
  });
});
