/** `npx tidemark` against an edge in real workerd: tokens, follows, appends that are killed, exports. */
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createReadStream, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { createInterface } from "node:readline";
import { buffer } from "node:stream/consumers";
import { afterAll, beforeAll, expect, it } from "vitest";
import { feed } from "../../../cli/feed.ts";
import { recordsOfLines } from "../../../cli/inputs.ts";
import type { LogTarget } from "../../../cli/target.ts";
import { openTarget } from "../../../cli/targets.ts";
import { connect } from "../../../src/client/index.ts";
import { Program } from "../../cli/program.ts";
import { kafkaFetch } from "../../golden/kafkajs.ts";
import { batchAt, range, timeAt } from "../../support/kafka-batches.ts";
import { releaseKernel } from "../../support/kernels.ts";
import { type LocalWorker, startWorker } from "../local-worker.ts";

const SECRET = "a secret of at least thirty-two characters";
let worker: LocalWorker;
let env: { readonly TIDEMARK_TOKEN: string };
const program = new Program();

beforeAll(async () => {
  await program.build();
  worker = await startWorker({ settings: { TIDEMARK_JWT_SECRETS: SECRET } });
  env = { TIDEMARK_TOKEN: program.good(["token", "--secret", SECRET]).trim() };
});
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

it("lists the topics that the token may read, page by page", async () => {
  const names = ["lists/a", "lists/b c", "lists/ü", "other"];
  for (const name of names) await program.goodBeside(["append", worker.url, name, "-q"], { input: lines(1), env });
  const all = JSON.parse(await program.goodBeside(["topics", worker.url, "--json"], { env })) as string[];
  expect(all).toEqual(expect.arrayContaining(names));
  const scoped = { TIDEMARK_TOKEN: program.good(["token", "--secret", SECRET, "--scope", "read:lists/*"]).trim() };
  expect(await program.goodBeside(["topics", worker.url], { env: scoped })).toBe("lists/a\nlists/b c\nlists/ü\n");
  const page = async (query: string): Promise<unknown> => {
    const headers = { authorization: `Bearer ${env.TIDEMARK_TOKEN}` };
    const answer = await fetch(`${worker.url}/v1/stream/__ds/streams${query}`, { headers });
    return answer.status === 200 ? answer.json() : answer.status;
  };
  expect(await page("?after=lists/a&limit=2")).toEqual({ streams: names.slice(1, 3), next: "lists/ü" });
  expect(await Promise.all(["?limit=0", "?limit=1001", "?limit=x"].map(page))).toEqual([400, 400, 400]);
  expect((await fetch(`${worker.url}/v1/stream/__ds/streams`)).status).toBe(401);
  // What is deleted is not listed.
  const headers = { authorization: `Bearer ${env.TIDEMARK_TOKEN}` };
  await fetch(`${worker.url}/v1/stream/lists/a`, { method: "DELETE", headers });
  expect(await program.goodBeside(["topics", worker.url], { env: scoped })).toBe("lists/b c\nlists/ü\n");
  expect(await program.beside(["info", worker.url, "lists/a"], { env: scoped })).toMatchObject({
    status: 1,
    stderr: expect.stringMatching(/there is no topic lists\/a .*; there are lists\/b c, lists\/ü/) as string,
  });
});

it("a stream's content type comes along with its segments, whatever its first values look like", async () => {
  const put = async (name: string, type: string, ...bodies: (string | Uint8Array)[]) => {
    const headers = { authorization: `Bearer ${env.TIDEMARK_TOKEN}`, "content-type": type };
    await fetch(`${worker.url}/v1/stream/${name}`, { method: "PUT", headers });
    for (const body of bodies)
      await fetch(`${worker.url}/v1/stream/${name}`, { method: "POST", headers, body: body as BodyInit });
  };
  const typeOf = async (name: string): Promise<unknown> =>
    (JSON.parse(await program.goodBeside(["info", worker.url, name, "--json"], { env })) as { contentType: string })
      .contentType;
  for (const [name, type, ...bodies] of [
    ["types/text", "text/plain; charset=utf-8", "42", "no JSON"],
    ["types/json", "application/json", "1"],
    ["types/bytes", "application/octet-stream", "42", Uint8Array.of(0xff)],
  ] as const) {
    await put(name, type, ...bodies);
    await program.goodBeside(["export", worker.url, name, name, "--to", "kafka"], { env });
    await program.goodBeside(["import", worker.url, `${name}-copy`, name], { env });
    await program.goodBeside(["import", worker.url, `${name}-added`, name, "--append"], { env });
    expect([await typeOf(`${name}-copy`), await typeOf(`${name}-added`)]).toEqual([type, type]);
    expect(await program.goodBeside(["export", worker.url, `${name}-copy`], { env })).toBe(
      await program.goodBeside(["export", worker.url, name], { env }),
    );
    expect((await program.beside(["verify", name])).status).toBe(0);
  }
});

