/**
 * Browsers and tools other than Chromium that some suites need. As root on Debian they are installed like Chromium.
 * Elsewhere suites skip the tests that need them, and `npm test` names those at its end, and how to get what they need.
 */
import { aptInstall, canAptInstall, onPath } from "./setup.mjs";

/**
 * `commands`: of each row at least one must exist. `suites`: the tests that are skipped without it, by file and by the
 * beginning of their names.
 */
export const TOOLS = [
  {
    name: "Firefox",
    packages: ["firefox-esr"],
    environment: "FIREFOX_PATH",
    commands: [["firefox-esr", "firefox"]],
    suites: [
      ["test/tabs/engines.test.ts", "Firefox"],
      ["test/sync/engines.test.ts", "Firefox"],
      ["test/package/", "Firefox"],
    ],
  },
  {
    name: "WebKitGTK's driver",
    // xvfb-run calls xauth, but the package xvfb only recommends it.
    packages: ["webkit2gtk-driver", "xvfb", "xauth", "dbus"],
    commands: [["WebKitWebDriver"], ["xvfb-run"], ["xauth"], ["dbus-run-session"]],
    suites: [
      ["test/tabs/engines.test.ts", "WebKitGTK"],
      ["test/sync/engines.test.ts", "WebKitGTK"],
    ],
  },
  { name: "strace", packages: ["strace"], commands: [["strace"]], suites: [["test/power/power.test.ts", ""]] },
];

const isHere = ({ commands, environment }) =>
  Boolean(process.env[environment]) || commands.every((names) => names.some(onPath));

/** Installs what is missing, if one plain command can do that. */
export function ensureEngines() {
  const missing = TOOLS.filter((tool) => !isHere(tool));
  if (missing.length > 0 && canAptInstall()) aptInstall(missing.flatMap(({ packages }) => packages));
}

const wayTo = ({ name, packages, environment }) =>
  `get ${name} (Debian, Ubuntu: sudo apt-get install ` +
  `${packages.join(" ")})${environment ? `, or set ${environment}` : ""}`;

/**
 * One line for each group of skipped tests in a Vitest report: where they are, how many, and what to do. `relative`
 * makes paths relative to the repository's root.
 */
export function skippedLines(report, relative) {
  const groups = new Map();
  for (const { name, assertionResults } of report?.testResults ?? []) {
    for (const { status, ancestorTitles, title } of assertionResults) {
      if (status !== "skipped" && status !== "pending" && status !== "todo") continue;
      const [top = title] = ancestorTitles;
      const file = relative(name);
      const tool = TOOLS.find(({ suites }) =>
        suites.some(([folder, start]) => file.startsWith(folder) && top.startsWith(start)),
      );
      const way =
        tool === undefined
          ? "the suite's own output says why"
          : isHere(tool)
            ? `${tool.name} is here but does not work; the suite's own output says why`
            : wayTo(tool);
      const key = `${file}: ${tool?.name ?? top}`;
      groups.set(key, { way, count: (groups.get(key)?.count ?? 0) + 1 });
    }
  }
  return [...groups].map(([key, { way, count }]) => `skipped ${key}, ${count} test${count === 1 ? "" : "s"}: ${way}`);
}
