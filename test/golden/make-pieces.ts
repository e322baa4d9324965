/**
 * Wrote the files of pieces/, once: `node tools/run/run-ts.mjs test/golden/make-pieces.ts`. It does not overwrite a
 * file: such bytes are on users' disks, and code that writes other bytes has changed the format.
 */
import { existsSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { releaseKernel } from "../support/kernels.ts";
import { goldenPieces, pieceFile } from "./pieces.ts";

const kernel = await releaseKernel();
await mkdir(pieceFile("."), { recursive: true });
for (const { file, write } of goldenPieces)
  if (!existsSync(pieceFile(file))) await writeFile(pieceFile(file), await write(kernel));
