/** `tidemark dump`: a tide's files, a browser's profile and .log files, field by field. */
import { cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { dump } from "../../cli/commands/dump.ts";
import { exportCommand } from "../../cli/commands/export.ts";
import { open } from "../../src/node/index.ts";
import { said, told } from "./in-process.ts";
import { Program } from "./program.ts";

/** Only for its folder. */
const program = new Program();
afterAll(() => program.remove());
const T0 = 1_764_400_000_000;

beforeAll(async () => {
  const tide = await open(program.path("tide"), { segmentBytes: 64 * 1024 });
  const topic = tide.topic("orders");
  await topic.appendAll([
    { key: "a", value: { total: 1 }, timestamp: T0 },
    { key: "b", value: null, timestamp: T0 + 1 },
  ]);
  await topic.roll();
  await topic.append({ value: "last", timestamp: T0 + 2 });
  await tide.close();
  await said(exportCommand, [program.path("tide"), "orders", program.path("segments")]);
});

/** What differs from run to run has a letter instead. */
const steady = (line: string): string =>
  line
    .replaceAll(program.home, "")
    .replaceAll(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, "ID")
    .replaceAll(/((?:Crc|crc|owner|producerId|id|payloadBytes)"?[=:])\d+/g, "$1N")
    .replaceAll(/((?:createdAt|sealedAt)"?[=:])\d{13}/g, "$1T");

const wrapped = (line: string): string[] => (line.match(/.{1,100}(?:[ ,]|$)/g) ?? []).map((part) => part.trimEnd());

const items = async (given: string, options: object = {}): Promise<Record<string, unknown>[]> =>
  (await told(dump, [given], { json: true, ...options })).out.map(
    (line) => JSON.parse(line) as Record<string, unknown>,
  );

describe("a tide's folder", () => {
  it("is shown for people, each thing on its line", async () => {
    const { out, thrown } = await told(dump, [program.path("tide")], { records: true });
    expect(thrown).toBeUndefined();
    // How many slots are made ahead is a matter of time.
    const lines = out.filter((line) => !line.endsWith("log=null baseOffset=null role=null"));
    expect(lines.flatMap((line) => wrapped(steady(line))).join("\n")).toMatchInlineSnapshot(`
      "tide where=/tide slotBytes=65536
      catalog copy=0 file=/tide/slot-0000 version=2 payloadBytes=N crc=N generation=4 id=ID epoch=1
      usedSlots=4 logs=1
      catalog copy=1 file=/tide/slot-0001 version=2 payloadBytes=N crc=N generation=4 id=ID epoch=1
      usedSlots=4 logs=1
      log name=orders-0 topic=orders born=1 logStartOffset=0 quarantined=[] end={"nextOffset":3,
      "position":74} appending=0 segments=[{"slot":2,"baseOffset":0,"epoch":1,"createdAt":T,"begun":2,
      "nextOffset":2,"bytes":88,"batches":1,"records":2,"maxTimestamp":1764400000001,"sealedAt":T,
      "compacted":false,"offsetIndexBytes":0,"timeIndexBytes":0,"producersBytes":52,"footerCrc":N,
      "isSealed":true},{"slot":3,"baseOffset":2,"epoch":1,"createdAt":T,"begun":3,"isSealed":false}]
      slot slot=2 file=/tide/slot-0002 log=orders-0 baseOffset=0 role={"tide":"ID","log":"orders-0",
      "baseOffset":0,"epoch":1,"begun":2}
      mark slot=2 n=0 at=512 count=0 baseOffset=0 position=0 nextOffset=0 epoch=1 clean=false
      mark slot=2 n=1 at=1024 count=1 baseOffset=0 position=0 nextOffset=0 epoch=1 clean=false
      batch slot=2 at=4096 isInCatalog=true baseOffset=0 sizeBytes=88 leaderEpoch=1 magic=2 crc=N
      attributes=0 lastOffsetDelta=1 baseTimestamp=1764400000000 maxTimestamp=1764400000001 producerId=N
      producerEpoch=0 baseSequence=0 recordCount=2
        {"offset":0,"timestamp":1764400000000,"key":"a","value":{"total":1}}
        {"offset":1,"timestamp":1764400000001,"key":"b","value":null}
      section slot=2 name=offset index at=4184 bytes=0 entries=[]
      section slot=2 name=time index at=4184 bytes=0 entries=[]
      section slot=2 name=producers at=4184 bytes=52 forgotten=-1 producers=[{"id":N,"epoch":0,
      "batches":[{"baseSequence":0,"lastSequence":1,"baseOffset":0,"crc":N}]}]
      section slot=2 name=footer at=4236 bytes=104 compacted=false baseOffset=0 nextOffset=2 bodyBytes=88
      offsetIndexBytes=0 timeIndexBytes=0 producersBytes=52 batches=1 records=2
      firstTimestamp=1764400000000 maxTimestamp=1764400000001 sealedAt=T bodyCrc=N sectionsCrc=N
      previousFooterCrc=N epoch=1 owner=N
      slot slot=3 file=/tide/slot-0003 log=orders-0 baseOffset=2 role={"tide":"ID","log":"orders-0",
      "baseOffset":2,"epoch":1,"begun":3}
      mark slot=3 n=0 at=512 count=2 baseOffset=2 position=74 nextOffset=3 epoch=1 clean=false
      mark slot=3 n=1 at=1024 count=3 baseOffset=2 position=74 nextOffset=3 epoch=1 clean=true
      batch slot=3 at=4096 isInCatalog=true baseOffset=2 sizeBytes=74 leaderEpoch=1 magic=2 crc=N
      attributes=0 lastOffsetDelta=0 baseTimestamp=1764400000002 maxTimestamp=1764400000002 producerId=N
      producerEpoch=0 baseSequence=2 recordCount=1
        {"offset":2,"timestamp":1764400000002,"key":null,"value":"last"}"
    `);
  });

  it("is told as JSON with every field, as topic.state() has it", async () => {
    const all = await items(program.path("tide"));
    const tide = await open(program.path("tide"));
    const { segments } = await tide.topic("orders").state();
    await tide.close();
    const ofKind = (kind: string) => all.filter((item) => item["kind"] === kind);
    expect(new Set(all.map(({ kind }) => kind))).toEqual(
      new Set(["tide", "catalog", "log", "slot", "mark", "batch", "section"]),
    );
    expect(all.every(({ isGood }) => isGood)).toBe(true);
    const [log] = ofKind("log") as [{ segments: { slot: number; baseOffset: number }[] }];
    expect(log.segments.map(({ slot, baseOffset }) => ({ slot, baseOffset }))).toEqual(
      segments.map(({ slot, baseOffset }) => ({ slot, baseOffset })),
    );
    for (const { slot, baseOffset } of segments)
      expect(ofKind("slot")).toContainEqual(
        expect.objectContaining({ slot, role: expect.objectContaining({ log: "orders-0", baseOffset }) as unknown }),
      );
    expect(ofKind("batch").map(({ baseOffset, recordCount }) => [baseOffset, recordCount])).toEqual([
      [0, 2],
      [2, 1],
    ]);
    const [, , producers] = ofKind("section") as { name: string; producers: unknown[] }[];
    expect([producers!.name, producers!.producers.length]).toEqual(["producers", 1]);
  });

  it("has its records below their batches", async () => {
    const records = (await items(program.path("tide"), { records: true })).filter((item) => "offset" in item);
    expect(records).toEqual([
      { offset: 0, timestamp: T0, key: "a", value: { total: 1 } },
      { offset: 1, timestamp: T0 + 1, key: "b", value: null },
      { offset: 2, timestamp: T0 + 2, key: null, value: "last" },
    ]);
  });
});

/** A copy of the tide as a profile has it, with bits flipped: by slot and byte. */
function profileWith(name: string, ...flips: readonly (readonly [slot: number, at: number])[]): string {
  const folder = program.path(name, "Default", "File System", "000", "t", "00");
  mkdirSync(folder, { recursive: true });
  for (const file of readdirSync(program.path("tide")).filter((each) => each.startsWith("slot-"))) {
    const bytes = readFileSync(program.path("tide", file));
    for (const [slot, at] of flips) if (Number(file.slice(5)) === slot) bytes[at]! ^= 1;
    writeFileSync(path.join(folder, file.replace("slot-", "0000")), bytes);
  }
  return program.path(name);
}

describe("a profile", () => {
  it("is shown as the folder is, but for names and slots that no log uses", async () => {
    const shown = (all: readonly Record<string, unknown>[]): unknown[] =>
      all
        .filter(({ kind, role }) => kind !== "tide" && role !== null)
        .map(({ file: _file, copy: _copy, ...fields }) => fields);
    const used = (await items(program.path("tide"))).filter(({ kind, log }) => kind !== "slot" || log !== null);
    const expected = shown(used).filter((each) => (each as { kind: string }).kind !== "mark");
    const found = shown(await items(profileWith("whole"))).filter((each) => (each as { kind: string }).kind !== "mark");
    expect(found).toEqual(expected);
  });

  it("tells damage where it is, and ends as damaged", async () => {
    const sealed = (await items(program.path("tide"))).find(({ kind, log }) => kind === "slot" && log !== null)![
      "slot"
    ];
    const slot = sealed as number;
    const { out, thrown } = await told(dump, [profileWith("bad", [slot, 513], [slot, 4096 + 70], [0, 30])], {
      json: true,
    });
    const bad = out.map((line) => JSON.parse(line) as Record<string, unknown>).filter(({ isGood }) => isGood === false);
    expect(bad.map(({ kind }) => kind).sort()).toEqual(["batch", "catalog", "mark"]);
    expect(bad.find(({ kind }) => kind === "batch")).toMatchObject({
      at: 4096,
      baseOffset: 0,
      error: expect.stringContaining("BAD_CRC") as string,
    });
    expect((thrown as Error).message).toBe("3 things are damaged");
  });
});

describe(".log files", () => {
  it("are shown batch by batch, with their records", async () => {
    const found = await items(program.path("segments"), { records: true });
    expect(found.map(({ kind = "record", position, offset }) => [kind, position ?? offset])).toEqual([
      ["batch", 0],
      ["record", 0],
      ["record", 1],
      ["batch", 0],
      ["record", 2],
    ]);
    expect(found[0]).toMatchObject({ baseOffset: 0, leaderEpoch: 0, recordCount: 2, isGood: true });
  });

  it("tell a damaged batch; other files are refused", async () => {
    cpSync(program.path("segments"), program.path("flipped"), { recursive: true });
    const file = program.path("flipped", `${"0".repeat(20)}.log`);
    const bytes = readFileSync(file);
    bytes[80]! ^= 1;
    writeFileSync(file, bytes);
    const { out, thrown } = await told(dump, [file]);
    expect([out.length, out[0], (thrown as Error).message]).toEqual([
      1,
      expect.stringMatching(/^batch file=.* damaged: CORRUPT_RANGE.*BAD_CRC/),
      "1 thing is damaged",
    ]);
    await expect(said(dump, [program.write("x.txt", "x")])).rejects.toThrow(/is no \.log file/);
    await expect(said(dump, [program.path("nowhere")])).rejects.toThrow(/is not there/);
    mkdirSync(program.path("nothing"));
    await expect(said(dump, [program.path("nothing")])).rejects.toThrow(/holds no tide/);
  });
});
