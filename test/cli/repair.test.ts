/**
 * `tidemark verify --repair` over damage of every kind: of a tide's folder, of a browser's profile, of an exported
 * folder and of .log files. What is lost is named, and all else is there at its offsets.
 */
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { exportCommand } from "../../cli/commands/export.ts";
import { verify } from "../../cli/commands/verify.ts";
import { open } from "../../src/node/index.ts";
import { said, type Said, told } from "./in-process.ts";
import { Program } from "./program.ts";

/** Only for its folder. */
const program = new Program();
afterAll(() => program.remove());
const SEGMENT = 64 * 1024;
const BODY_AT = 4096;

type Records = readonly (readonly [offset: number, value: string])[];
type Contents = Readonly<Record<string, Records>>;

/** What a tide's topics hold. */
async function contents(folder: string): Promise<Contents> {
  const tide = await open(folder);
  const found: Record<string, Records> = {};
  for (const name of await tide.topics()) {
    const records: [number, string][] = [];
    for await (const { offset, value } of tide.topic<string>(name).read())
      records.push([offset, `${value!.slice(0, 12)} ${value!.length}`]);
    found[name] = records;
  }
  await tide.close();
  return found;
}

interface Slots {
  readonly sealed: number;
  readonly active: number;
}
let whole: Contents;
let slots: Slots;

beforeAll(async () => {
  const tide = await open(program.path("tide"), { segmentBytes: SEGMENT });
  for (const name of ["orders", "keyed", "cut"]) {
    const topic = tide.topic<string>(name, name === "keyed" ? { compaction: true } : {});
    const records = Array.from({ length: 400 }, (_, i) => ({
      key: `k${i % 9}`,
      value: `${name} ${i} ${"x".repeat(400)}`,
    }));
    for (let at = 0; at < 400; at += 20) await topic.appendAll(records.slice(at, at + 20));
    if (name === "cut") await topic.trim(150);
    if (name !== "keyed") continue;
    await topic.roll();
    await topic.clean();
  }
  const { segments } = await tide.topic("orders").state();
  slots = { sealed: segments[1]!.slot!, active: segments.at(-1)!.slot! };
  await tide.close();
  whole = await contents(program.path("tide"));
  await said(exportCommand, [program.path("tide"), "orders", program.path("segments")]);
});

const slotName = (slot: number): string => `slot-${String(slot).padStart(4, "0")}`;
/** Of a profile: the files have no names that tell anything, and another order. */
const PROFILE = path.join("Default", "File System", "000", "t", "00");
const profileName = (slot: number): string => String(90 - slot).padStart(8, "0");

let copies = 0;
/** A copy of the tide, as a folder or as a profile has it, and the names of its files. */
function copyAs(
  kind: "folder" | "profile",
  of = "tide",
): { readonly given: string; readonly fileOf: (slot: number) => string } {
  const given = program.path(`${kind}-${copies++}`);
  const folder = kind === "folder" ? given : path.join(given, PROFILE);
  mkdirSync(folder, { recursive: true });
  const nameOf = kind === "folder" ? slotName : profileName;
  for (const name of readdirSync(program.path(of)).filter((each) => each.startsWith("slot-")))
    cpSync(program.path(of, name), path.join(folder, nameOf(Number(name.slice(5)))));
  return { given, fileOf: (slot) => path.join(folder, nameOf(slot)) };
}

function flip(file: string, at: number): void {
  const bytes = readFileSync(file);
  bytes[at]! ^= 4;
  writeFileSync(file, bytes);
}

async function repaired(
  given: string,
  options: object = {},
): Promise<Said & { readonly saved: Contents; readonly folder: string }> {
  const repair = program.path(`saved-${copies++}`);
  const done = await told(verify, [given], { repair, ...options });
  const saved = await contents(repair);
  return { ...done, saved, folder: repair };
}

/** The offsets that were told as lost. */
function lostIn(notes: string, topic: string): (offset: number) => boolean {
  const [, text = ""] = new RegExp(`^${topic}: .*; lost: (.*)$`, "m").exec(notes) ?? [];
  const ranges = [...text.matchAll(/(\d+) to (\d+|the end)/g)].map(([, from, to]) => [
    Number(from),
    to === "the end" ? Infinity : Number(to),
  ]);
  return (offset) => ranges.some(([from, to]) => offset >= from! && offset < to!);
}

