/**
 * `npm start` as a visitor runs it: the playground and the edge, on loopback. What was appended is still there after
 * the next start.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:net";
import os from "node:os";
import path from "node:path";
import { afterAll, expect, onTestFinished, test } from "vitest";

const root = process.cwd();
const state = mkdtempSync(path.join(os.tmpdir(), "tidemark-start-"));
afterAll(() => rmSync(state, { recursive: true, force: true, maxRetries: 5 }));

interface Started {
  readonly child: ChildProcess;
  readonly edge: string;
  readonly playground: string;
  readonly said: () => string;
  stop(): Promise<number | null>;
}

/** `npm start` with these arguments; `options` are Node's. */
function run(args: readonly string[], options: readonly string[] = []): ChildProcess {
  const command = [...options, path.join(root, "tools/run/run.mjs"), "start", "--state", state, ...args];
  const child = spawn(process.execPath, command, { cwd: root, stdio: ["ignore", "pipe", "pipe"] });
  // Ends a process that a failed test leaves behind.
  onTestFinished(() => void child.kill("SIGKILL"));
  return child;
}

async function start(...args: string[]): Promise<Started> {
  const child = run(args);
  let said = "";
  const found = await new Promise<[string, string]>((resolve, reject) => {
    const look = (chunk: Buffer): void => {
      said += chunk.toString();
      const edge = /Tidemark edge: (http:\/\/127\.0\.0\.1:\d+)\//.exec(said)?.[1];
      const playground = /Tidemark playground: (http:\/\/127\.0\.0\.1:\d+\/)/.exec(said)?.[1];
      // The last line that it prints is the command that reads what was appended.
      const isWhole = /curl '[^']+'/.test(said);
      if (/The edge did not start/.test(said)) reject(new Error(said));
      if (edge !== undefined && playground !== undefined && isWhole) resolve([edge, playground]);
    };
    child.stdout!.on("data", look);
    child.stderr!.on("data", look);
    child.once("exit", (code) => reject(new Error(`npm start ended with exit code ${code}: ${said}`)));
  });
  const stop = (): Promise<number | null> => {
    const exit = new Promise<number | null>((resolve) => child.once("exit", resolve));
    child.kill("SIGTERM");
    return exit;
  };
  return { child, edge: found[0], playground: found[1], said: () => said, stop };
}

test("start, append by HTTP, stop, start, read", async () => {
  const first = await start("--port", "0", "--edge-port", "0");
  expect(await (await fetch(first.playground)).text()).toContain("<html");
  const url = (edge: string): string => `${edge}/v1/stream/start/test`;
  const headers = { "content-type": "text/plain" };
  expect((await fetch(url(first.edge), { method: "PUT", headers })).status).toBe(201);
  expect((await fetch(url(first.edge), { method: "POST", headers, body: "still here" })).status).toBe(204);
  // Access is open only on loopback, and only for pages from loopback.
  expect((await fetch(url(first.edge), { headers: { origin: "https://elsewhere.example" } })).status).toBe(401);
  expect(await first.stop()).toBe(0);
  await expect(fetch(url(first.edge))).rejects.toThrow();
  const second = await start("--port", "0", "--edge-port", "0");
  expect(await (await fetch(`${url(second.edge)}?offset=-1`)).text()).toBe("still here");
  expect(await second.stop()).toBe(0);
});

/** Ends the process by a signal while it prints this line. */
const endsAt = (line: string): string[] => [
  "--import",
  `data:text/javascript,const log = console.log; console.log = (...said) => {
     log(...said);
     if (String(said[0]).startsWith(${JSON.stringify(line)})) process.kill(process.pid, "SIGTERM");
   };`.replaceAll("\n", ""),
];

test.each(["Building", "Tidemark playground:"])(
  "a signal at the moment of “%s …” ends it",
  async (line) => {
    const child = run(["--no-edge", "--port", "0"], endsAt(line));
    expect(await new Promise((resolve) => child.once("exit", resolve))).toBe(0);
  },
  120_000,
);

/** Occupies a port. Undefined when another program has it already, which serves as well. */
const take = (port: number): Promise<Server | undefined> =>
  new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(undefined));
    server.listen(port, "127.0.0.1", () => resolve(server));
  });

test("when its ports are occupied it says which it uses instead, and the printed commands work", async () => {
  const taken = [await take(4173), await take(8787)];
  try {
    const { edge, playground, said, stop } = await start();
    expect(said()).toMatch(/Port 4173 is taken; the playground takes \d+\./);
    expect(said()).toMatch(/Port 8787 is taken; the edge takes \d+\./);
    expect([edge, playground]).not.toEqual(["http://127.0.0.1:8787", "http://127.0.0.1:4173/"]);
    const lines = [...said().matchAll(/curl -X (\w+) (\S+) -H '([^:]+): ([^']+)'(?: -d '([^']*)')?/g)];
    const answers = [];
    for (const [, method, url, name, value, body] of lines) {
      answers.push(
        (await fetch(url!, { method: method!, headers: { [name!]: value! }, ...(body !== undefined && { body }) }))
          .status,
      );
    }
    expect(answers).toEqual([201, 204]);
    const [, url] = /curl '([^']+)'/.exec(said()) ?? [];
    expect(await (await fetch(url!)).text()).toBe("one more ");
    // The playground's page gets the edge's address, and may send requests to it.
    expect(await (await fetch(`${playground}edge.json`)).json()).toEqual({ url: edge });
    const origin = new URL(playground).origin;
    const read = await fetch(url!, { headers: { origin } });
    expect(read.headers.get("access-control-allow-origin")).toMatch(new RegExp(`^(\\*|${origin})$`));
    // A second start at the same time, over the same folder.
    const second = run(["--port", "0", "--edge-port", "0"]);
    let refusal = "";
    await new Promise<void>((resolve) => {
      const look = (chunk: Buffer): void => {
        refusal += chunk.toString();
        if (/did not start/.test(refusal) && /playground: /.test(refusal)) resolve();
      };
      second.stdout!.on("data", look);
      second.once("exit", () => resolve());
    });
    expect(refusal).toMatch(/in use by process \d+; name another folder with --state/);
    const ended = new Promise((resolve) => second.once("exit", resolve));
    second.kill("SIGTERM");
    await ended;
    expect(await stop()).toBe(0);
  } finally {
    for (const server of taken) server?.close();
  }
});

test("a port that was named and is occupied is refused, and the message names the next free one", async () => {
  const server = await new Promise<Server>((resolve) => {
    const made = createServer();
    made.listen(0, "127.0.0.1", () => resolve(made));
  });
  const { port } = server.address() as { port: number };
  const child = run(["--no-edge", "--port", String(port)]);
  let said = "";
  child.stderr!.on("data", (chunk: Buffer) => (said += chunk.toString()));
  const code = await new Promise((resolve) => child.once("close", resolve));
  server.close();
  expect(said).toMatch(new RegExp(`^Port ${port} for the playground is taken\\. Free from there on: \\d+\\.$`, "m"));
  expect(code).toBe(1);
});
