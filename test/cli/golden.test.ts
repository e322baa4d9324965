/** What `npx tidemark` prints for people, word for word: help of each command, topics, info, verify. */
import { cpSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { COMMANDS } from "../../cli/all-commands.ts";
import { exportCommand } from "../../cli/commands/export.ts";
import { info } from "../../cli/commands/info.ts";
import { topics } from "../../cli/commands/topics.ts";
import { verify } from "../../cli/commands/verify.ts";
import { commandHelp, overview } from "../../cli/help.ts";
import { open } from "../../src/node/index.ts";
import { told } from "./in-process.ts";
import { Program } from "./program.ts";

/** Only for its folder. */
const program = new Program();
afterAll(() => program.remove());
const T0 = 1_764_400_000_000;

beforeAll(async () => {
  const tide = await open(program.path("tide"), { segmentBytes: 64 * 1024 });
  const orders = tide.topic("orders", { retention: { maxAgeMs: 60_000_000_000_000 } });
  await orders.appendAll([
    { key: "a", value: { total: 1 }, timestamp: T0 },
    { key: "b", value: null, timestamp: T0 + 1 },
  ]);
  await orders.roll();
  await orders.append({ value: "last", timestamp: T0 + 2 });
  await tide.topic("units").append({ value: 1, timestamp: T0 });
  await tide.close();
  await told(exportCommand, [program.path("tide"), "orders", program.path("segments")]);
});

/** What is printed, and the notes and the failure behind it. */
async function printed(...given: Parameters<typeof told>): Promise<string> {
  const { out, notes, thrown } = await told(...given);
  const failed = thrown === undefined ? [] : [`FAILED: ${(thrown as Error).message}`];
  return [...out, ...(notes ? [notes.trimEnd()] : []), ...failed].join("\n").replaceAll(program.home, "");
}

describe("help", () => {
  it("of the whole, and of each command", async () => {
    const all = [overview(COMMANDS, "1.2.3"), ...COMMANDS.map(commandHelp)];
    await expect(`${all.join(`\n\n${"-".repeat(80)}\n`)}\n`).toMatchFileSnapshot("golden/help.txt");
  });
});

describe("topics and info", () => {
  it("print what is there", async () => {
    expect(await printed(topics, [program.path("tide")])).toMatchInlineSnapshot(`
      "orders
      units"
    `);
    expect(await printed(topics, [program.path("tide")], { json: true })).toMatchInlineSnapshot(`"["orders","units"]"`);
    expect(await printed(info, [program.path("tide"), "orders"])).toMatchInlineSnapshot(`
      "orders: offsets 0 to 3, 3 of them
      settings: {"retention":{"maxAgeMs":60000000000000}}
      segment 0 to 2: sealed, 2 records, 88 bytes, last 2025-11-29T07:06:40.001Z
      segment 2 to 3: active, 1 record, 74 bytes, last 2025-11-29T07:06:40.002Z"
    `);
    expect(await printed(info, [program.path("tide"), "none"])).toMatchInlineSnapshot(
      `"FAILED: there is no topic none in /tide; there are orders, units"`,
    );
  });
});

describe("verify", () => {
  it("says what is good", async () => {
    expect(await printed(verify, [program.path("tide")])).toMatchInlineSnapshot(`"/tide: 3 batches, 231 bytes: good"`);
    expect(await printed(verify, [program.path("segments")])).toMatchInlineSnapshot(
      `"/segments: 2 batches, 162 bytes: good"`,
    );
    expect(await printed(verify, [program.path("segments")], { json: true })).toMatchInlineSnapshot(
      `"{"path":"/segments","batches":2,"bytes":162,"faults":[]}"`,
    );
  });

  it("says where damage is, and what is saved of it", async () => {
    cpSync(program.path("segments"), program.path("damaged"), { recursive: true });
    const [log] = readdirSync(program.path("damaged")).filter((name) => name.endsWith(".log"));
    const file = path.join(program.path("damaged"), log!);
    const bytes = readFileSync(file);
    bytes[70]! ^= 1;
    writeFileSync(file, bytes);
    expect(await printed(verify, [program.path("damaged")], { repair: program.path("saved") })).toMatchInlineSnapshot(`
      "/damaged: 2 batches, 162 bytes: 2 faults
        00000000000000000000.log: its SHA-256 is not the one of manifest.json
        00000000000000000000.log: byte 0, offset 0: CORRUPT_RANGE: bad record batch: BAD_CRC
      damaged: 1 record saved, offsets 2 to 3; lost: 0 to 2
      FAILED: 1 of 1 damaged"
    `);
  });
});