/** All but what was told as lost is there, and that is something, and not all. */
function expectRest({ notes, saved }: Awaited<ReturnType<typeof repaired>>, topic: string, from = topic): void {
  const isLost = lostIn(notes, topic);
  const rest = whole[from]!.filter(([offset]) => !isLost(offset));
  expect(saved[topic]).toEqual(rest);
  expect(rest.length).toBeLessThan(whole[from]!.length);
  expect(rest.length).toBeGreaterThan(100);
}

describe.each(["folder", "profile"] as const)("a %s", (kind) => {
  it("a flip in a batch loses that batch", async () => {
    const { given, fileOf } = copyAs(kind);
    flip(fileOf(slots.sealed), BODY_AT + 3000);
    const done = await repaired(given);
    expect(done.out[0]).toMatch(/: 1 fault$/);
    expectRest(done, "orders");
    expect({ ...done.saved, orders: [] }).toEqual({ ...whole, orders: [] });
    expect((await told(verify, [done.folder])).thrown).toBeUndefined();
  });

  it.each([0, 1])(
    "copy %i of the catalog is damaged: the other has all, and what was trimmed stays away",
    async (n) => {
      const { given, fileOf } = copyAs(kind);
      flip(fileOf(n), 40);
      const { out, saved, notes } = await repaired(given);
      expect(out).toEqual([
        expect.stringMatching(/: 1 fault$/),
        expect.stringMatching(/catalog: one of its two copies/),
      ]);
      expect(saved).toEqual(whole);
      expect(notes).not.toContain("lost:");
    },
  );

  it.each([
    ["damaged", (file: string) => flip(file, 40)],
    ["gone", (file: string) => rmSync(file)],
  ])("both copies of the catalog are %s: the slots say what they hold", async (_, damage) => {
    const { given, fileOf } = copyAs(kind);
    for (const n of [0, 1]) damage(fileOf(n));
    const { out, saved, notes } = await repaired(given);
    expect(out.join("\n")).toContain("catalog: ");
    expect(notes).toContain("the catalog is lost");
    expect(saved["orders"]).toEqual(whole["orders"]);
    // Nobody knows what was trimmed of the segments that are left.
    const [first] = saved["cut"]!;
    expect(first![0]).toBeLessThanOrEqual(150);
    expect(saved["cut"]!.filter(([offset]) => offset >= 150)).toEqual(whole["cut"]);
    expect(new Map(saved["keyed"]!.map(([offset, value]) => [offset, value]))).toEqual(new Map(whole["keyed"]));
  });

  it.each(["sealed", "active"] as const)("the %s slot is missing: its offsets are lost", async (which) => {
    const { given, fileOf } = copyAs(kind);
    rmSync(fileOf(slots[which]));
    const done = await repaired(given);
    expect(done.out.join("\n")).toMatch(/orders, segment \d+ \(slot \d+\): its file is not there/);
    expect(done.saved["orders"]!.length).toBeLessThan(whole["orders"]!.length);
    expectRest(done, "orders");
    expect({ ...done.saved, orders: [] }).toEqual({ ...whole, orders: [] });
  });

  it.each(["sealed", "active"] as const)("the %s slot's role is damaged: its records are saved", async (which) => {
    const { given, fileOf } = copyAs(kind);
    flip(fileOf(slots[which]), which === "sealed" ? 2 : 20);
    const { out, saved } = await repaired(given);
    expect(out).toEqual([expect.stringMatching(/: 1 fault$/), expect.stringMatching(/the role: its checksum fails/)]);
    expect(saved).toEqual(whole);
  });
});

