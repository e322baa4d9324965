/**
 * `tidemark verify` finds every planted flip: of a tide's files and of exported ones, at drawn places of all that a
 * checksum covers. And what it saves of damage is what was whole.
 */
import { cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type FoundTide, tidesBelow } from "../../cli/slot-files.ts";
import { verifyTide } from "../../cli/verify-tide.ts";
import { verifyLog } from "../../cli/verify-files.ts";
import { verify } from "../../cli/commands/verify.ts";
import { batchesOfFile } from "../../cli/segment-files.ts";
import { open } from "../../src/node/index.ts";
import { viewOf } from "../../src/record/bytes.ts";
import { FOOTER_BYTES } from "../../src/store/footer.ts";
import { releaseKernel } from "../support/kernels.ts";
import { Random } from "../simulation/prng.ts";
import { told } from "./in-process.ts";
import { Program } from "./program.ts";

const kernel = await releaseKernel();
const program = await new Program().build();
afterAll(() => program.remove());
const SEED = 9;
const BODY_AT = 4096;
const SLOT = 64 * 1024;

interface Place {
  readonly slot: number;
  readonly body: number;
  readonly sealed: boolean;
}
const places: Place[] = [];

beforeAll(async () => {
  const tide = await open(program.path("tide"), { segmentBytes: SLOT });
  for (const name of ["a", "b"]) {
    const topic = tide.topic<string>(name, name === "b" ? { compaction: true } : {});
    for (let i = 0; i < 200; i++) await topic.append({ key: `k${i % 9}`, value: `${i} `.repeat(2 * i) });
    if (name === "b") {
      await topic.roll();
      await topic.clean();
    }
    for (const { slot, bytes, state } of (await topic.state()).segments)
      if (bytes > 0) places.push({ slot: slot!, body: bytes, sealed: state === "sealed" });
  }
  await tide.close();
  program.good(["export", "tide", "a", "segments"]);
});

/** Faults after one bit was flipped. Nothing on disk changes. */
async function faultsWith(slot: number, position: number, mask: number): Promise<number> {
  const [tide] = (await tidesBelow(program.path("tide"), kernel)) as [FoundTide];
  const { volume } = tide;
  const byte = new Uint8Array(1);
  await volume.read(slot, position, byte);
  await volume.write(
    slot,
    position,
    byte.map((each) => each ^ mask),
  );
  return (await verifyTide(tide, kernel)).faults.length;
}

describe("a tide", () => {
  it("has the id that its catalog says, and is none with another", async () => {
    const [{ id }] = (await tidesBelow(program.path("tide"), kernel)) as [FoundTide];
    expect(program.run(["verify", "tide", "--tide", id!.slice(0, 8)]).status).toBe(0);
    expect(program.run(["verify", "tide", "--tide", "zz"])).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(/holds no tide whose id begins with zz/) as string,
    });
  });

  it("that is whole is good", () => {
    expect(program.run(["verify", "tide"])).toMatchObject({
      status: 0,
      stdout: expect.stringMatching(/: good\n$/) as string,
    });
  });

  it("every flip is found: catalog, roles, marks, batches, indexes, producers, footers", async () => {
    const random = new Random(SEED, 1);
    const missed: string[] = [];
    const plant = async (slot: number, from: number, to: number, count: number): Promise<void> => {
      for (let i = 0; i < count; i++) {
        const position = from + random.int(to - from);
        if ((await faultsWith(slot, position, 1 << random.int(8))) === 0) missed.push(`slot ${slot}, byte ${position}`);
      }
    };
    for (const slot of [0, 1]) {
      const head = readFileSync(program.path("tide", `slot-000${slot}`));
      await plant(slot, 0, 28 + viewOf(head).getUint32(12), 15);
    }
    expect(places.filter(({ sealed }) => sealed).length).toBeGreaterThan(2);
    for (const { slot, body, sealed } of places) {
      await plant(slot, 0, 60, 6);
      await plant(slot, 512, BODY_AT, 6);
      // The first batch: base offset and length, and from its checksum on. Of its epoch only the order is known.
      await plant(slot, BODY_AT, BODY_AT + 12, 4);
      await plant(slot, BODY_AT + 17, BODY_AT + body, 12);
      const file = readFileSync(program.path("tide", `slot-${String(slot).padStart(4, "0")}`));
      const footer = file.indexOf("TIDEFOOT", BODY_AT + body, "latin1");
      if (sealed) await plant(slot, BODY_AT + body, footer + FOOTER_BYTES, 12);
    }
    expect(missed, `seed ${SEED}`).toEqual([]);
  });

  it("in a browser's profile is found by what its files say", () => {
    const folder = program.path("profile", "Default", "File System", "000", "t", "00");
    mkdirSync(folder, { recursive: true });
    const names = readdirSync(program.path("tide")).filter((name) => name.startsWith("slot-"));
    for (const [i, name] of names.reverse().entries())
      cpSync(program.path("tide", name), path.join(folder, String(i).padStart(8, "0")));
    const { status, stdout } = program.run(["verify", "profile"]);
    expect([status, stdout]).toEqual([
      0,
      expect.stringMatching(/^profile\/Default\/File System\/000, tide .*: good\n$/),
    ]);
  });

  it("is saved into a new folder: all that is whole, at its offsets", () => {
    cpSync(program.path("tide"), program.path("damaged"), { recursive: true });
    const { slot } = places.find(({ sealed }) => sealed)!;
    const file = program.path("damaged", `slot-${String(slot).padStart(4, "0")}`);
    const bytes = readFileSync(file);
    bytes[BODY_AT + 3000]! ^= 4;
    writeFileSync(file, bytes);
    const { status, stdout, stderr } = program.run(["verify", "damaged", "--repair", "saved"]);
    expect([status, stdout]).toEqual([
      1,
      expect.stringMatching(/: 1 fault\n {2}a, segment 0 .*byte \d+, offset \d+: CORRUPT_RANGE/),
    ]);
    expect(stderr).toMatch(/a: \d+ records saved, offsets 0 to 200; lost: \d+ to \d+\n/);
    const read = (folder: string) => program.good(["tail", folder, "a", "-o", "-120", "--json"]);
    expect(read("saved")).toBe(read("tide"));
    expect(program.good(["tail", "saved", "b", "-o", "earliest", "--json"])).toBe(
      program.good(["tail", "tide", "b", "-o", "earliest", "--json"]),
    );
    expect(program.run(["verify", "saved"]).status).toBe(0);
    expect(program.run(["verify", "tide", "--repair", "saved"])).toMatchObject({ status: 2 });
  });
});

