/** A file that is there whole or not at all: written under another name, synced and renamed. */
import { closeSync, fsyncSync, linkSync, openSync, readFileSync, renameSync, rmSync, writeSync } from "node:fs";
import { Failure, isFull } from "./failure.ts";

/** What a call of the system says of a file, with the file's name: of a full disk it says none. */
export function withFileName<T>(file: string, call: () => T): T {
  try {
    return call();
  } catch (thrown) {
    if (thrown instanceof Failure) throw thrown;
    const advice = isFull(thrown) ? "make room on the disk" : "name another place, or mend this one";
    const { message } = thrown as Error;
    throw new Failure(`${file} can't be written: ${message}; ${advice}, and call it again`, { cause: thrown });
  }
}

/** The same under another name. Another process that does so at once has a file of its own. */
function writeAside(file: string, content: Uint8Array | string): string {
  const aside = `${file}.new`;
  const bytes = Buffer.from(content);
  rmSync(aside, { force: true });
  const fd = openSync(aside, "wx");
  try {
    for (let done = 0; done < bytes.length;) done += writeSync(fd, bytes, done, bytes.length - done);
    fsyncSync(fd);
  } catch (thrown) {
    rmSync(aside, { force: true });
    throw thrown;
  } finally {
    closeSync(fd);
  }
  return aside;
}

/** Failure: the system refuses. */
export const writeWhole = (file: string, content: Uint8Array | string): void =>
  withFileName(file, () => renameSync(writeAside(file, content), file));

/** File systems without hard links. */
const UNLINKED = ["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EMLINK"];

/** The same where no such file is there yet. EEXIST. */
function writeNew(file: string, content: string): void {
  const aside = writeAside(file, content);
  try {
    linkSync(aside, file);
  } catch (thrown) {
    if (!UNLINKED.includes((thrown as NodeJS.ErrnoException).code ?? "")) throw thrown;
    return renameSync(aside, file);
  } finally {
    rmSync(aside, { force: true });
  }
}

/** Undefined if it is not there. Failure. */
function textIn(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8");
  } catch (thrown) {
    const { code, message } = thrown as NodeJS.ErrnoException;
    if (code === "ENOENT") return undefined;
    throw new Failure(`${file} can't be read: ${message}; name another file`, { cause: thrown });
  }
}

/**
 * A file in which one process at a time keeps how far it is. Another one that works with it meanwhile is noticed at the
 * next write, and one of both ends.
 */
export class StateFile {
  /** What this process has read or written there; undefined: it is not there. */
  text: string | undefined;

  /** Failure: it can't be read. */
  constructor(readonly file: string) {
    this.text = textIn(file);
  }

  /** Failure: another process has written it, or the system refuses. */
  write(text: string): void {
    const otherProcess = (): Failure =>
      new Failure(`another process has changed ${this.file}: let that one end, and make the same call again`);
    if (textIn(this.file) !== this.text) throw otherProcess();
    withFileName(this.file, () => {
      try {
        if (this.text === undefined) writeNew(this.file, text);
        else writeWhole(this.file, text);
      } catch (thrown) {
        if ((thrown as NodeJS.ErrnoException).code === "EEXIST") throw otherProcess();
        throw thrown;
      }
    });
    this.text = text;
  }

  remove(): void {
    rmSync(this.file, { force: true });
  }
}
