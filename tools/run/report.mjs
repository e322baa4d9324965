/**
 * Reads Vitest's JSON reports for `npm test`: counts, skipped tests, failures, and tests that passed only when they
 * were run again (docs/decisions/0017).
 */
import path from "node:path";
import { skippedLines } from "./engines.mjs";
import { root } from "./setup.mjs";

const relative = (file) => path.relative(root, file).replaceAll("\\", "/");
const failedTests = ({ assertionResults }) => assertionResults.filter(({ status }) => status === "failed");

/** Files of a report that hold a failure. A file that does not load has no failed test of its own. */
export const failedFiles = (report) => report.testResults.filter(({ status }) => status === "failed");

/**
 * The result of a Vitest run. `report` is its JSON report; undefined if it wrote none. `outside`: its errors outside of
 * every test (outside-errors.mjs).
 */
export function tally(report, exitCode, outside = []) {
  if (report === undefined) return { passed: 0, failed: 1, note: "ended without a result" };
  const passed = report.numPassedTests;
  const skipped = report.numPendingTests + report.numTodoTests;
  const broken = failedFiles(report).filter((file) => failedTests(file).length === 0);
  let failed = report.numFailedTests + broken.length + outside.length;
  // Any other failure shows only in the exit code.
  if (failed === 0 && (exitCode !== 0 || passed === 0)) failed = 1;
  return {
    passed,
    failed,
    note: passed === 0 ? "no test ran" : skipped > 0 ? `${skipped} skipped` : "",
    skipped: skippedLines(report, relative),
    failures: [
      ...failureLines(report, "failed"),
      ...outside.flatMap((error) => ["failed outside of every test", ...firstLines(error)]),
    ],
  };
}

/** The result of a step that is more than one run. */
export const sum = (results) => ({
  passed: results.reduce((total, { passed }) => total + passed, 0),
  failed: results.reduce((total, { failed }) => total + failed, 0),
  note: results.flatMap(({ note }) => note || []).join(", "),
  skipped: results.flatMap(({ skipped = [] }) => skipped),
  failures: results.flatMap(({ failures = [] }) => failures),
});

/**
 * The result of a run whose failed files were run once more. `second` is the tally of that second run, which counts
 * these files alone. What passed now is named with the error of the first run.
 */
export function afterAgain(report, second) {
  const files = failedFiles(report);
  const failed = files.flatMap(failedTests);
  const passedBefore = files.flatMap(({ assertionResults }) => assertionResults).filter(isPassed).length;
  const isMended = second.failed === 0;
  return {
    ...tally(report, 0),
    passed: report.numPassedTests - passedBefore + second.passed,
    failed: second.failed,
    note: isMended ? `${failed.length || files.length} passed only when run again` : second.note,
    failures: isMended ? failureLines(report, "unsteady") : second.failures,
  };
}

const isPassed = ({ status }) => status === "passed";

/** The name of each failed test, and the first lines of its error. A file that does not load is named as well. */
function failureLines(report, word) {
  const lines = [];
  const add = (name, message) => lines.push(`${word} ${name}`, ...firstLines(message));
  for (const file of report.testResults) {
    const failed = failedTests(file);
    for (const { fullName, failureMessages } of failed) add(`${relative(file.name)}: ${fullName}`, failureMessages[0]);
    if (failed.length === 0 && file.status === "failed") add(relative(file.name), file.message);
  }
  return lines;
}

const firstLines = (message = "") =>
  message
    .split("\n")
    .filter((line) => line.trim() !== "")
    .slice(0, 6)
    .map((line) => `       ${line.slice(0, 300)}`);
