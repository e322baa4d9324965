/**
 * One process at a time has a tide's folder open. The kernel holds the lock and takes it away when the process ends,
 * however it ends, so there is no stale lock and no guess whether a process still lives.
 *
 *   Linux            flock(2) on FOLDER/lock. Node has no such call, so the program `flock` (util-linux, BusyBox) is
 *                    given the open file: the lock belongs to the open file, not to the program, and stays with it
 *   macOS, BSD       the file is opened with O_EXLOCK
 *   Windows          the file is opened for one process alone
 *   no `flock` here  an abstract socket that is named by the folder's device and inode: it keeps processes of one
 *                    network namespace apart, but not two containers that share the folder
 *
 * The file's text is the process id of who opened it last, for people and for the error.
 */
import { spawn } from "node:child_process";
import { closeSync, constants, fstatSync, ftruncateSync, openSync, readFileSync, statSync, writeSync } from "node:fs";
import { createServer, type Server } from "node:net";
import path from "node:path";
import { TidemarkError } from "../errors.ts";

/** O_EXLOCK of macOS and the BSDs. */
const O_EXLOCK = 0x20;
/** UV_FS_O_EXLOCK of libuv on Windows: nobody else can open the file. */
const WINDOWS_EXLOCK = 0x10000000;
/** Programs named flock, where a PATH may not lead. */
const FLOCKS = ["flock", "/usr/bin/flock", "/bin/flock"];
/** What `flock --nonblock` says of a lock that somebody holds. */
const HELD = 1;

export interface FolderLock {
  /** How it is held: see above. */
  readonly means: "flock" | "exlock" | "socket";
  /** False once somebody has removed or replaced the file: another process may lock the one that stands there. */
  isHeld(): boolean;
  release(): void;
}

/** ALREADY_OPEN if another open tide has this folder, in this process or another. STORAGE_FAILED. */
export async function lockFolder(folder: string): Promise<FolderLock> {
  const file = path.join(folder, "lock");
  if (process.platform !== "linux") return exclusiveOpen(file);
  const fd = openedFile(file, constants.O_RDWR | constants.O_CREAT);
  try {
    const means = await lockByProgram(file, fd);
    const server = means === "socket" ? await listening(folder, file) : undefined;
    return makeLock(file, fd, means, () => void server?.close());
  } catch (thrown) {
    closeSync(fd);
    throw thrown;
  }
}

function openedFile(file: string, flags: number): number {
  try {
    return openSync(file, flags, 0o644);
  } catch (cause) {
    if (["EAGAIN", "EWOULDBLOCK", "EBUSY"].includes((cause as NodeJS.ErrnoException).code ?? "")) throw taken(file);
    throw new TidemarkError(
      "STORAGE_FAILED",
      `the file ${file} can't be opened: ${String(cause)}`,
      { file },
      { cause },
    );
  }
}

function exclusiveOpen(file: string): FolderLock {
  const { O_RDWR, O_CREAT, O_NONBLOCK } = constants;
  const exclusive = process.platform === "win32" ? WINDOWS_EXLOCK : O_EXLOCK | O_NONBLOCK;
  return makeLock(file, openedFile(file, O_RDWR | O_CREAT | exclusive), "exlock", () => undefined);
}

function makeLock(file: string, fd: number, means: FolderLock["means"], end: () => void): FolderLock {
  try {
    ftruncateSync(fd);
    writeSync(fd, `${process.pid}\n`);
  } catch {
    // The disk is full. The text is for people alone, and topics that can be opened can be trimmed.
  }
  let isHeld = true;
  return {
    means,
    isHeld: () => means === "socket" || isThere(file, fd),
    release(): void {
      if (!isHeld) return;
      isHeld = false;
      end();
      closeSync(fd);
    },
  };
}

function taken(file: string): TidemarkError {
  let holder = "";
  try {
    holder = readFileSync(file, "utf8").trim();
  } catch {
    // On Windows nobody else can read it.
  }
  const folder = path.dirname(file);
  const who = holder === `${process.pid}` ? "this process" : holder ? `process ${holder}` : "another process";
  return new TidemarkError("ALREADY_OPEN", `${who} has the tide in ${folder} open; close it there first`, {
    folder,
    ...(holder && { pid: Number(holder) }),
  });
}

/** Locks the open file, if there is a program that does it. */
async function lockByProgram(file: string, fd: number): Promise<"flock" | "socket"> {
  for (const program of FLOCKS) {
    const code = await run(program, ["-x", "-n", "3"], fd);
    if (code === 0) return "flock";
    if (code === HELD) throw taken(file);
    if (code !== undefined)
      throw new TidemarkError("STORAGE_FAILED", `${file} can't be locked: flock ended with ${code}`, { file, code });
  }
  return "socket";
}

/** The program's exit code; it has `fd` as its file 3. Undefined if there is no such program. */
function run(program: string, args: readonly string[], fd: number): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ["ignore", "ignore", "ignore", fd] });
    child.once("error", (cause: NodeJS.ErrnoException) => {
      if (cause.code === "ENOENT" || cause.code === "EACCES") resolve(undefined);
      else reject(new TidemarkError("STORAGE_FAILED", `${program} can't be run: ${cause.message}`, {}, { cause }));
    });
    child.once("exit", (code) => resolve(code ?? -1));
  });
}

async function listening(folder: string, file: string): Promise<Server> {
  const { dev, ino } = statSync(folder, { bigint: true });
  const server = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve, reject) => {
    server.once("error", (cause: NodeJS.ErrnoException) =>
      reject(
        cause.code === "EADDRINUSE"
          ? taken(file)
          : new TidemarkError("STORAGE_FAILED", `${folder} can't be locked: ${cause.message}`, { folder }, { cause }),
      ),
    );
    // A cluster's worker would otherwise share the address with its siblings.
    server.listen({ path: `\0tidemark-${dev}-${ino}`, exclusive: true }, resolve);
  });
  server.unref();
  return server;
}

function isThere(file: string, fd: number): boolean {
  try {
    return isSameFile(file, fd);
  } catch {
    // The system does not say now.
    return true;
  }
}

/** True if the path still leads to the file that is open as `fd`. */
export function isSameFile(file: string, fd: number): boolean {
  try {
    const there = statSync(file, { bigint: true });
    const ours = fstatSync(fd, { bigint: true });
    return there.ino === ours.ino && there.dev === ours.dev;
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === "ENOENT") return false;
    throw thrown;
  }
}
