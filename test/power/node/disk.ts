/**
 * A disk below `node:fs` that forgets what was not synced. The process sees each call at once, as through the system's
 * page cache. When the power goes, of each file any subset of the sectors that were written since its last sync is
 * left, in a length in between; of each folder any subset of the names that were made, renamed and removed since the
 * folder's own last sync. A sync counts for what was there when it began, once it has ended.
 *
 *   file    durable ─ pending writes ─▶ live         fsync, fdatasync
 *   folder  durable ─ pending changes ─▶ live        fsync of the folder
 */
import { promisify } from "node:util";
import type { Random } from "../../simulation/prng.ts";

const SECTOR_BYTES = 512;
/** Descriptors of this disk begin here, so that those of the system are told from them. */
const FIRST_FD = 1_000_000;

interface Write {
  readonly at: number;
  readonly bytes: Uint8Array;
}
class FileNode {
  durable: Uint8Array = new Uint8Array(0);
  live: Uint8Array = new Uint8Array(0);
  pending: readonly Write[] = [];
}
interface Change {
  readonly gone: string | undefined;
  readonly name: string | undefined;
  readonly node: Node;
}
class FolderNode {
  durable: ReadonlyMap<string, Node> = new Map();
  live = new Map<string, Node>();
  pending: readonly Change[] = [];
}
type Node = FileNode | FolderNode;

/** Syncs that a planted bug leaves out. */
export type LeftOut = "file" | "folder" | "folder of slots" | undefined;
export type Faults = Record<
  "cuts" | "writes lost" | "writes torn" | "files shorter" | "names lost" | "names kept" | "cuts during a sync",
  number
>;
export const noFaults = (): Faults => ({
  cuts: 0,
  "writes lost": 0,
  "writes torn": 0,
  "files shorter": 0,
  "names lost": 0,
  "names kept": 0,
  "cuts during a sync": 0,
});

const failed = (code: string, path: string): Error => Object.assign(new Error(`${code}: ${path}`), { code });

function written(bytes: Uint8Array, { at, bytes: part }: Write): Uint8Array {
  const end = Math.max(bytes.length, at + part.length);
  const grown = end === bytes.length ? bytes : new Uint8Array(end);
  if (grown !== bytes) grown.set(bytes);
  grown.set(part, at);
  return grown;
}

const parts = (path: string): string[] => path.split("/").filter((part) => part !== "");

export class PowerDisk {
  readonly #root = new FolderNode();
  readonly #fds = new Map<number, Node>();
  readonly #leftOut: LeftOut;
  #nextFd = FIRST_FD;
  #syncs = 0;
  /** Calls that change something before the power goes. Undefined: it stays. */
  left: number | undefined;
  isOff = false;
  readonly faults = noFaults();

  constructor(leftOut?: LeftOut) {
    this.#leftOut = leftOut;
    // The mount point.
    this.#root.durable = new Map([["power", new FolderNode()]]);
    this.#root.live = new Map(this.#root.durable);
  }