it("exports segments that kafkajs reads, headers and all", async () => {
  const input = Array.from(
    { length: 30 },
    (_, n) => `{"key":"k${n}","value":${n},"timestamp":${1e12 + n},"headers":{"n":"${n}","a":"ü"}}\n`,
  );
  for (const part of [input.slice(0, 20), input.slice(20)])
    await program.goodBeside(["append", worker.url, "headed"], { input: part.join(""), env });
  await program.goodBeside(["export", worker.url, "headed", "headed"], { env });
  const [log] = readdirSync(program.path("headed")).filter((name) => name.endsWith(".log"));
  const seen = await kafkaFetch(readFileSync(program.path("headed", log!)));
  expect(
    seen.map(({ offset, timestamp, key, value, headers }) => [
      ...[offset, timestamp].map(Number),
      ...[key, value, headers["n"], headers["a"]].map(String),
    ]),
  ).toEqual(upTo(30).map((n) => [n, 1e12 + n, `k${n}`, String(n), String(n), "ü"]));
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
    stderr: "offsets 0 to 2 are gone; short has offsets 2 to 5\n",
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

it.each(["append", "import"])("an %s that is killed again and again has each record once", async (command) => {
  const COUNT = 4000;
  const input = lines(COUNT);
  program.write("killed.ndjson", input);
  const how = command === "append" ? ["--state", "killed.state"] : ["killed.ndjson"];
  let kills = 0;
  for (let code: number | null = null; code !== 0;) {
    const child = program.start([command, worker.url, `killed-${command}`, ...how, "--acks"], env);
    const ended = once(child, "exit");
    child.stdin!.on("error", () => undefined);
    child.stdin!.end(command === "append" ? input : "");
    let acks = 0;
    for await (const _ of createInterface({ input: child.stdout! })) if (++acks === 2) child.kill("SIGKILL");
    code = ((await ended) as [number | null])[0];
    kills += code === null ? 1 : 0;
    expect(code === null || code === 0).toBe(true);
  }
  expect(kills).toBeGreaterThan(1);
  expect(numbersIn(await program.goodBeside(["export", worker.url, `killed-${command}`], { env }))).toEqual(
    upTo(COUNT),
  );
});

const tokenOf = (scope: string) => ({
  TIDEMARK_TOKEN: program.good(["token", "--secret", SECRET, "--scope", scope]).trim(),
});
const infoOf = async (topic: string): Promise<unknown> =>
  JSON.parse(await program.goodBeside(["info", worker.url, topic, "--json"], { env }));

it("a token that may only append makes a topic, and goes on with it; so does tidemark/client", async () => {
  const weak = tokenOf("write:**");
  for (const input of ["one\n", "one\ntwo\n"])
    await program.goodBeside(["append", worker.url, "logs/app", "--as", "text", "--state", "app.state"], {
      input,
      env: weak,
    });
  expect(await infoOf("logs/app")).toMatchObject({ end: 2, contentType: "text/plain" });
  for (const transport of ["http", "auto"] as const) {
    await using edge = connect(worker.url, { token: weak.TIDEMARK_TOKEN, transport });
    const topic = edge.topic<string>(`logs/${transport}`, { serializer: "text" });
    expect([(await topic.append({ value: "a" })).offset, (await topic.append({ value: "b" })).offset]).toEqual([0, 1]);
    expect(await infoOf(`logs/${transport}`)).toMatchObject({ end: 2, contentType: "text/plain" });
    await expect(edge.topic("logs/never", { create: false }).append({ value: 1 })).rejects.toMatchObject({
      code: "UNKNOWN_TOPIC",
    });
  }
});

it("a topic is made by another token, and where a first process was killed before it made it", async () => {
  program.write("new.ndjson", lines(3));
  const args = ["import", worker.url, "new", "new.ndjson"];
  const refused = await program.beside(args, { env: tokenOf("read:**") });
  expect([refused.status, refused.stderr]).toEqual([1, expect.stringContaining("token")]);
  const target = await openTarget(worker.url, { access: "create", token: env.TIDEMARK_TOKEN });
  const killed = Object.assign(Object.create(target) as LogTarget, {
    where: target.where,
    kernel: target.kernel,
    batchBytesMax: target.batchBytesMax,
    end: () => target.end("new"),
    append: () => Promise.reject(new Error("killed")),
  });
  const input = recordsOfLines(createReadStream(program.path("new.ndjson")), "records");
  const state = program.path("new.ndjson.tidemark-import.json");
  const feeding = feed({ target: killed, topic: "new", input, state, signal: new AbortController().signal });
  await expect(feeding).rejects.toThrow("killed");
  await target.close();
  expect(readFileSync(state, "utf8")).toContain('"pending":');
  await program.goodBeside(args, { env });
  expect(numbersIn(await program.goodBeside(["export", worker.url, "new"], { env }))).toEqual(upTo(3));
});

it("a record that the edge refuses is mended, and those before it are not appended again", async () => {
  const text = (bad: string): string => `${lines(600)}${bad}\n${lines(1)}`;
  const args = ["append", worker.url, "mended", "--state", "mended.state"];
  const refused = await program.beside(args, { input: text('{"valueText":"no JSON"}'), env });
  expect([refused.status, refused.stderr]).toEqual([1, expect.stringContaining("one JSON message")]);
  const { appended, pending } = JSON.parse(readFileSync(program.path("mended.state"), "utf8")) as {
    appended: number;
    pending?: unknown;
  };
  expect([appended > 0, pending]).toEqual([true, undefined]);
  await program.goodBeside(args, { input: text('{"value":{"n":7}}'), env });
  const found = numbersIn(await program.goodBeside(["export", worker.url, "mended"], { env }));
  expect(found).toEqual([...upTo(600), 7, 0]);
});

it("the first batch decides a new topic's type, and its lines come back unchanged", async () => {
  const KINDS = [
    ["json", "application/json", '{"value":{ "n": 9007199254740993, "big":1e400}}'],
    ["text", "text/plain", '{"valueText":"no JSON"}'],
    ["bytes", "application/octet-stream", '{"valueBase64":"gP8="}'],
  ] as const;
  for (const [topic, type, line] of KINDS) {
    await program.goodBeside(["append", "kinds", topic], { input: `{"value":null}\n${line}\n` });
    await program.goodBeside(["export", "kinds", topic, `${topic}.ndjson`]);
    await program.goodBeside(["import", worker.url, `kinds/${topic}`, `${topic}.ndjson`], { env });
    expect(await infoOf(`kinds/${topic}`)).toMatchObject({ end: 2, contentType: type });
    const exported = readFileSync(program.path(`${topic}.ndjson`), "utf8");
    expect(exported).toContain(line.slice(1, -1));
    expect(await program.goodBeside(["export", worker.url, `kinds/${topic}`], { env })).toBe(exported);
  }
});

it("segments keep their offsets from a folder to the edge and back", async () => {
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

it("an import that keeps offsets is killed at each piece, and shows nothing before the end", async () => {
  const kernel = await releaseKernel();
  const FILES = 7;
  mkdirSync(program.path("pieces"));
  // A piece is of one file.
  for (let i = 0; i < FILES; i++) program.write(`pieces/${i}.log`, batchAt(kernel, 50 + 3 * i, 3, 1000, true));
  let child: ChildProcess | undefined;
  let pieces = 0;
  const kill = async (): Promise<void> => {
    const ended = once(child!, "exit");
    child!.kill("SIGKILL");
    await ended;
  };
  /** Each life has its second piece killed: before the edge has it, or when the edge has taken it. */
  const between = createServer((request, response) => {
    void (async () => {
      const body = await buffer(request);
      const isPiece = request.headers["content-type"]?.includes("piece") && ++pieces % 2 === 0;
      if (isPiece && pieces % 4 === 0) return kill();
      const { method = "", url = "", headers } = request;
      const { connection: _, host: _host, ...passed } = headers as Record<string, string>;
      const answer = await fetch(worker.url + url, { method, headers: passed, ...(body.length > 0 && { body }) });
      const bytes = Buffer.from(await answer.arrayBuffer());
      if (isPiece) return kill();
      const { "content-encoding": _coding, ...said } = Object.fromEntries(answer.headers);
      response.writeHead(answer.status, said).end(bytes);
    })().catch((thrown: unknown) => response.destroy(thrown as Error));
  }).listen(0, "127.0.0.1");
  await once(between, "listening");
  const address = `http://127.0.0.1:${(between.address() as AddressInfo).port}`;
  const ends: (readonly [number | null, string | null])[] = [];
  do {
    child = program.start(["import", address, "pieces", "pieces"], env);
    const ended = once(child, "exit") as Promise<[number | null, string | null]>;
    child.stdin!.end();
    ends.push(await ended);
    if (ends.at(-1)![1] !== null) expect(await infoOf("pieces")).toMatchObject({ start: 0, end: 0 });
  } while (ends.at(-1)![1] === "SIGKILL");
  between.close();
  // Two lives after one another get three pieces through.
  expect(ends).toEqual([...Array.from({ length: 4 }, () => [null, "SIGKILL"]), [0, null]]);
  expect(await infoOf("pieces")).toMatchObject({ start: 50, end: 50 + 3 * FILES });
  const offsets = await program.goodBeside(["tail", worker.url, "pieces", "-o", "earliest", "--format", "%o:%t "], {
    env,
  });
  expect(offsets).toBe(
    range(50, 50 + 3 * FILES)
      .map((offset) => `${offset}:${timeAt(offset)} `)
      .join(""),
  );
});

it("an import that keeps offsets needs the right admin", async () => {
  const token = program.good(["token", "--secret", SECRET, "--scope", "read:** write:**"]).trim();
  const refused = await program.beside(["import", worker.url, "mine", "part"], { env: { TIDEMARK_TOKEN: token } });
  expect([refused.status, refused.stderr]).toEqual([1, expect.stringContaining("admin")]);
});
