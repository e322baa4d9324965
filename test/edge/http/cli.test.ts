/** `npx tidemark` against an edge in real workerd: tokens, follows, appends that are killed, exports. */
import { once } from "node:events";
import { mkdirSync, readdirSync, readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Program } from "../../cli/program.ts";
import { type LocalWorker, startWorker } from "../local-worker.ts";

const SECRET = "a secret of at least thirty-two characters";
let worker: LocalWorker;
let env: { readonly TIDEMARK_TOKEN: string };
const program = new Program();

beforeAll(async () => {
  await program.build();
  worker = await startWorker({ settings: { TIDEMARK_JWT_SECRETS: SECRET } });
  env = { TIDEMARK_TOKEN: program.good(["token", "--secret", SECRET]).trim() };
}, 60_000);
afterAll(async () => {
  await worker.stop();
  program.remove();
});

const lines = (count: number): string =>
  Array.from(
    { length: count },
    (_, n) => `{"key":"k${n % 3}","value":{"n":${n},"text":"${"x".repeat(n % 700)}"}}\n`,
  ).join("");
const numbersIn = (text: string): number[] =>
  text
    .split("\n")
    .slice(0, -1)
    .map((line) => (JSON.parse(line) as { value: { n: number } }).value.n);
const upTo = (count: number): number[] => Array.from({ length: count }, (_, n) => n);

it("refuses without a token, and says so in one line", async () => {
  const refused = await program.beside(["info", worker.url, "orders"]);
  expect([refused.status, refused.stderr]).toEqual([1, expect.stringMatching(/token/)]);
  expect(refused.stderr.trim().split("\n").length).toBe(1);
  expect(await program.beside(["info", worker.url, "orders"], { env })).toMatchObject({ status: 1 });
});

it("appends, shows, exports and imports; offsets and bytes are those of a folder", async () => {
  const args = [worker.url, "teams/1/orders"];
  await program.goodBeside(["append", ...args], { input: lines(2000), env });
  expect(JSON.parse(await program.goodBeside(["info", ...args, "--json"], { env }))).toMatchObject({
    start: 0,
    end: 2000,
    contentType: "application/json",
  });
  expect(numbersIn(await program.goodBeside(["tail", ...args, "-o", "-3", "--json"], { env }))).toEqual([
    1997, 1998, 1999,
  ]);
  await program.goodBeside(["export", ...args, "edge.ndjson"], { env });
  await program.goodBeside(["export", ...args, "segments"], { env });
  const exported = readFileSync(program.path("edge.ndjson"), "utf8");
  expect(numbersIn(exported)).toEqual(upTo(2000));
  await program.goodBeside(["import", "folder", "orders", "segments"]);
  expect(await program.goodBeside(["export", "folder", "orders"])).toBe(exported);
  await program.goodBeside(["import", worker.url, "copy", "segments"], { env });
  expect(await program.goodBeside(["export", worker.url, "copy"], { env })).toBe(exported);
  expect(await program.beside(["append", ...args, "--expect", "5"], { input: lines(1), env })).toMatchObject({
    status: 1,
    stderr: expect.stringContaining("OFFSET_CONFLICT") as string,
  });
});

it("follows, and ends well when it is interrupted", async () => {
  await program.goodBeside(["append", worker.url, "live", "--as", "text", "-q"], { input: "one\n", env });
  const tail = program.start(["tail", worker.url, "live", "-o", "earliest", "-f", "--format", "%v\\n"], env);
  const seen: string[] = [];
  const ended = once(tail, "exit");
  for await (const line of createInterface({ input: tail.stdout! })) {
    seen.push(line);
    if (line === "one")
      await program.goodBeside(["append", worker.url, "live", "--as", "text", "-q"], { input: "two\n", env });
    if (line === "two") tail.kill("SIGINT");
  }
  expect([seen, await ended]).toEqual([
    ["one", "two"],
    [130, null],
  ]);
});

it("trims by an offset and a time, with the right admin alone", async () => {
  const args = [worker.url, "short"];
  const T0 = 1_764_400_000_000;
  const input = [0, 1, 2, 3, 4].map((n) => `{"value":{"n":${n}},"timestamp":${T0 + n}}\n`).join("");
  await program.goodBeside(["append", ...args], { input, env });
  const scope = "read:** write:**";
  const weak = { TIDEMARK_TOKEN: program.good(["token", "--secret", SECRET, "--scope", scope]).trim() };
  const refused = await program.beside(["trim", ...args, "--before", "2"], { env: weak });
  expect([refused.status, refused.stderr]).toEqual([1, expect.stringMatching(/admin[^\n]*tidemark token makes one/)]);
  expect(await program.beside(["trim", ...args, "--before", "2"], { env })).toEqual({
    status: 0,
    stdout: "",
    stderr: "offsets 0 to 1 are gone; short has offsets 2 to 5\n",
  });
  const time = new Date(T0 + 4).toISOString();
  expect(await program.goodBeside(["trim", ...args, "--before", time, "--json"], { env })).toBe(
    '{"topic":"short","start":4,"end":5}\n',
  );
  expect(numbersIn(await program.goodBeside(["export", ...args], { env }))).toEqual([4]);
  expect(await program.beside(["trim", ...args, "--before", "9"], { env })).toMatchObject({ status: 1 });
});