  /** Each call that changes or syncs anything is a moment at which the power may go. */
  #step(): void {
    if (!this.isOff && this.left !== undefined && this.left-- <= 0) {
      this.isOff = true;
      if (this.#syncs > 0) this.faults["cuts during a sync"]++;
    }
    this.#check();
  }
  #check(): void {
    if (this.isOff) throw failed("EIO", "the power is off");
  }

  // --- calls of node:fs --------------------------------------------------------------------------------------------

  #folder(names: readonly string[]): FolderNode {
    let at: Node = this.#root;
    for (const name of names) {
      const next: Node | undefined = at instanceof FolderNode ? at.live.get(name) : undefined;
      if (!next) throw failed("ENOENT", names.join("/"));
      at = next;
    }
    if (!(at instanceof FolderNode)) throw failed("ENOTDIR", names.join("/"));
    return at;
  }
  #place(path: string): { readonly folder: FolderNode; readonly name: string } {
    const names = parts(path);
    return { folder: this.#folder(names.slice(0, -1)), name: names.at(-1)! };
  }
  #change(folder: FolderNode, change: Change): void {
    if (change.gone !== undefined) folder.live.delete(change.gone);
    if (change.name !== undefined) folder.live.set(change.name, change.node);
    folder.pending = [...folder.pending, change];
  }

  mkdirSync(path: string): string | undefined {
    const names = parts(path);
    let first: string | undefined;
    for (let i = 1; i <= names.length; i++) {
      const folder = this.#folder(names.slice(0, i - 1));
      const name = names[i - 1]!;
      if (folder.live.has(name)) continue;
      this.#step();
      this.#change(folder, { gone: undefined, name, node: new FolderNode() });
      first ??= `/${names.slice(0, i).join("/")}`;
    }
    return first;
  }

  openSync(path: string, flags: string): number {
    this.#check();
    const names = parts(path);
    const { folder, name } = this.#place(path);
    let node = names.length === 0 ? this.#root : folder.live.get(name);
    if (!node && flags.startsWith("r")) throw failed("ENOENT", path);
    if (!node) {
      this.#step();
      node = new FileNode();
      this.#change(folder, { gone: undefined, name, node });
    } else if (flags.startsWith("w") && node instanceof FileNode) {
      // The cut of a file is as unsynced as a write: here it is a new file under the name.
      this.#step();
      node = new FileNode();
      this.#change(folder, { gone: undefined, name, node });
    }
    this.#fds.set(this.#nextFd, node);
    return this.#nextFd++;
  }

  closeSync(fd: number): void {
    this.#fds.delete(fd);
  }

  #file(fd: number): FileNode {
    const node = this.#fds.get(fd);
    if (!(node instanceof FileNode)) throw failed("EBADF", String(fd));
    return node;
  }

  writeSync(fd: number, bytes: Uint8Array, from: number, length: number, at: number): number {
    this.#step();
    const file = this.#file(fd);
    const write = { at, bytes: bytes.slice(from, from + length) };
    file.live = written(file.live, write);
    file.pending = [...file.pending, write];
    return length;
  }

  readSync(fd: number, target: Uint8Array, from: number, length: number, at: number): number {
    this.#check();
    const found = this.#file(fd).live.subarray(at, at + length);
    target.set(found, from);
    return found.length;
  }

  readdirSync(path: string): string[] {
    this.#check();
    return [...this.#folder(parts(path)).live.keys()];
  }

  statSync(path: string): { readonly size: number } {
    this.#check();
    const { folder, name } = this.#place(path);
    const node = folder.live.get(name);
    if (!node) throw failed("ENOENT", path);
    return { size: node instanceof FileNode ? node.live.length : 0 };
  }

  renameSync(from: string, to: string): void {
    this.#step();
    const [before, after] = [this.#place(from), this.#place(to)];
    const node = before.folder.live.get(before.name);
    if (!node) throw failed("ENOENT", from);
    this.#change(after.folder, { gone: before.name, name: after.name, node });
  }

  rmSync(path: string): void {
    const { folder, name } = this.#place(path);
    const node = folder.live.get(name);
    if (!node) return;
    this.#step();
    this.#change(folder, { gone: name, name: undefined, node });
  }

  /** Begins a sync; what it gives back ends it. */
  #sync(fd: number): () => void {
    this.#step();
    const node = this.#fds.get(fd);
    if (!node) throw failed("EBADF", String(fd));
    if (node instanceof FolderNode) {
      const { pending } = node;
      const durable = new Map(node.live);
      return () => {
        const hasSlots = [...durable.values()].some((child) => child instanceof FileNode);
        if (this.#leftOut === "folder" || (this.#leftOut === "folder of slots" && hasSlots)) return;
        node.durable = durable;
        node.pending = node.pending.slice(pending.length);
      };
    }
    const { pending } = node;
    return () => {
      if (this.#leftOut === "file") return;
      node.durable = pending.reduce(written, node.durable.slice());
      node.pending = node.pending.slice(pending.length);
    };
  }

  fdatasyncSync(fd: number): void {
    this.#sync(fd)();
  }

  readonly fsync = (fd: number, done: (error: Error | null) => void): void => {
    let end: () => void;
    try {
      end = this.#sync(fd);
    } catch (thrown) {
      return void setImmediate(done, thrown as Error);
    }
    this.#syncs++;
    setImmediate(() => {
      this.#syncs--;
      if (this.isOff) return done(failed("EIO", "the power is off"));
      end();
      done(null);
    });
  };

  readonly write = Object.assign(() => undefined, {
    [promisify.custom]: async (fd: number, bytes: Uint8Array, from: number, length: number, at: number) => ({
      bytesWritten: this.writeSync(fd, bytes, from, length, at),
    }),
  });

  // --- power -------------------------------------------------------------------------------------------------------

  /** The power goes, and comes back: what is left is all that anybody can read. */
  cut(random: Random): void {
    this.faults.cuts++;
    this.#fds.clear();
    const seen = new Set<Node>();
    const settle = (node: Node): void => {
      if (seen.has(node)) return;
      seen.add(node);
      if (node instanceof FileNode) return this.#settleFile(node, random);
      this.#settleFolder(node, random);
      for (const child of node.live.values()) settle(child);
    };
    settle(this.#root);
    this.isOff = false;
    this.left = undefined;
  }

  #settleFolder(folder: FolderNode, random: Random): void {
    const names = new Map(folder.durable);
    for (const { gone, name, node } of folder.pending) {
      if (random.chance(0.5)) {
        this.faults["names lost"]++;
        continue;
      }
      this.faults["names kept"]++;
      if (gone !== undefined) names.delete(gone);
      if (name !== undefined) names.set(name, node);
    }
    folder.durable = names;
    folder.live = new Map(names);
    folder.pending = [];
  }

  #settleFile(file: FileNode, random: Random): void {
    const { length } = file.live;
    // A cut that takes all, one that takes nothing, and one that takes what comes.
    const odds = [0, 0.5, 1][random.int(3)]!;
    let left = file.durable;
    for (const write of file.pending) {
      const kept = sectorsOf(write).filter(() => random.chance(odds));
      left = kept.reduce(written, left);
      const lost = sectorsOf(write).length - kept.length;
      if (lost > 0) this.faults[kept.length > 0 ? "writes torn" : "writes lost"]++;
    }
    if (left.length < length) this.faults["files shorter"]++;
    file.durable = left.slice();
    file.live = left.slice();
    file.pending = [];
  }
}

function sectorsOf({ at, bytes }: Write): Write[] {
  const found: Write[] = [];
  for (let from = 0; from < bytes.length;) {
    const end = Math.min(bytes.length, from + SECTOR_BYTES - ((at + from) % SECTOR_BYTES));
    found.push({ at: at + from, bytes: bytes.subarray(from, end) });
    from = end;
  }
  return found;
}
