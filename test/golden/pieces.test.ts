/** The pieces of the format around record batches: today's code writes each byte for byte, and reads it. */
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { releaseKernel } from "../support/kernels.ts";
import { goldenPieces, pieceFile } from "./pieces.ts";

const kernel = await releaseKernel();
const stored = (file: string): Uint8Array => Uint8Array.from(readFileSync(pieceFile(file)));
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

describe.each(goldenPieces)("$file: $contains", ({ file, write, read, says }) => {
  it("is written byte for byte", async () => {
    expect(hex(await write(kernel))).toBe(hex(stored(file)));
  });

  it("is read as it was meant", async () => {
    expect(await read(kernel, stored(file))).toEqual(says);
  });

  it("is not read like this with a byte changed", async () => {
    const damaged = stored(file);
    // Inside what every piece has a checksum over, or its row's first batch.
    const at = Math.min(20, damaged.length - 1) + (file === "chunk-row.bin" ? 200 : 0);
    damaged[at]! ^= 0x10;
    const found = await read(kernel, damaged).catch((thrown: unknown) => thrown);
    expect(found).not.toEqual(says);
  });
});

it("every file is named, and every named one is there", () => {
  expect(readdirSync(pieceFile(".")).sort()).toEqual(goldenPieces.map(({ file }) => file).sort());
});