describe("a profile", () => {
  it("that was copied into another has two tides of one id; each is looked at by itself", async () => {
    const { given, fileOf } = copyAs("profile");
    const copy = program.path("copies");
    for (const name of ["first", "second"]) cpSync(given, path.join(copy, name), { recursive: true });
    flip(fileOf(slots.sealed).replace(given, path.join(copy, "second")), BODY_AT + 3000);
    const { out, thrown } = await told(verify, [copy]);
    expect(out.map((line) => line.replace(/.*: /, ""))).toEqual(expect.arrayContaining(["good", "1 fault"]));
    expect((thrown as Error).message).toBe("1 of 2 damaged");
    const both = await told(verify, [copy], { repair: program.path("both") });
    expect((both.thrown as Error).message).toMatch(/--repair is for one tide, and here are 2/);
    // Each line names a folder that has no copy.
    for (const line of out.filter((each) => each.includes(", tide "))) {
      const { saved, out: own } = await repaired(line.replace(/, tide .*/, ""));
      expect(own[0]).toBe(line);
      expect(saved["cut"]).toEqual(whole["cut"]);
    }
  });

  it.each(["00000000", "99999999"])(
    "a copy of the catalog is older, in the file %s: the other one counts",
    async (n) => {
      const of = `aged-${n}`;
      const tide = await open(program.path(of), { segmentBytes: SEGMENT });
      await tide.topic("before").append({ value: "one" });
      const older = readFileSync(program.path(of, slotName(0)));
      await tide.topic("behind").append({ value: "two" });
      await tide.close();
      const { given, fileOf } = copyAs("profile", of);
      rmSync(fileOf(0));
      writeFileSync(path.join(given, PROFILE, n), older);
      const { out, saved } = await repaired(given);
      expect(out).toEqual([
        expect.stringMatching(/: 1 fault$/),
        expect.stringMatching(/catalog: one of its two copies/),
      ]);
      expect(saved).toEqual(await contents(program.path(of)));
      expect(Object.keys(saved)).toEqual(["before", "behind"]);
    },
  );

  it.each([
    ["first", "second"],
    ["second", "first"],
  ])("the role of %s is damaged and %s is missing: neither gets the other's records", async (damaged, missing) => {
    const of = `alike-${damaged}`;
    const tide = await open(program.path(of), { segmentBytes: SEGMENT });
    const slotOf: Record<string, number> = {};
    for (const name of ["first", "second"]) {
      await tide.topic(name).append({ value: name });
      slotOf[name] = (await tide.topic(name).state()).segments[0]!.slot!;
    }
    await tide.close();
    const { given, fileOf } = copyAs("profile", of);
    flip(fileOf(slotOf[damaged]!), 20);
    rmSync(fileOf(slotOf[missing]!));
    const { out, saved, notes } = await repaired(given);
    expect(out.filter((line) => line.includes("its file is not there, or can't be told from others")).length).toBe(2);
    expect([saved["first"] ?? [], saved["second"] ?? []]).toEqual([[], []]);
    expect(notes).toMatch(/first: 0 records .*lost: 0 to 1\nsecond: 0 records .*lost: 0 to 1\n/);
  });
});

