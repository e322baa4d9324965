/** Folders and files that an earlier version, an export that stopped, a broker or another program has left. */
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { exportCommand } from "../../cli/commands/export.ts";
import { importCommand } from "../../cli/commands/import.ts";
import { verify } from "../../cli/commands/verify.ts";
import { identityOf } from "../../cli/identity.ts";
import { isKept, segmentFiles } from "../../cli/inputs.ts";
import { FolderExport, type Manifest, readManifest } from "../../cli/manifest.ts";
import { open } from "../../src/node/index.ts";
import { range } from "../support/kafka-batches.ts";
import { said, told } from "./in-process.ts";
import { Program } from "./program.ts";

const program = new Program();
afterAll(() => program.remove());
const inHome = (...names: readonly string[]): string => program.path(...names);
const logsIn = (folder: string): string[] => readdirSync(inHome(folder)).filter((name) => name.endsWith(".log"));
const BROKERS = "00000000000000005000.log";
const STATE = "tidemark-export.json";

const offsetsIn = async (folder: string, topic: string): Promise<number[]> => {
  const tide = await open(inHome(folder));
  const offsets: number[] = [];
  for await (const { offset } of tide.topic(topic).read()) offsets.push(offset);
  await tide.close();
  return offsets;
};
const offsetsOfLines = (file: string): number[] =>
  readFileSync(inHome(file), "utf8")
    .split("\n")
    .slice(0, -1)
    .map((line) => (JSON.parse(line) as { offset: number }).offset);

/** orders: 300 records, those before 8 trimmed. */
beforeAll(async () => {
  const tide = await open(inHome("data"), { segmentBytes: 64 * 1024 });
  await tide.topic("orders").appendAll(range(0, 300).map((n) => ({ value: `${n} ${"x".repeat(500)}` })));
  await tide.topic("orders").trim(8);
  await tide.close();
  await said(exportCommand, [inHome("data"), "orders", inHome("whole")]);
});
let used: string;
let count = 0;
beforeEach(() => {
  used = `used-${++count}`;
  cpSync(inHome("whole"), inHome(used), { recursive: true });
});
const exported = (target = "data"): Promise<string> => said(exportCommand, [inHome(target), "orders", inHome(used)]);
const imported = (topic: string, ...names: readonly string[]): Promise<string> =>
  said(importCommand, [inHome(`to-${count}`), topic, ...(names.length > 0 ? names : [inHome(used)])]);

describe("segments that no export has written", () => {
  it("refuse an export beside a manifest, and stay", async () => {
    writeFileSync(inHome(used, BROKERS), "a broker's");
    await expect(exported()).rejects.toThrow(`${BROKERS}, which no export of orders has written: name another folder`);
    expect(readFileSync(inHome(used, BROKERS), "utf8")).toBe("a broker's");
    expect(readdirSync(inHome(used))).not.toContain(STATE);
  });

  it("that come while an export is under way stay as well; what it wrote goes, also after a kill", async () => {
    const begun = FolderExport.begin(inHome(used), "orders", inHome("data"));
    begun.writes("00000000000000004000");
    writeFileSync(inHome(used, "00000000000000004000.log"), "of the export that was killed");
    const again = FolderExport.begin(inHome(used), "orders", inHome("data"));
    writeFileSync(inHome(used, BROKERS), "a broker's");
    again.end(readManifest(inHome(used))!);
    expect(logsIn(used)).toContain(BROKERS);
    expect(logsIn(used)).not.toContain("00000000000000004000.log");
  });

  it("beside a state of an earlier version, which names none, stay", async () => {
    const { topic, source } = readManifest(inHome(used))!;
    writeFileSync(inHome(used, STATE), JSON.stringify({ topic, source }));
    writeFileSync(inHome(used, BROKERS), "a broker's");
    await exported();
    expect(logsIn(used)).toContain(BROKERS);
  });
});

describe("a manifest of an earlier version", () => {
  const earlier = (change: Partial<Manifest> = {}): void => {
    const { tidemark, topic, start, end, files } = {
      ...(JSON.parse(readFileSync(inHome(used, "manifest.json"), "utf8")) as Manifest & { tidemark: number }),
      ...change,
    };
    writeFileSync(inHome(used, "manifest.json"), JSON.stringify({ tidemark, topic, start, end, files }, null, 1));
  };

  it("is good, keeps away what was trimmed, and is gone on with", async () => {
    earlier();
    expect(await said(verify, [inHome(used)])).toBe("");
    await imported("orders");
    expect(await offsetsIn(`to-${count}`, "orders")).toEqual(range(8, 300));
    await exported();
    expect(readManifest(inHome(used))!.source).toMatch(/^[0-9a-f]{16}$/);
  });

  it("of another topic refuses an export", async () => {
    earlier({ topic: "users" });
    await expect(exported()).rejects.toThrow(/segments of users/);
  });

  it("finds a flip in a segment", async () => {
    earlier();
    const file = inHome(used, logsIn(used)[0]!);
    const bytes = readFileSync(file);
    bytes[100]! ^= 1;
    writeFileSync(file, bytes);
    await expect(said(verify, [inHome(used)])).rejects.toThrow(/SHA-256 is not the one/);
  });
});

