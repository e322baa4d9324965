/** The scripts' own logic: which Node is new enough, and how a test report is counted. */
import { existsSync, mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { expect, test } from "vitest";
// @ts-expect-error plain JavaScript
import { node } from "../../tools/run/child.mjs";
// @ts-expect-error plain JavaScript
import { skippedLines, TOOLS } from "../../tools/run/engines.mjs";
// @ts-expect-error plain JavaScript
import { root, runsVite, runsVitest } from "../../tools/run/setup.mjs";
// @ts-expect-error plain JavaScript
import { afterAgain, sum, tally } from "../../tools/run/report.mjs";
// @ts-expect-error plain JavaScript
import { lanes } from "../../tools/run/suites.mjs";

test.each([
  ["v18.20.0", false, false],
  ["v20.18.3", false, false],
  ["v20.19.0", true, false],
  ["v20.20.2", true, false],
  ["v22.11.0", false, false],
  ["v22.12.0", true, true],
  ["v24.0.0", true, true],
])("Node %s runs Vite: %s, Vitest: %s", (version, vite, vitest) => {
  expect([runsVite(version), runsVitest(version)]).toEqual([vite, vitest]);
});

const report = (
  passed: number,
  failed: number,
  files: readonly {
    status: string;
    assertionResults: readonly { status: string; failureMessages?: string[] }[];
  }[] = [],
) => ({
  numPassedTests: passed,
  numFailedTests: failed,
  numPendingTests: 0,
  numTodoTests: 0,
  testResults: files.map((file) => ({ name: root, ...file })),
});

test("a run counts its tests; no report, no test, a broken file or a bad exit count as failures", () => {
  expect(tally(report(3, 0), 0)).toMatchObject({ passed: 3, failed: 0 });
  expect(
    tally(report(3, 2, [{ status: "failed", assertionResults: [{ status: "failed", failureMessages: [] }] }]), 1),
  ).toMatchObject({ passed: 3, failed: 2 });
  expect(tally(report(3, 0, [{ status: "failed", assertionResults: [] }]), 1)).toMatchObject({ passed: 3, failed: 1 });
  expect(tally(report(3, 0), 1)).toMatchObject({ passed: 3, failed: 1 });
  expect(tally(report(0, 0), 0)).toMatchObject({ passed: 0, failed: 1 });
  expect(tally(undefined, 0)).toMatchObject({ passed: 0, failed: 1 });
});

test("what failed is named with its error, and what passed only when run again as well", () => {
  const passed = { status: "passed", fullName: "holds", failureMessages: [] };
  const failed = { status: "failed", fullName: "waits", failureMessages: ["Error: timed out\n\n    at a.ts:1"] };
  const files = [
    { name: path.join(root, "test/a.test.ts"), status: "failed", message: "", assertionResults: [passed, failed] },
    { name: path.join(root, "test/b.test.ts"), status: "passed", message: "", assertionResults: [passed] },
  ];
  const first = report(2, 1, files);
  expect(tally(first, 1).failures).toEqual([
    "failed test/a.test.ts: waits",
    "       Error: timed out",
    "           at a.ts:1",
  ]);
  expect(afterAgain(first, tally(report(2, 0), 0))).toMatchObject({
    passed: 3,
    failed: 0,
    note: "1 passed only when run again",
    failures: expect.arrayContaining(["unsteady test/a.test.ts: waits"]) as unknown,
  });
  expect(afterAgain(first, tally(report(1, 1, [files[0]!]), 1))).toMatchObject({
    passed: 2,
    failed: 1,
    failures: expect.arrayContaining(["failed test/a.test.ts: waits"]) as unknown,
  });
  expect(afterAgain(first, tally(undefined, 1))).toMatchObject({ passed: 1, failed: 1 });
  const gone = tally(first, 1, ["Error: the page is gone\n    at b.ts:1"]);
  expect(gone).toMatchObject({ passed: 2, failed: 2 });
  expect(gone.failures.slice(-3)).toEqual([
    "failed outside of every test",
    "       Error: the page is gone",
    "           at b.ts:1",
  ]);
  // Two runs of one step keep what each of them says.
  expect(sum([gone, afterAgain(first, tally(report(2, 0), 0))])).toMatchObject({
    passed: 5,
    failed: 2,
    note: "1 passed only when run again",
    failures: expect.arrayContaining(["failed test/a.test.ts: waits", "unsteady test/a.test.ts: waits"]) as unknown,
  });
});

test("steps of plain Node run aside where another step runs, browser and edge beside http alone", () => {
  expect(lanes(["kernel", "build", "format", "unit", "http", "size", "pages", "sim", "bench"])).toEqual({
    first: ["kernel", "build"],
    together: ["http"],
    beside: [],
    main: ["pages"],
    aside: [["unit"], ["format", "size", "sim", "bench"]],
  });
  expect(lanes(["unit", "edge", "http", "browser", "pages", "package"])).toEqual({
    first: [],
    together: ["http"],
    beside: ["edge", "browser"],
    main: ["pages", "package"],
    aside: [["unit"]],
  });
  const none = { first: [], together: [], beside: [], main: [], aside: [] };
  expect(lanes(["edge", "browser", "pages"])).toEqual({ ...none, main: ["edge", "browser", "pages"] });
  expect(lanes(["kernel", "unit"])).toEqual({ ...none, first: ["kernel", "unit"] });
  expect(lanes(["pages", "sim"])).toEqual({ ...none, main: ["pages"], aside: [["sim"]] });
});

const skippedTest = (title: string, ...ancestorTitles: string[]) => ({ status: "pending", title, ancestorTitles });

test("skipped tests are named, with what has to be installed", () => {
  const { PATH, FIREFOX_PATH } = process.env;
  process.env["PATH"] = "";
  delete process.env["FIREFOX_PATH"];
  try {
    const tests = [
      skippedTest("closes", "Firefox"),
      skippedTest("crashes", "Firefox"),
      skippedTest("hangs", "WebKitGTK as if it were any other engine"),
      { ...skippedTest("runs", "Firefox"), status: "passed" },
    ];
    const testResults = [
      { name: "/r/test/tabs/engines.test.ts", assertionResults: tests },
      { name: "/r/test/unit/a.test.ts", assertionResults: [skippedTest("later")] },
    ];
    expect(skippedLines({ testResults }, (file: string) => file.slice(3))).toEqual([
      "skipped test/tabs/engines.test.ts: Firefox, 2 tests: get Firefox (Debian, Ubuntu: sudo apt-get install " +
        "firefox-esr), or set FIREFOX_PATH",
      "skipped test/tabs/engines.test.ts: WebKitGTK's driver, 1 test: get WebKitGTK's driver (Debian, Ubuntu: sudo " +
        "apt-get install webkit2gtk-driver xvfb xauth dbus)",
      "skipped test/unit/a.test.ts: later, 1 test: the suite's own output says why",
    ]);
  } finally {
    Object.assign(process.env, { PATH }, FIREFOX_PATH !== undefined && { FIREFOX_PATH });
  }
});

test("every suite that skips tests without a tool exists, and looks for that tool's commands", () => {
  const looksFor = {
    Firefox: "test/tabs/firefox.ts",
    "WebKitGTK's driver": "test/tabs/webkit.ts",
    strace: "test/power/strace.ts",
  } as Record<string, string>;
  for (const { name, suites, commands } of TOOLS as { name: string; suites: string[][]; commands: string[][] }[]) {
    for (const [file] of suites) expect(existsSync(path.join(root, file!)), file).toBe(true);
    const source = readFileSync(path.join(root, looksFor[name]!), "utf8");
    for (const command of commands.flat()) expect(source).toContain(`"${command}"`);
  }
});

test("every npm script's program exists", () => {
  const scripts = Object.values(
    (JSON.parse(readFileSync(path.join(root, "package.json"), "utf8")) as { scripts: Record<string, string> }).scripts,
  );
  const launcher = readFileSync(path.join(root, "tools/run/run.mjs"), "utf8");
  const tasks = new Map([...launcher.matchAll(/^ {2}(\w+): \{.*$/gm)].map(([line, name]) => [name!, line]));
  expect(
    scripts
      .flatMap((script) => script.split(" && "))
      .map((command) => command.replace("node tools/run/run.mjs ", ""))
      .filter((name) => !tasks.has(name)),
  ).toEqual([]);
  const programs = [...launcher.matchAll(/program\("([^"]+)"\)/g)].map(([, file]) => file!);
  expect(programs.length).toBeGreaterThan(4);
  expect(programs.filter((file) => !existsSync(path.join(root, file)))).toEqual([]);
});

/** A process that holds the output open, in the group of the program that starts it or in one of its own. */
const outlives = (detached: boolean): string => `
  const { spawn } = require("node:child_process");
  const other = "setTimeout(() => {}, 60_000)";
  spawn(process.execPath, ["-e", other], { stdio: "inherit", detached: ${detached} });
  require("node:fs").writeSync(1, "it goes on\\n");
  process.exit(0);
`;

test("a program that hangs is ended at its limit, and what outlives one is not waited for", async () => {
  const file = path.join(mkdtempSync(path.join(tmpdir(), "tidemark-child-")), "out.txt");
  const codes = await Promise.all([
    node(["-e", "setInterval(() => {}, 1_000)"], { limitMs: 1 }),
    node(["-e", outlives(false)], { file, graceMs: 1 }),
    node(["-e", outlives(true)], { file, graceMs: 1 }),
  ]);
  expect(codes).toEqual([1, 0, 0]);
  expect(readFileSync(file, "utf8")).toBe("it goes on\n".repeat(2));
});
