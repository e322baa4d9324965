/** Child processes of the tools: Node with its output shown or kept, signals passed on. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createWriteStream, writeFileSync } from "node:fs";
import { root } from "./setup.mjs";

/** Only what others leave of the processor. Windows has no `nice`. */
const leastUrgent = (command) => (process.platform === "win32" ? command : ["nice", "-n", "19", ...command]);

/**
 * Linux may share the processor among sessions first, and heed priorities inside each only. A browser has a session of
 * its own; so has a program that runs aside, and this gives that session the lowest priority.
 */
function leastUrgentSession(pid) {
  try {
    writeFileSync(`/proc/${pid}/autogroup`, "19");
  } catch {
    // Another system, or one that does not group processes.
  }
}

/** Kills a child, or what is left of its group, unless its output ends soon. What left the group is not waited for. */
function killAfter(graceMs, child, forward) {
  const kill = setTimeout(() => {
    try {
      forward("SIGKILL");
    } catch {
      // Nobody is left in it.
    }
    for (const stream of [child.stdout, child.stderr]) stream?.destroy();
  }, graceMs);
  child.once("close", () => clearTimeout(kill));
}

/** Ends a child that took too long, also one that heeds no SIGTERM. */
function endLate(child, { limitMs, graceMs, forward }) {
  console.error(`${child.spawnargs.join(" ")} has not ended after ${limitMs / 1_000} s: it is ended now`);
  forward("SIGTERM");
  killAfter(graceMs, child, forward);
}

/**
 * Runs node with `args` and shows its output. Resolves with the exit code. SIGTERM is passed on before this process
 * ends.
 *
 *   binary   which node. Default: this one
 *   env      its environment. Default: that of this process
 *   file     the output goes there instead
 *   isAside  the program runs at the lowest priority
 *   limitMs  a program that takes longer is ended. Default: no limit
 *   graceMs  what is left of it then is killed after this time. Default: 10 s
 */
export async function node(args, how = {}) {
  const { binary = process.execPath, file, isAside, env = process.env, limitMs, graceMs = 10_000 } = how;
  const [command, ...rest] = isAside ? leastUrgent([binary, ...args]) : [binary, ...args];
  const shown = { cwd: root, env, stdio: "inherit" };
  const child = spawn(command, rest, file ? { ...shown, stdio: ["ignore", "pipe", "pipe"], detached: true } : shown);
  if (isAside) leastUrgentSession(child.pid);
  const kept = file ? createWriteStream(file, { flags: "a" }) : undefined;
  for (const stream of [child.stdout, child.stderr]) if (kept) stream.pipe(kept, { end: false });
  const forward = (signal) => (file ? process.kill(-child.pid, signal) : child.kill(signal));
  // A terminal sends Ctrl-C to a child that is not detached as well. Then this handler only keeps this process alive
  // until the child has ended.
  const wait = file ? forward : () => {};
  process.on("SIGTERM", forward).on("SIGINT", wait);
  // What outlives it may hold its output open for ever.
  if (file) child.once("exit", () => killAfter(graceMs, child, forward));
  const limit = limitMs && setTimeout(() => endLate(child, { limitMs, graceMs, forward }), limitMs);
  try {
    const [code, signal] = await once(child, "close");
    return code ?? (signal === "SIGINT" ? 130 : 1);
  } finally {
    clearTimeout(limit);
    process.off("SIGTERM", forward).off("SIGINT", wait);
    if (kept) await new Promise((resolve) => kept.end(resolve));
  }
}
