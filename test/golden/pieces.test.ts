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

  it("is read as the table says", async () => {
    expect(await read(kernel, stored(file))).toEqual(says);
  });

  it("is not read as the table says when a byte is changed", async () => {
    const damaged = stored(file);
    // A byte that the piece's checksum covers. In a chunk row it lies in the first batch.
    const at = Math.min(20, damaged.length - 1) + (file === "chunk-row.bin" ? 200 : 0);
    damaged[at]! ^= 0x10;
    const found = await read(kernel, damaged).catch((thrown: unknown) => thrown);
    expect(found).not.toEqual(says);
  });
});

it("the table names every file, and every named file exists", () => {
  expect(readdirSync(pieceFile(".")).sort()).toEqual(goldenPieces.map(({ file }) => file).sort());
});
