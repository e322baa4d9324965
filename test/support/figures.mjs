/** Figures of a long run: prints them, and writes them to the file of `--json`. */
import { writeFileSync } from "node:fs";
import os from "node:os";

/** The value below which a share `q` (0 to 1) of the values lies. NaN if there are no values. */
export const quantile = (values, q) =>
  values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * q))] ?? NaN;

export const median = (values) => quantile(values, 0.5);

/** A figure for people: thousands separated, at most one digit after the point. */
export const shown = (value) => value.toLocaleString("en-US", { maximumFractionDigits: 1 });

/** Prints one line for each figure, sorted by name. */
export function printFigures(figures) {
  for (const [name, value] of Object.entries(figures).sort(([a], [b]) => (a < b ? -1 : 1)))
    console.log(`${shown(value).padStart(12)}  ${name}`);
}

/** Where and when something was measured. `more` is added, for example the browser's version. */
export const environment = (more = {}) => ({
  date: new Date().toISOString(),
  node: process.version,
  system: `${os.type()} ${os.release()}`,
  cores: os.cpus().length,
  processor: os.cpus()[0]?.model,
  ...more,
});

/** Writes the file of `--json`. Does nothing if the option was not given. */
export function writeReport(file, report) {
  if (file !== undefined) writeFileSync(file, `${JSON.stringify(report, null, 2)}\n`);
}
