/** The figures of a long run: a script prints them and writes them to the file of `--json`. */
import { writeFileSync } from "node:fs";
import os from "node:os";

/** The value below which a share `q` (0 to 1) of the values lies; NaN of none. */
export const quantile = (values, q) =>
  values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * q))] ?? NaN;

export const median = (values) => quantile(values, 0.5);

/** A figure for people: thousands apart, at most one digit behind the point. */
export const shown = (value) => value.toLocaleString("en-US", { maximumFractionDigits: 1 });

/** One line a figure, sorted by name. */
export function printFigures(figures) {
  for (const [name, value] of Object.entries(figures).sort(([a], [b]) => (a < b ? -1 : 1)))
    console.log(`${shown(value).padStart(12)}  ${name}`);
}

/** Where and when something was measured; `more` is added, the browser's version for example. */
export const environment = (more = {}) => ({
  date: new Date().toISOString(),
  node: process.version,
  system: `${os.type()} ${os.release()}`,
  cores: os.cpus().length,
  processor: os.cpus()[0]?.model,
  ...more,
});

/** The file of `--json`; nothing without one. */
export function writeReport(file, report) {
  if (file !== undefined) writeFileSync(file, `${JSON.stringify(report, null, 2)}\n`);
}
