/** Child processes of the tools: Node with its output shown, signals passed on. */
import { spawn } from "node:child_process";
import { root } from "./setup.mjs";

/**
 * Runs node with `args` and shows its output. Resolves with the exit code. SIGTERM is passed on before this process
 * ends.
 */
export function node(args, binary = process.execPath) {
  return new Promise((resolve, reject) => {
    const child = spawn(binary, args, { cwd: root, stdio: "inherit", env: process.env });
    const forward = (signal) => child.kill(signal);
    // A terminal sends Ctrl-C to the child as well. This handler only keeps this process alive until the child has
    // ended.
    const wait = () => {};
    process.on("SIGTERM", forward).on("SIGINT", wait);
    child.once("error", reject);
    child.once("exit", (code, signal) => {
      process.off("SIGTERM", forward).off("SIGINT", wait);
      resolve(code ?? (signal === "SIGINT" ? 130 : 1));
    });
  });
}
