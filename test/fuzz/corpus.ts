/**
 * The committed corpus: inputs from which hostile ones are made, in one file, each as a u32 length and its bytes.
 * test/fuzz/make-corpus.ts wrote it, from our own encoder and from what the coverage-guided loop kept.
 */
import { readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

export const CORPUS_BYTES_MAX = 200 * 1024;

export const corpusFile = (): string => path.join(fileURLToPath(new URL("corpus/", import.meta.url)), "batches.bin");

export function pack(inputs: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(inputs.reduce((sum, input) => sum + 4 + input.length, 0));
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const input of inputs) {
    view.setUint32(at, input.length);
    bytes.set(input, at + 4);
    at += 4 + input.length;
  }
  return bytes;
}

function unpack(bytes: Uint8Array): Uint8Array[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const inputs: Uint8Array[] = [];
  for (let at = 0; at < bytes.length;) {
    const end = at + 4 + view.getUint32(at);
    inputs.push(bytes.slice(at + 4, end));
    at = end;
  }
  return inputs;
}

export const readCorpus = (): Uint8Array[] => unpack(new Uint8Array(readFileSync(corpusFile())));