it("benches an edge, and deletes its topic, or says that it may not", async () => {
  const args = ["bench", worker.url, "--records", "20", "--batch", "10", "--json", "edge.json"];
  const { status, stdout, stderr } = await program.beside(args, { env });
  expect([status, stdout]).toEqual([0, expect.stringContaining("a bare request")]);
  const { target, figures } = JSON.parse(readFileSync(program.path("edge.json"), "utf8")) as {
    target: string;
    figures: Record<string, number>;
  };
  expect(target).toBe("edge");
  for (const name of ["append.p99Ms", "append.ratio", "batches.recordsPerSecond", "read.mibPerSecond", "live.p50Ms"])
    expect(figures[name], name).toBeGreaterThan(0);
  const [, topic = ""] = /topic (tidemark-bench-\w+)/.exec(stderr) ?? [];
  expect(await program.beside(["info", worker.url, topic], { env })).toMatchObject({ status: 1 });
  const scope = "read:** write:**";
  const weak = { TIDEMARK_TOKEN: program.good(["token", "--secret", SECRET, "--scope", scope]).trim() };
  const left = await program.beside(["bench", worker.url, "--records", "10"], { env: weak });
  expect([left.status, left.stdout, left.stderr]).toEqual([
    1,
    expect.stringContaining("a bare request"),
    expect.stringMatching(/topic tidemark-bench-\w+ could not be deleted/),
  ]);
});

it("an append that is killed again and again has each record once", async () => {
  const COUNT = 4000;
  const input = lines(COUNT);
  let kills = 0;
  for (let code: number | null = null; code !== 0;) {
    const child = program.start(["append", worker.url, "killed", "--state", "killed.state", "--acks"], env);
    const ended = once(child, "exit");
    child.stdin!.on("error", () => undefined);
    child.stdin!.end(input);
    let acks = 0;
    for await (const _ of createInterface({ input: child.stdout! })) if (++acks === 2) child.kill("SIGKILL");
    code = ((await ended) as [number | null])[0];
    kills += code === null ? 1 : 0;
    expect(code === null || code === 0).toBe(true);
  }
  expect(kills).toBeGreaterThan(1);
  expect(numbersIn(await program.goodBeside(["export", worker.url, "killed"], { env }))).toEqual(upTo(COUNT));
});

it("segments keep their offsets from a folder to the edge and back, also when the import is killed", async () => {
  await program.goodBeside(["append", "source", "orders"], { input: lines(3000) });
  await program.goodBeside(["export", "source", "orders", "out"]);
  const args = [worker.url, "kept"];
  const logsIn = (folder: string): Buffer =>
    Buffer.concat(
      readdirSync(program.path(folder))
        .filter((name) => name.endsWith(".log"))
        .sort()
        .map((name) => readFileSync(program.path(folder, name))),
    );
  // A part of the topic: its offsets do not begin at 0.
  const log = logsIn("out");
  const cut = log.readInt32BE(8) + 12;
  mkdirSync(program.path("part"));
  program.write("part/a.log", log.subarray(cut));
  const from = Number(log.readBigInt64BE(cut));
  const child = program.start(["import", ...args, "part"], env);
  child.stdin!.end();
  // The first bytes of the edge's answers have come: the import is under way, or through.
  await expect
    .poll(async () => (await program.beside(["info", ...args, "--json"], { env })).status, { timeout: 30_000 })
    .toBe(0);
  child.kill("SIGKILL");
  await program.goodBeside(["import", ...args, "part"], { env });
  await program.goodBeside(["import", ...args, "part"], { env });
  expect(JSON.parse(await program.goodBeside(["info", ...args, "--json"], { env }))).toMatchObject({
    start: from,
    end: 3000,
    contentType: "application/json",
  });
  await program.goodBeside(["export", ...args, "back"], { env });
  expect(logsIn("back").equals(log.subarray(cut))).toBe(true);
  await program.goodBeside(["append", ...args], { input: lines(1), env });
  const refused = await program.beside(["import", ...args, "out"], { env });
  expect([refused.status, refused.stderr]).toEqual([1, expect.stringContaining("--append")]);
});

it("an import that keeps offsets needs the right admin", async () => {
  const token = program.good(["token", "--secret", SECRET, "--scope", "read:** write:**"]).trim();
  const refused = await program.beside(["import", worker.url, "mine", "part"], { env: { TIDEMARK_TOKEN: token } });
  expect([refused.status, refused.stderr]).toEqual([1, expect.stringContaining("admin")]);
});
