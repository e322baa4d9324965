/** `npm start` as a person runs it: the playground and the edge, on loopback; what was appended is there after the next start. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, expect, test } from "vitest";

const root = process.cwd();
const state = mkdtempSync(path.join(os.tmpdir(), "tidemark-start-"));
afterAll(() => rmSync(state, { recursive: true, force: true, maxRetries: 5 }));

async function start(): Promise<{ child: ChildProcess; edge: string; playground: string; stop(): Promise<number | null> }> {
  const child = spawn(process.execPath, [path.join(root, "test/tooling/run.mjs"), "start", "--port", "0", "--edge-port", "0", "--state", state], { cwd: root, stdio: ["ignore", "pipe", "pipe"] });
  const found = await new Promise<[string, string]>((resolve, reject) => {
    let said = "";
    const look = (chunk: Buffer): void => {
      said += chunk.toString();
      const edge = /Tidemark edge: (http:\/\/127\.0\.0\.1:\d+)\//.exec(said)?.[1];
      const playground = /Tidemark playground: (http:\/\/127\.0\.0\.1:\d+\/)/.exec(said)?.[1];
      if (edge !== undefined && playground !== undefined) resolve([edge, playground]);
    };
    child.stdout.on("data", look);
    child.stderr.on("data", look);
    child.once("exit", (code) => reject(new Error(`ended with ${code}: ${said}`)));
  });
  const stop = (): Promise<number | null> => {
    const exit = new Promise<number | null>((resolve) => child.once("exit", resolve));
    child.kill("SIGTERM");
    return exit;
  };
  return { child, edge: found[0], playground: found[1], stop };
}

test("start, append by HTTP, stop, start, read", async () => {
  const first = await start();
  expect(await (await fetch(first.playground)).text()).toContain("<html");
  const url = (edge: string): string => `${edge}/v1/stream/start/test`;
  const headers = { "content-type": "text/plain" };
  expect((await fetch(url(first.edge), { method: "PUT", headers })).status).toBe(201);
  expect((await fetch(url(first.edge), { method: "POST", headers, body: "still here" })).status).toBe(204);
  // Open on loopback, and for pages of loopback, alone.
  expect((await fetch(url(first.edge), { headers: { origin: "https://elsewhere.example" } })).status).toBe(401);
  expect(await first.stop()).toBe(0);
  await expect(fetch(url(first.edge))).rejects.toThrow();
  const second = await start();
  expect(await (await fetch(`${url(second.edge)}?offset=-1`)).text()).toBe("still here");
  expect(await second.stop()).toBe(0);
}, 120_000);
