/** What `npx tidemark` prints over a folder, and how it fails. */
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { gunzipSync, gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { tail } from "../../cli/commands/tail.ts";
import { loadKernel } from "../../src/kernel/load.ts";
import { decodeBatch, splitBatches } from "../../src/record/record-batch.ts";
import { kafkaFetch } from "../golden/kafkajs.ts";
import { kernelBytes } from "../support/kernels.ts";
import { told } from "./in-process.ts";
import { Program } from "./program.ts";

const program = await new Program().build();
afterAll(() => program.remove());

const BIN = program.path(".package", "bin", "tidemark.mjs");
const T0 = 1_764_400_000_000;
const RECORDS = [
  { offset: 0, timestamp: T0, key: "o-17", value: { total: 42 }, headers: { trace: "a1" } },
  { offset: 1, timestamp: T0 + 1, key: null, value: "text" },
  { offset: 2, timestamp: T0 + 2, key: "o-17", value: null },
  { offset: 3, timestamp: T0 + 3, key: "ü", valueText: "no JSON, \n two lines" },
  { offset: 4, timestamp: T0 + 4, keyBase64: "/w==", valueBase64: "gP8=" },
  {
    offset: 5,
    timestamp: T0 + 5,
    key: "h",
    value: 1.5,
    headers: [
      ["a", "1"],
      ["a", null],
      ["b", { base64: "/w==" }],
    ],
  },
  { offset: 6, timestamp: T0 + 6, key: "", valueText: "null" },
];
// Numbers keep their digits, and JSON its spaces.
const OWN = `{"offset":7,"timestamp":${T0 + 7},"key":"z","value":{ "spaced": 1.0, "n":9007199255550993,"big":1e999}}`;
const LINES = [...RECORDS.map((record) => JSON.stringify(record)), OWN];
const TEXT = `${LINES.join("\n")}\n`;
const TEXT_BYTES = Buffer.byteLength(TEXT);

beforeAll(() => {
  expect(program.run(["append", "data", "orders"], { input: TEXT })).toEqual({
    status: 0,
    stdout: "",
    stderr: "8 records appended; the log ends at 8\n",
  });
});

describe("a record as a line", () => {
  it("comes back without loss: JSON, other text, bytes, tombstones, headers", () => {
    expect(program.good(["tail", "data", "orders", "-o", "earliest", "--json"])).toBe(TEXT);
  });

  it("is shown on a terminal without its control characters, which that would obey", async () => {
    program.good(["append", "data", "controls", "-q"], {
      input: '{"key":"\\u001b]0;k","valueText":"a\\u001b[2J\\tb"}\n',
    });
    const shown = async (isTTY: boolean): Promise<string> => {
      const before = Object.getOwnPropertyDescriptor(process.stdout, "isTTY");
      Object.defineProperty(process.stdout, "isTTY", { value: isTTY, configurable: true });
      vi.stubEnv("NO_COLOR", "1");
      try {
        const { out, thrown } = await told(tail, [program.path("data"), "controls"], { offset: "earliest" });
        expect(thrown).toBeUndefined();
        return out.join("\n");
      } finally {
        vi.unstubAllEnvs();
        Object.defineProperty(process.stdout, "isTTY", before ?? { value: undefined, configurable: true });
      }
    };
    expect(await shown(true)).toMatch(/ \\x1b\]0;k a\\x1b\[2J\tb$/);
    expect(await shown(false)).toContain("a\u001b[2J\tb");
  });

  it("is a value or a text where the caller says so", () => {
    program.good(["append", "data", "plain", "--as", "json", "-q"], { input: '{"a":1}\n\n"x"\n' });
    program.good(["append", "data", "plain", "--as", "text", "-q"], { input: "a b\r\n\nlast" });
    const lines = program.good(["tail", "data", "plain", "--format", "%o|%v|%k\\n"]);
    expect(lines).toBe('0|{"a":1}|\n1|"x"|\n2|a b|\n3||\n4|last|\n');
  });

  it("of the edge is taken, too: JSON's null is no tombstone there", () => {
    const input = '{"offset":0,"timestamp":1,"key":null,"value":null,"tombstone":false}\n{"value":null}\n';
    program.good(["append", "data", "nulls", "-q"], { input });
    expect(program.good(["tail", "data", "nulls", "--format", "%s "])).toBe("4 -1 ");
  });

  it.each([
    ["{", /line 1 is no JSON/],
    ["7", /line 1 is no object.*--as json/],
    ['{"total":42}', /field "total".*--as json/],
    ['{"key":"a"}', /line 1 has no value/],
    ['{"value":1,"valueText":"a"}', /value and valueText/],
    ['{"value":1}\n{"value":1,"timestamp":"now"}', /line 2: timestamp/],
    ['{"value":1,"headers":{"a":1}}', /header a must be a text/],
    ['{"valueBase64":"*"}', /valueBase64 is no base64/],
    ['{"value":1}\n{"key":"\\ud800","value":1}', /line 2: key has half of a surrogate pair/],
    ['{"value":1,"headers":[["\\udc00","a"]]}', /line 1: a header's name has half/],
    ['{"value":1,"key":"a","keyBase64":"AA=="}', /line 1 has key and keyBase64/],
    ['{"value":1,"tombstone":true}', /line 1: tombstone is true beside a value/],
    [Buffer.from('{"value":1}\n{"value":"caf\xe9"}', "latin1"), /line 2 is not UTF-8.*valueBase64/],
  ])("that is wrong is named, and what is before it is appended: %s", (input, message) => {
    const { status, stderr } = program.run(["append", "wrong", "wrong"], { input });
    expect([status, stderr]).toEqual([1, expect.stringMatching(message)]);
    const isSecond = String(input).includes("\n");
    expect(stderr.includes("the record before it is appended")).toBe(isSecond);
    expect(program.run(["info", "wrong", "wrong"]).status).toBe(isSecond ? 0 : 1);
    rmSync(program.path("wrong"), { recursive: true, force: true });
  });
});

describe("tail", () => {
  const tail = (...args: string[]) =>
    program
      .good(["tail", "data", "orders", ...args])
      .split("\n")
      .slice(0, -1);

  it("begins where -o says, and prints the last ten without it", () => {
    expect(tail("--json")).toEqual(LINES);
    expect(tail("-o", "-2", "--json")).toEqual(LINES.slice(6));
    expect(tail("-o", "5", "--json")).toEqual(LINES.slice(5));
    expect(tail("--offset=latest")).toEqual([]);
    expect(tail("-o", new Date(T0 + 6).toISOString(), "--json")).toEqual(LINES.slice(6));
    expect(tail("-o", "earliest", "-n", "1", "--json")).toEqual(LINES.slice(0, 1));
  });

  it("keeps records with a key, and those that match", () => {
    expect(tail("-k", "o-17", "--json")).toEqual([LINES[0], LINES[2]]);
    expect(tail("--grep", "^\\{.*4", "--json")).toEqual([LINES[0]]);
  });

  it("prints lines for people, and what --format says", () => {
    expect(tail("-n", "3")).toEqual([
      '0 2025-11-29T07:06:40.000Z o-17 {"total":42} trace=a1',
      '1 2025-11-29T07:06:40.001Z "text"',
      "2 2025-11-29T07:06:40.002Z o-17 (tombstone)",
    ]);
    expect(tail("-n", "1", "--format", "%n %o %t %T %k %v %s %h %%\\n")).toEqual([
      `orders 0 ${T0} 2025-11-29T07:06:40.000Z o-17 {"total":42} 12 trace=a1 %`,
    ]);
  });

  it("has no colour where stdout is no terminal, and ends quietly when its reader has enough", () => {
    const { status, stderr } = spawnSync(
      "sh",
      [
        "-c",
        `"$0" "$1" tail data orders -o earliest | head -n 1`,
        process.execPath,
        program.path(".package/bin/tidemark.mjs"),
      ],
      { cwd: program.home, encoding: "utf8" },
    );
    expect([status, stderr]).toEqual([0, ""]);
  });
});

describe("info and topics", () => {
  it("print what is there", () => {
    expect(program.good(["topics", "data"])).toContain("orders\n");
    expect(JSON.parse(program.good(["topics", "data", "--json"]))).toContain("orders");
    const said = JSON.parse(program.good(["info", "data", "orders", "--json"])) as { segments: { bytes: number }[] };
    expect(said).toMatchObject({ topic: "orders", start: 0, end: 8 });
    expect(program.good(["info", "data", "orders"])).toBe(
      "orders: offsets 0 to 8, 8 of them\n" +
        `segment 0 to 8: active, 8 records, ${said.segments[0]!.bytes} bytes, last 2025-11-29T07:06:40.007Z\n`,
    );
  });
});

/** The program on a terminal of its own: what it draws there, in one stream. Undefined if nothing gives a terminal. */
function onTerminal(words: readonly string[], env: Readonly<Record<string, string>> = {}): string | undefined {
  const { NO_COLOR: _, ...others } = process.env;
  const command = [process.execPath, program.path(".package/bin/tidemark.mjs"), ...words].join(" ");
  const { error, stdout, status } = spawnSync("script", ["-qec", command, "/dev/null"], {
    cwd: program.home,
    encoding: "utf8",
    env: { ...others, TERM: "xterm", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  if (error !== undefined || status !== 0) return undefined;
  return stdout.replaceAll("\r\n", "\n");
}

describe.skipIf(spawnSync("script", ["-qec", "true", "/dev/null"], { stdio: "ignore" }).status !== 0)(
  "a terminal (by the command script)",
  () => {
    const tail = ["tail", "data", "orders", "-o", "0", "-n", "1"];
    const PLAIN = '0 2025-11-29T07:06:40.000Z o-17 {"total":42} trace=a1\n';

    it("gets colour, and nothing else does", () => {
      const [dim, cyan, end] = ["\u001b[2m", "\u001b[36m", "\u001b[0m"];
      expect(onTerminal(tail)).toBe(
        `${dim}0 2025-11-29T07:06:40.000Z${end} ${cyan}o-17${end} {"total":42} ${dim}trace=a1${end}\n`,
      );
      expect(onTerminal(tail, { NO_COLOR: "1" })).toBe(PLAIN);
      expect(onTerminal(tail, { TERM: "dumb" })).toBe(PLAIN);
      expect(onTerminal([...tail, "| cat"])).toBe(PLAIN);
    });

    it("sees how far an export and an import are, and then what was done", () => {
      const drawn = "\\r\u001b\\[K";
      expect(onTerminal(["export", "data", "orders", "drawn.ndjson"])).toMatch(
        new RegExp(
          `^(${drawn}\\[·{20}\\] 0 records 0%)+${drawn}8 records in drawn.ndjson \\(${TEXT_BYTES} bytes\\)\n$`,
        ),
      );
      expect(onTerminal(["import", "data", "drawn", "drawn.ndjson"])).toMatch(
        new RegExp(`^(${drawn}8 records)+${drawn}8 records imported; the log ends at 8\n$`),
      );
      rmSync(program.path("drawn.ndjson"));
      expect(onTerminal(["export", "data", "orders", "drawn.ndjson", "2>&1", "|", "cat"])).toBe(
        `8 records in drawn.ndjson (${TEXT_BYTES} bytes)\n`,
      );
    });
  },
);

describe("export", () => {
  it("writes lines, plain and in gzip, that import takes back unchanged", () => {
    program.good(["export", "data", "orders", "orders.ndjson"]);
    expect(readFileSync(program.path("orders.ndjson"), "utf8")).toBe(TEXT);
    program.good(["export", "data", "orders", "orders.ndjson.gz", "--from", "2"]);
    expect(gunzipSync(readFileSync(program.path("orders.ndjson.gz"))).toString()).toBe(
      `${LINES.slice(2).join("\n")}\n`,
    );
    expect(program.good(["export", "data", "orders"])).toBe(TEXT);
    program.write("packed", gzipSync(TEXT));
    program.good(["import", "data", "copy", "packed"]);
    expect(program.good(["export", "data", "copy"])).toBe(TEXT);
    expect(program.run(["export", "data", "orders", "orders.ndjson"])).toMatchObject({ status: 1 });
    expect(readdirSync(program.home).filter((name) => name.includes("export.json"))).toEqual([]);
  });

  it("writes Kafka's segments, which the decoder reads and import takes back", async () => {
    program.good(["export", "data", "orders", "segments"]);
    const names = readdirSync(program.path("segments"));
    const base = "0".repeat(20);
    expect(names.sort()).toEqual([`${base}.index`, `${base}.log`, `${base}.timeindex`, "manifest.json"]);
    const kernel = await loadKernel(await kernelBytes("release"));
    const log = new Uint8Array(readFileSync(program.path("segments", `${base}.log`)));
    let records = 0;
    for (const bytes of splitBatches(log)) records += (await decodeBatch(kernel, bytes)).count;
    expect(records).toBe(8);
    const seenByKafka = (await kafkaFetch(log)).map(({ offset, timestamp, key, value }) => [
      Number(offset),
      Number(timestamp),
      key?.toString() ?? null,
      value?.toString() ?? null,
    ]);
    expect(seenByKafka.slice(0, 4)).toEqual([
      [0, T0, "o-17", '{"total":42}'],
      [1, T0 + 1, null, '"text"'],
      [2, T0 + 2, "o-17", null],
      [3, T0 + 3, "ü", "no JSON, \n two lines"],
    ]);
    expect(seenByKafka.length).toBe(8);
    program.good(["import", "data", "from-segments", "segments"]);
    expect(program.run(["import", "data", "from-segments", "segments"])).toMatchObject({
      status: 0,
      stderr: expect.stringContaining("nothing to do: offsets 0 to 8") as string,
    });
    expect(program.run(["import", "data", "plain", "segments"])).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("--append for new offsets") as string,
    });
    program.good(["import", "data", "twice", "segments", "--append"]);
    expect(program.good(["tail", "data", "twice", "--format", "%o"])).toBe("01234567");
    expect(program.good(["export", "data", "from-segments"])).toBe(TEXT);
  });
});

describe("import", () => {
  it("takes a pipe, keeps no state for it, and says no end where nothing was appended", () => {
    program.write("two.gz", gzipSync('{"value":1}\n{"value":2}\n'));
    const { stderr } = spawnSync(
      "sh",
      [
        "-c",
        `cat two.gz | "$0" "$1" import data piped /dev/stdin`,
        process.execPath,
        program.path(".package/bin/tidemark.mjs"),
      ],
      { cwd: program.home, encoding: "utf8" },
    );
    expect(stderr).toBe("2 records imported; the log ends at 2\n");
    for (const name of ["none.ndjson", "none.log"]) program.write(name, "");
    expect(program.run(["import", "data", "piped", "none.ndjson"]).stderr).toBe("0 records imported\n");
    expect(program.run(["import", "data", "none", "none.log"]).stderr).toBe("0 records imported\n");
  });
});

describe("trim", () => {
  const startOf = (): number =>
    (JSON.parse(program.good(["info", "data", "short", "--json"])) as { start: number }).start;

  it("holds in an export, and in what is made of it, also where the segment still has the records", () => {
    program.good(["append", "data", "cut", "-q"], { input: TEXT });
    program.good(["trim", "data", "cut", "--before", "3"]);
    const lines = program.good(["export", "data", "cut"]);
    expect(lines.split("\n")[0]).toContain('"offset":3');
    program.good(["export", "data", "cut", "cut-segments"]);
    expect(program.run(["import", "data", "cut-again", "cut-segments"])).toMatchObject({
      status: 0,
      stderr: expect.stringContaining("those before 3 were trimmed, and are removed again") as string,
    });
    expect(program.good(["export", "data", "cut-again"])).toBe(lines);
    expect(program.run(["import", "data", "cut-again", "cut-segments"])).toMatchObject({
      status: 0,
      stderr: expect.stringContaining("nothing to do: offsets 3 to 8") as string,
    });
    // As after a kill between the import and the trim.
    const manifest = program.path("cut-segments", "manifest.json");
    renameSync(manifest, program.path("manifest.json"));
    program.good(["import", "data", "cut-whole", "cut-segments"]);
    renameSync(program.path("manifest.json"), manifest);
    program.good(["import", "data", "cut-whole", "cut-segments"]);
    expect(program.good(["export", "data", "cut-whole"])).toBe(lines);
    program.good(["import", "data", "cut-twice", "cut-segments", "--append"]);
    expect(program.good(["tail", "data", "cut-twice", "--format", "%o"])).toBe("01234");
  });

  it("removes what is before an offset, a time or the last N, and says so", () => {
    program.good(["append", "data", "short", "-q"], { input: TEXT });
    const trim = (before: string) => program.run(["trim", "data", "short", `--before=${before}`]);
    expect(trim("2")).toEqual({ status: 0, stdout: "", stderr: "offsets 0 to 2 are gone; short has offsets 2 to 8\n" });
    expect(trim("1").stderr).toBe("nothing to remove; short has offsets 2 to 8\n");
    expect([trim(new Date(T0 + 4).toISOString()).status, startOf()]).toEqual([0, 4]);
    expect([trim("-3").status, startOf()]).toEqual([0, 5]);
    expect(trim("99")).toMatchObject({ status: 1, stderr: expect.stringMatching(/OFFSET_OUT_OF_RANGE/) as string });
    expect(program.good(["trim", "data", "short", "--before", "latest", "--json"])).toBe(
      '{"topic":"short","start":8,"end":8}\n',
    );
    expect(program.good(["tail", "data", "short", "-o", "earliest"])).toBe("");
  });
});

describe("refusals", () => {
  it.each<[readonly string[], number, RegExp]>([
    [["tail"], 2, /TARGET is missing/],
    [["tail", "data"], 2, /TOPIC is missing/],
    [["tail", "data", "orders", "more"], 2, /"more" is one argument too many/],
    [["tail", "data", "orders", "--bad"], 2, /no option --bad/],
    [["tail", "data", "orders", "-o"], 2, /-o needs a value/],
    [["tail", "data", "orders", "-o", "yesterday"], 2, /earliest, latest, an offset/],
    [["tail", "data", "orders", "-n", "0"], 2, /--limit 0/],
    [["tail", "data", "orders", "--json", "--json"], 2, /given twice/],
    [["tail", "data", "orders", "--json=yes"], 2, /takes no value/],
    [["tail", "data", "orders", "--grep", "("], 2, /--grep/],
    [["tail", "data", "orders", "--format", "%q"], 2, /no %q/],
    [["tail", "ftp://x", "orders"], 2, /http/],
    [["append", "localhost:8787", "orders"], 2, /address begins with http.*\n\(npx tidemark append --help\)/],
    [["tail", "", "orders"], 2, /TARGET is empty/],
    [["tail", "data", ""], 2, /TOPIC is empty/],
    [["tail", "data", "orders", "-o", "2.5"], 2, /--offset 2\.5.*\n\(npx tidemark tail --help\)/],
    [["verify", ".package/package.json"], 1, /is no \.log file/],
    [["trim", "data", "orders"], 2, /--before is missing/],
    [["trim", "data", "orders", "--before", "soon"], 2, /--before soon/],
    [["trim", "nowhere", "orders", "--before", "1"], 1, /no tide in .*nowhere/],
    [["trim", "data", "missing", "--before", "1"], 1, /no topic missing.*orders/],
    [["tail", "nowhere", "orders"], 1, /no tide in .*nowhere/],
    [["tail", "data", "missing"], 1, /no topic missing.*orders/],
    [["tail", "data", "a/b"], 1, /INVALID_ARGUMENT/],
    [["tail", "data", "orders", "-o", "99"], 1, /OFFSET_OUT_OF_RANGE/],
    [["append", "data", "orders", "--expect", "3"], 1, /OFFSET_CONFLICT.*8/],
    [["append", "data", "orders", "--as", "yaml"], 2, /records, json, text/],
    [["import", "data", "orders", "nowhere.ndjson"], 1, /nowhere\.ndjson is not there/],
    [["export", "data", "orders", "--to", "kafka"], 2, /OUT is missing/],
    [["completion", "tcsh"], 2, /bash, zsh, fish/],
    [["import", "data", "orders", ".package"], 1, /no \.log file/],
  ])("%j: exit code %i, one line that says why", (args, code, message) => {
    const { status, stdout, stderr } = program.run(args, { input: '{"value":1}\n' });
    expect([status, stdout, stderr]).toEqual([code, "", expect.stringMatching(message)]);
    expect(stderr.trim().split("\n").length).toBe(code === 2 ? 2 : 1);
    expect(existsSync(program.path("nowhere"))).toBe(false);
  });

  it.skipIf(!existsSync("/dev/full"))(
    "of a full disk behind stdout are one line; behind stderr they change nothing",
    () => {
      const into = (redirection: string, ...args: readonly string[]) =>
        spawnSync("sh", ["-c", `exec "$@" ${redirection}`, "sh", process.execPath, BIN, ...args], {
          cwd: program.home,
          input: '{"value":1}\n',
          encoding: "utf8",
        });
      for (const args of [["tail", "data", "orders"], ["export", "data", "orders"], ["--help"]])
        expect(into("> /dev/full", ...args), args.join(" ")).toMatchObject({
          status: 1,
          stderr: expect.stringMatching(/^tidemark: stdout can't be written: ENOSPC.*\n$/),
        });
      expect(into("2> /dev/full", "append", "data", "noted").status).toBe(0);
      expect(into("2> /dev/full", "nothing").status).toBe(2);
      expect(program.good(["tail", "data", "noted", "--format", "%v"])).toBe("1");
    },
  );

  it("of a folder that another process has open name it; reading goes on beside it", async () => {
    const holder = program.start(["append", "held", "t", "--as", "text", "--acks"]);
    holder.stdin!.write("one\n");
    await once(holder.stdout!, "data");
    const { status, stderr } = program.run(["append", "held", "t", "--as", "text"], { input: "two\n" });
    expect([status, stderr]).toEqual([1, expect.stringMatching(`ALREADY_OPEN.*process ${holder.pid}`)]);
    expect(program.good(["topics", "held"])).toBe("t\n");
    expect(program.good(["info", "held", "t"]).split("\n")[0]).toBe("t: offsets 0 to 1, 1 of them");
    expect(program.good(["tail", "held", "t", "--format", "%v"])).toBe("one");
    expect(program.good(["export", "held", "t"])).toContain('"valueText":"one"');
    const ended = once(holder, "exit");
    holder.stdin!.end();
    await ended;
  });
});

describe("help and completion", () => {
  const shown = new Map<string, string>();
  const help = (...words: readonly string[]): string => {
    const key = words.join(" ");
    if (!shown.has(key)) shown.set(key, program.good([...words, "--help"]));
    return shown.get(key)!;
  };
  const names = (): string[] => [...help().matchAll(/^ {2}([a-z]+) {3,}/gm)].map(([, name]) => name!);
  const tailOptions = (): string[] =>
    [...help("tail").matchAll(/^ {2}(?:-\w, )?--([a-z]+)/gm)].map(([, name]) => name!);

  it("help shows every command, and each with examples", () => {
    expect(names()).toEqual(expect.arrayContaining(["append", "export", "import", "tail", "token"]));
    for (const name of names()) expect(help(name), name).toMatch(/^ {2}.*tidemark/m);
    expect(tailOptions()).toEqual(expect.arrayContaining(["offset", "limit", "follow", "json", "token"]));
    expect(program.good(["--version"])).toBe("1.2.3\n");
  });

  it.for(["bash", "zsh", "fish"] as const)("the script for %s has every command and option", (shell, { skip }) => {
    const script = program.good(["completion", shell]);
    const [command, option] = {
      bash: [(name: string) => `    ${name}) options=`, (name: string) => `--${name} `],
      zsh: [(name: string) => `    '${name}:`, (name: string) => `--${name}`],
      fish: [
        (name: string) => `__fish_use_subcommand -f -a ${name} -d '`,
        (name: string) => `'__fish_seen_subcommand_from tail' -l ${name} `,
      ],
    }[shell] as [(name: string) => string, (name: string) => string];
    for (const name of names()) expect(script, name).toContain(command(name));
    for (const name of tailOptions()) expect(script, name).toContain(option(name));
    // zsh runs a file of fpath as the function's first call, which has to complete as well.
    if (shell === "zsh")
      expect(script).toMatch(/if \[\[ \$funcstack\[1\] == _tidemark \]\]; then\n {2}_tidemark "\$@"\n/);
    const { error, status, stderr } = spawnSync(shell, ["-n"], { input: script, encoding: "utf8" });
    const isMissing = (error as NodeJS.ErrnoException | undefined)?.code === "ENOENT";
    if (isMissing) return skip(`there is no ${shell} here that could take its script`);
    expect([error, status, stderr]).toEqual([undefined, 0, ""]);
  });

  it("bash completes commands and options by it", () => {
    program.write(
      "complete.sh",
      `${program.good(["completion", "bash"])}
COMP_WORDS=(tidemark ta); COMP_CWORD=1; _tidemark; echo "\${COMPREPLY[@]}"
COMP_WORDS=(tidemark tail --fo); COMP_CWORD=2; _tidemark; echo "\${COMPREPLY[@]}"
COMP_WORDS=(tidemark completion z); COMP_CWORD=2; _tidemark; echo "\${COMPREPLY[@]}"
touch 'spaced x'; COMP_WORDS=(tidemark tail spaced); COMP_CWORD=2; _tidemark; echo "\${COMPREPLY[@]}"
complete -p tidemark`,
    );
    const { stdout } = spawnSync("bash", [program.path("complete.sh")], { encoding: "utf8", cwd: program.home });
    // A path is the shell's own to complete: it quotes spaces.
    expect(stdout).toBe("tail\n--follow --format\nzsh\n\ncomplete -o default -F _tidemark tidemark\n");
  });
});

describe("an append with a state file", () => {
  it("goes on behind what was appended, and notices another input", () => {
    rmSync(program.path("s.state"), { force: true });
    const args = ["append", "data", "resumed", "--state", "s.state"];
    program.good(args, { input: TEXT });
    expect(program.run(args, { input: TEXT })).toMatchObject({
      stderr: expect.stringContaining("0 records appended, after 8"),
    });
    program.good(args, { input: `${TEXT}{"value":"new"}\n` });
    expect(program.good(["tail", "data", "resumed", "--format", "%o "])).toBe("0 1 2 3 4 5 6 7 8 ");
    const other = program.run(args, { input: TEXT.replace("42", "43") + '{"value":"new"}\n' });
    expect(other).toMatchObject({ status: 1, stderr: expect.stringContaining("another input") });
    expect(program.run([...args.slice(0, 2), "else", ...args.slice(3)], { input: TEXT })).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("belongs to an append to resumed"),
    });
    expect(program.run(args, { input: "" })).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("ends before"),
    });
  });
});
