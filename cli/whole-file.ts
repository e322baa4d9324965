/** A file that is there whole or not at all: written under another name, synced and renamed. */
import { closeSync, fsyncSync, openSync, renameSync, writeSync } from "node:fs";

export function writeWhole(file: string, content: Uint8Array | string): void {
  const aside = `${file}.new`;
  const bytes = Buffer.from(content);
  const fd = openSync(aside, "w");
  try {
    for (let done = 0; done < bytes.length;) done += writeSync(fd, bytes, done, bytes.length - done);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  renameSync(aside, file);
}
