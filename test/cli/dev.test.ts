/**
 * `npx tidemark dev`: what no request and no interrupt may do to it. Wrangler is a stand-in here that serves nothing;
 * with the real one, and in a browser, it runs in test/package/dev.test.ts.
 */
import { once } from "node:events";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { createServer, type IncomingMessage, request } from "node:http";
import { type AddressInfo, createServer as createSocketServer, type Server, type Socket } from "node:net";
import path from "node:path";
import { createInterface } from "node:readline";
import type { ChildProcess } from "node:child_process";
import { afterAll, expect, it, onTestFinished } from "vitest";
import { portFor } from "../../cli/commands/dev.ts";
import { deviceLinks } from "../../cli/device-links.ts";
import { Program } from "./program.ts";

const program = await new Program().build();
afterAll(() => program.remove());
for (const name of [".package/dist/playground/index.html", "node_modules/wrangler/stand-in.mjs"])
  mkdirSync(path.dirname(program.path(name)), { recursive: true });
program.write(".package/dist/playground/index.html", "<title>the playground</title>");
program.write("node_modules/wrangler/package.json", JSON.stringify({ bin: { wrangler: "stand-in.mjs" } }));
// Tells of an interrupt, and does not end by it.
program.write(
  "node_modules/wrangler/stand-in.mjs",
  `import { appendFileSync, readFileSync } from "node:fs";
import { connect } from "node:net";
const { OCCUPIED_TIMES = "0", STARTS = "" } = process.env;
if (STARTS) appendFileSync(STARTS, "x");
if (STARTS && readFileSync(STARTS).length <= Number(OCCUPIED_TIMES)) {
  console.error("Address already in use (127.0.0.1:8787).");
  process.exit(1);
}
const socket = connect(Number(process.env.LISTENER), "127.0.0.1", () => console.log("Ready on http://127.0.0.1"));
process.on("SIGINT", () => socket.write("interrupted"));
socket.on("close", () => process.exit());
`,
);

/** The address in the line that says this. */
async function addressOf(child: ChildProcess, what: string): Promise<string> {
  for await (const line of createInterface({ input: child.stdout! }))
    if (line.includes(what)) return /^http:\S+/.exec(line)![0];
  throw new Error("it ended before it said where it is");
}

async function statusOf(url: string, wanted: string): Promise<number> {
  const asked = request(url, { path: wanted }).end();
  const [answer] = (await once(asked, "response")) as [IncomingMessage];
  answer.resume();
  return answer.statusCode!;
}

async function listening(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void server.close());
  return (server.address() as AddressInfo).port;
}

it("refuses paths that are none, and goes on", async () => {
  const child = program.start(["dev", "--alone"]);
  const url = await addressOf(child, "the playground");
  for (const wrong of ["//", "//?whole=no", "/%"]) expect(await statusOf(url, wrong), wrong).toBe(400);
  expect(await statusOf(url, "/links.json?")).toBe(200);
  expect(await (await fetch(url)).text()).toContain("the playground");
  const ended = once(child, "exit");
  child.kill("SIGINT");
  expect(await ended).toEqual([130, null]);
});

it("leaves no Wrangler behind when the second interrupt ends it at once", async () => {
  const sockets: Socket[] = [];
  const listener = createSocketServer((socket) => void sockets.push(socket));
  const port = await listening(listener);
  onTestFinished(() => sockets.forEach((socket) => socket.destroy()));
  const child = program.start(["dev"], { LISTENER: String(port) });
  await addressOf(child, "an edge");
  expect(readFileSync(program.path(".tidemark/.gitignore"), "utf8")).toBe("*\n");
  const [wrangler] = sockets;
  const gone = once(wrangler!, "close");
  const ended = once(child, "exit");
  child.kill("SIGINT");
  expect(String((await once(wrangler!, "data"))[0])).toBe("interrupted");
  child.kill("SIGINT");
  expect(await ended).toEqual([130, null]);
  wrangler!.resume();
  await gone;
});

it.each([
  [2, [], "an edge", 3],
  [3, [], "Address already in use", 3],
  [1, ["--port", "0"], "Address already in use", 1],
])("finds its port taken %i times by the time it is used (%j): %s", async (times, options, said, starts) => {
  const free = createSocketServer();
  const named = String(await listening(free));
  free.close();
  await once(free, "close");
  const listener = createSocketServer((socket) => void onTestFinished(() => void socket.destroy()));
  const file = program.path(`starts-${times}`);
  const args = options.map((option) => (option === "0" ? named : option));
  const child = program.start(["dev", "--folder", `taken-${times}`, ...args], {
    LISTENER: String(await listening(listener)),
    OCCUPIED_TIMES: String(times),
    STARTS: file,
  });
  let heard = "";
  for (const stream of [child.stdout!, child.stderr!])
    stream.on("data", (chunk: Buffer) => (heard += chunk.toString()));
  const ended = once(child, "close");
  await expect.poll(() => heard, { timeout: 20_000 }).toContain(said);
  child.kill("SIGKILL");
  await ended;
  expect(readFileSync(file, "utf8").length).toBe(starts);
});

it("leaves a folder that was there without rules of git", async () => {
  const sockets: Socket[] = [];
  const listener = createSocketServer((socket) => void sockets.push(socket));
  const port = await listening(listener);
  onTestFinished(() => sockets.forEach((socket) => socket.destroy()));
  mkdirSync(program.path("there"));
  const child = program.start(["dev", "--folder", "there"], { LISTENER: String(port) });
  await addressOf(child, "an edge");
  const found = ["worker.js", ".gitignore"].map((name) => existsSync(program.path("there", name)));
  const ended = once(child, "exit");
  child.kill("SIGINT");
  await once(sockets[0]!, "data");
  child.kill("SIGINT");
  await ended;
  expect(found).toEqual([true, false]);
});

it("refuses one port for both, and chooses none that is asked for the other", async () => {
  const both = program.run(["dev", "--port", "9137", "--playground-port", "9137"]);
  expect([both.status, both.stderr]).toEqual([2, expect.stringContaining("must differ")]);
  const server = createSocketServer();
  const port = await listening(server);
  server.close();
  await once(server, "close");
  // It is free until the edge has begun, so a look at it alone tells nothing.
  expect(await portFor("playground-port", undefined, port, port)).toBeGreaterThan(port);
});

it("ends a device's answer where the edge goes away in the middle of it", async () => {
  const edge = createServer((_, answer) => {
    answer.writeHead(200, { "content-length": 100 });
    answer.write("half", () => answer.destroy());
  });
  const url = `http://127.0.0.1:${await listening(edge)}`;
  const front = createServer((asked, answer) => handler!(asked, answer, () => answer.writeHead(404).end()));
  let handler: Parameters<
    Parameters<ReturnType<typeof deviceLinks>["configurePreviewServer"]>[0]["middlewares"]["use"]
  >[0];
  deviceLinks({ url }).configurePreviewServer({
    middlewares: { use: (given) => void (handler = given) },
    httpServer: front,
  });
  const answer = await fetch(`http://127.0.0.1:${await listening(front)}/link/phone/v1/orders`);
  expect(answer.status).toBe(200);
  await expect(answer.text()).rejects.toThrow();
});