describe("Kafka's files", () => {
  const names = (): string[] => readdirSync(program.path("segments"));
  const flip = (bytes: Buffer, at: number, mask: number): Buffer => {
    const flipped = Buffer.from(bytes);
    flipped[at]! ^= mask;
    return flipped;
  };

  it("every flip in an exported folder is found, in its manifest as well", async () => {
    expect(program.run(["verify", "segments"]).status).toBe(0);
    const folder = program.path("segments");
    const random = new Random(SEED, 2);
    const missed: string[] = [];
    for (const name of names()) {
      const bytes = readFileSync(path.join(folder, name));
      for (let i = 0; i < Math.min(40, bytes.length); i++) {
        const at = random.int(bytes.length);
        writeFileSync(path.join(folder, name), flip(bytes, at, 1 << random.int(8)));
        const { out, thrown } = await told(verify, [folder]);
        if (thrown === undefined || !out.join().includes(name)) missed.push(`${name}, byte ${at}`);
      }
      writeFileSync(path.join(folder, name), bytes);
    }
    expect(missed, `seed ${SEED}`).toEqual([]);
    expect((await told(verify, [folder])).thrown).toBeUndefined();
  });

  it("without a manifest every flip of a batch is found that a checksum or the order of offsets tells", async () => {
    const missed: string[] = [];
    const random = new Random(SEED, 3);
    for (const name of names().filter((each) => each.endsWith(".log"))) {
      const file = program.path("segments", name);
      const batches = [...batchesOfFile(file)];
      const last = batches.at(-1)!.position;
      const bytes = readFileSync(file);
      let flips = 0;
      while (flips < 150) {
        const at = random.int(bytes.length);
        const { position } = batches.findLast((batch) => batch.position <= at)!;
        // No checksum covers a batch's epoch and its base offset. Behind the last batch no other one tells of a hole.
        if (at - position >= 12 && at - position < 16) continue;
        if (position === last && at - position < 8) continue;
        flips++;
        const planted = program.write(name, flip(bytes, at, 1 << random.int(8)));
        if ((await verifyLog(planted, kernel)).faults.length === 0) missed.push(`${name}, byte ${at}`);
      }
    }
    expect(missed, `seed ${SEED}`).toEqual([]);
  });

  it.each([0, 1])("of messages of format %i says so, whatever their size", async (format) => {
    for (const bytes of [0, 100]) {
      const message = Buffer.alloc(26 + 8 * format + bytes);
      message.writeInt32BE(message.length - 12, 8);
      message[16] = format;
      const file = program.write("00000000000000000000.log", Buffer.concat([message, message]));
      expect((await verifyLog(file, kernel)).faults).toMatchObject([
        { what: expect.stringContaining(`message format ${format},`) },
      ]);
      expect(() => [...batchesOfFile(file)]).toThrow(`message format ${format}, and only 2 can be read`);
    }
  });
});