describe("another program's manifest.json", () => {
  const WEB_APP = JSON.stringify({
    name: "Shop",
    short_name: "Shop",
    icons: [],
    start_url: "/",
    display: "standalone",
  });

  it("is none: .log files beside it are taken, and a tide beside it is no folder of segments", async () => {
    for (const text of [WEB_APP, "[]", "null"]) {
      writeFileSync(inHome(used, "manifest.json"), text);
      expect(await said(verify, [inHome(used)])).toBe("");
      expect(segmentFiles([inHome(used)])).toEqual(logsIn(used).map((name) => inHome(used, name)));
    }
    await imported("orders", inHome(used, logsIn(used)[0]!));
    expect((await offsetsIn(`to-${count}`, "orders"))[0]).toBe(0);
    cpSync(inHome("data"), inHome("site"), { recursive: true });
    writeFileSync(inHome("site", "manifest.json"), WEB_APP);
    expect((await told(verify, [inHome("site")])).out.join("\n")).toMatch(/good/);
    writeFileSync(inHome("site", "one.log"), "");
    await expect(said(verify, [inHome("site", "one.log")])).resolves.toBe("");
  });
});

it(".log files that are named are taken without their folder's others; what was trimmed stays away", async () => {
  const [first, second, third] = logsIn(used);
  rmSync(inHome(used, third!));
  await expect(imported("orders")).rejects.toThrow(/is named by manifest\.json and is not there/);
  await imported("orders", inHome(used, first!), inHome(used, second!));
  expect(await offsetsIn(`to-${count}`, "orders")).toEqual(range(8, Number(third!.slice(0, 20))));
});

describe("an export whose repeat failed and whose source is gone", () => {
  it("says how its earlier segments are taken: they are whole", async () => {
    FolderExport.begin(inHome(used), "orders", inHome("data"));
    const way =
      /is not whole: make the same call .* again\. If its source is gone, remove tidemark-export\.json to take/;
    await expect(imported("orders")).rejects.toThrow(way);
    await expect(said(verify, [inHome(used)])).rejects.toThrow(way);
    rmSync(inHome(used, STATE));
    await imported("orders");
    expect(await offsetsIn(`to-${count}`, "orders")).toEqual(range(8, 300));
  });

  it("says that a repair saves them where they are not; what was trimmed stays away", async () => {
    FolderExport.begin(inHome(used), "orders", inHome("data"));
    rmSync(inHome(used, logsIn(used)[1]!));
    await expect(imported("orders")).rejects.toThrow(/If its source is gone, tidemark verify FOLDER --repair saves/);
    await told(verify, [inHome(used)], { repair: inHome(`saved-${count}`) });
    const offsets = await offsetsIn(`saved-${count}`, used);
    expect([offsets[0], offsets.at(-1)]).toEqual([8, 299]);
  });
});

describe("a target", () => {
  it("is the same, however it is spelled", async () => {
    for (const spelled of [
      "https://Edge.Example:443/logs",
      "https://edge.example/logs/",
      "https://edge.example/logs//",
    ])
      expect(identityOf(spelled)).toBe("https://edge.example/logs");
    expect(identityOf("https://edge.example/a")).not.toBe(identityOf("https://edge.example/b"));
    symlinkSync(inHome("data"), inHome("link"));
    expect(identityOf(inHome("link"))).toBe(identityOf(inHome("data")));
    await exported("link");
    expect(readManifest(inHome(used))!.source).toBe(readManifest(inHome("whole"))!.source);
    cpSync(inHome("data"), inHome(`copy-${count}`), { recursive: true });
    await expect(exported(`copy-${count}`)).rejects.toThrow(/orders of another target/);
  });
});

it("a file of the system is none that a state can lie beside", () => {
  mkdirSync(inHome("dev"));
  writeFileSync(inHome("dev", "stdin"), "");
  expect(["/dev/stdin", "/dev/fd/0", "/proc/self/status", "/dev/../dev/stdin", "-"].map(isKept)).not.toContain(true);
  expect([inHome("dev", "stdin"), path.dirname(inHome("dev"))].map(isKept)).toEqual([true, true]);
});

describe("a state of an earlier version beside a file of lines", () => {
  const begun = (state: object): void =>
    writeFileSync(
      inHome(`${used}.ndjson.${STATE}`),
      JSON.stringify({ target: inHome("data"), topic: "orders", end: 300, ...state }),
    );
  const goOn = (from = "earliest"): Promise<string> =>
    said(exportCommand, [inHome("data"), "orders", inHome(`${used}.ndjson`)], { from });

  it("that has read nothing begins, and one that has goes on", async () => {
    writeFileSync(inHome(`${used}.ndjson`), "half a li");
    begun({ bytes: 0, nextOffset: -1, records: 0 });
    await goOn("290");
    expect(offsetsOfLines(`${used}.ndjson`)).toEqual(range(290, 300));
    const lines = readFileSync(inHome(`${used}.ndjson`), "utf8").split("\n");
    const bytes = lines[0]!.length + 1;
    begun({ bytes, nextOffset: 291, records: 1 });
    expect(await goOn()).toMatch(/^10 records .*, 1 of them by an earlier call\n$/);
    expect(offsetsOfLines(`${used}.ndjson`)).toEqual(range(290, 300));
  });

  it.each([
    { bytes: 5, nextOffset: -1, records: 1 },
    { bytes: 0, nextOffset: -2, records: 0 },
    { bytes: 0, nextOffset: -1, records: 0, from: "5", missing: [] },
    { bytes: 0, nextOffset: 3, records: 0, from: "5" },
  ])("that can't be trusted is refused: %o", async (state) => {
    begun(state);
    await expect(goOn()).rejects.toThrow(/is no state file of an export/);
  });
});
