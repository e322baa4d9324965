/**
 * `npm run conformance` runs the published Durable Streams conformance suite against the worker in local workerd.
 * The last line is `N passed, N failed`.
 *
 *     npm run conformance -- --grep Fork        only tests whose names match
 *     npm run conformance -- --url http://…     against another server, which must be running
 *     npm run conformance -- --json FILE        also write the figures to FILE
 */
import { writeFileSync } from "node:fs";
import path from "node:path";
import { startVitest } from "vitest/node";
import { commandLine, jsonFile, text } from "../../tools/run/command-line.mjs";
import { startWorker } from "../edge/local-worker.ts";

const LONG_POLL_MS = 2_000;
const PROGRESS_MS = 10_000;
const root = process.cwd();

const values = commandLine({
  script: "conformance",
  about: "Runs the published Durable Streams conformance suite against the worker in local workerd.",
  options: {
    grep: text({ help: "only tests whose names match" }),
    url: text({ sample: "URL", help: "test this server instead; it must be running" }),
    json: jsonFile(),
  },
});

/** Prints progress: the suite is one file, and Vitest reports on it only at its end, minutes later. */
function progress(): { onTestCaseResult(): void } {
  const started = performance.now();
  let [done, shown] = [0, started];
  const onTestCaseResult = (): void => {
    done++;
    if (performance.now() < shown + PROGRESS_MS) return;
    shown = performance.now();
    console.error(`${done} tests, ${Math.round((shown - started) / 1000)} s`);
  };
  return { onTestCaseResult };
}

async function main(): Promise<number> {
  const started = performance.now();
  const settings = { TIDEMARK_OPEN_ACCESS: "loopback", TIDEMARK_LONG_POLL_MS: String(LONG_POLL_MS) };
  const worker = values.url === undefined ? await startWorker({ settings }) : { url: values.url, stop: async () => {} };
  console.log(`conformance against ${worker.url}`);
  const vitest = await startVitest("test", [], {
    root,
    config: false,
    watch: false,
    include: ["test/conformance/suite.test.ts"],
    provide: { baseUrl: worker.url, longPollMs: LONG_POLL_MS },
    testTimeout: 30_000,
    hookTimeout: 30_000,
    reporters: ["default", progress()],
    ...(values.grep !== undefined && { testNamePattern: values.grep }),
  });
  const tests = vitest.state.getTestModules().flatMap((module) => [...module.children.allTests()]);
  const count = (state: string): number => tests.filter((test) => test.result().state === state).length;
  const [passed, failed, skipped] = [count("passed"), count("failed"), count("skipped")];
  const failures = tests.filter((test) => test.result().state === "failed").map((test) => test.fullName);
  await vitest.close();
  await worker.stop();
  for (const name of failures) console.log(`failed: ${name}`);
  const figures = { passed, failed, skipped, seconds: Math.round((performance.now() - started) / 100) / 10, failures };
  if (values.json !== undefined) writeFileSync(path.resolve(values.json), `${JSON.stringify(figures, null, 2)}\n`);
  console.log(`${skipped} skipped, ${figures.seconds} s`);
  console.log(`${passed} passed, ${failed} failed`);
  return failed === 0 && passed > 0 ? 0 : 1;
}

process.exit(await main());