describe("without a catalog", () => {
  /** Each topic's records are in one of those that were saved, and nobody says that nothing is lost. */
  const expectAll = ({ saved, notes }: Awaited<ReturnType<typeof repaired>>, topics: Contents): void => {
    const found = Object.values(saved);
    for (const records of Object.values(topics)) expect(found).toContainEqual(records);
    expect(notes).not.toContain("nothing is lost");
    expect(notes).toContain("what else it had is not known");
  };

  it.each(["folder", "profile"] as const)("topics that were imported into a %s are all saved", async (kind) => {
    const of = `imported-${kind}`;
    const source = await open(program.path("tide"));
    const tide = await open(program.path(of), { segmentBytes: SEGMENT });
    for (const name of ["orders", "cut"]) {
      const { segments } = await source.topic(name).state();
      const files = [];
      for (const { baseOffset, bytes } of segments)
        if (bytes > 0)
          files.push({ name: String(baseOffset), log: (await source.topic(name).exportSegment(baseOffset)).log });
      const topic = tide.topic<string>(name === "cut" ? "other" : name);
      await topic.importSegments(files);
      // Segments that roll behind an import say its name as well.
      if (name === "orders") for (let i = 0; i < 150; i++) await topic.append({ value: `${i} ${"y".repeat(600)}` });
    }
    await tide.topic("plain").append({ value: "made here" });
    await Promise.all([source.close(), tide.close()]);
    const made = await contents(program.path(of));
    expect([made["orders"]!.length, made["other"]!.length]).toEqual([550, expect.any(Number)]);
    const { given, fileOf } = copyAs(kind, of);
    for (const n of [0, 1]) flip(fileOf(n), 40);
    const done = await repaired(given);
    expectAll(done, made);
    expect(Object.keys(done.saved)).toEqual(["imported.1", "imported.2", "plain"]);
    expect(done.notes).toMatch(/^imported\.1: .*; it was imported, and only the catalog knew its name;/m);
  });

  it("imported segments that may follow one and the same are taken for none, and all are saved", async () => {
    const tide = await open(program.path("alike"), { segmentBytes: SEGMENT });
    const files = readdirSync(program.path("segments"))
      .filter((name) => name.endsWith(".log"))
      .map((name) => ({ name, log: new Uint8Array(readFileSync(program.path("segments", name))) }));
    let last = 0;
    for (const name of ["one", "two"]) {
      const topic = tide.topic<string>(name);
      await topic.importSegments(files);
      await topic.append({ value: `behind ${name}` });
      last = (await topic.state()).segments.findLast(({ state }) => state === "sealed")!.slot!;
    }
    await tide.close();
    const { given, fileOf } = copyAs("folder", "alike");
    for (const n of [0, 1]) flip(fileOf(n), 40);
    // So one end is left that both of the active ones may follow.
    rmSync(fileOf(last));
    const found = Object.values((await repaired(given)).saved).map((records) => records.map(([, value]) => value));
    expect(found).toContainEqual(whole["orders"]!.map(([, value]) => value));
    expect(found).toContainEqual(["behind one 10"]);
    expect(found).toContainEqual(["behind two 10"]);
  });

  it("slots with the same offsets are saved beside those that were begun later", async () => {
    const tide = await open(program.path("compacted"), { segmentBytes: SEGMENT });
    const topic = tide.topic<string>("keyed", { compaction: true });
    for (let i = 0; i < 30; i++) await topic.append({ key: `k${i % 3}`, value: `${i} ${"x".repeat(4000)}` });
    await topic.roll();
    const before: [number, string][] = [];
    for await (const { offset, value } of topic.read())
      before.push([offset, `${value!.slice(0, 12)} ${value!.length}`]);
    await topic.clean();
    await tide.close();
    const { given, fileOf } = copyAs("folder", "compacted");
    const made = await contents(given);
    for (const n of [0, 1]) flip(fileOf(n), 40);
    const done = await repaired(given);
    expectAll(done, made);
    // Slots that were used again are gone.
    const older = done.saved["keyed.older.1"]!;
    expect(older).toEqual(before.filter(([offset]) => offset >= older[0]![0]));
    expect(older.length).toBeGreaterThan(made["keyed"]!.length);
    expect(done.notes).toMatch(/^keyed\.older\.1: .*; older slots of keyed with the same offsets;/m);
  });
});

describe("Kafka's files", () => {
  const names = (): string[] => readdirSync(program.path("segments")).filter((name) => name.endsWith(".log"));

  it("an exported folder with a flip in a batch loses that batch", async () => {
    cpSync(program.path("segments"), program.path("flipped"), { recursive: true });
    flip(program.path("flipped", names()[1]!), 3000);
    const done = await repaired(program.path("flipped"), { topic: "orders" });
    expect(done.out.join("\n")).toMatch(/SHA-256/);
    expectRest(done, "orders");
  });

  it("an exported folder without one of its files loses that file's offsets", async () => {
    cpSync(program.path("segments"), program.path("fewer"), { recursive: true });
    rmSync(program.path("fewer", names()[1]!));
    const done = await repaired(program.path("fewer"), { topic: "orders" });
    expect(done.out.join("\n")).toMatch(/is named by manifest\.json and is not there/);
    expectRest(done, "orders");
    const [second, third] = names()
      .slice(1)
      .map((name) => Number(name.slice(0, 20)));
    expect(done.saved["orders"]).toEqual(whole["orders"]!.filter(([offset]) => offset < second! || offset >= third!));
  });

  it("a .log file alone, flipped or cut off, keeps what is whole", async () => {
    const [name] = names();
    const bytes = readFileSync(program.path("segments", name!));
    const file = program.write("alone.log", bytes.subarray(0, bytes.length - 20));
    flip(file, 12_000);
    const done = await repaired(file, { topic: "orders" });
    const last = Number(names()[1]!.slice(0, 20));
    const isLost = lostIn(done.notes, "orders");
    expect(done.saved["orders"]).toEqual(whole["orders"]!.filter(([offset]) => offset < last && !isLost(offset)));
    expect(isLost(last - 1) && !isLost(0)).toBe(true);
    expect(done.saved["orders"]!.length).toBeGreaterThan(10);
  });
});
