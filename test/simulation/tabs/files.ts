/**
 * The origin private file system: one tree for all contexts, exclusive and shared handles, and snapshots of files that
 * may be locked. Only processes fail here, so writes are kept; power fails in test/simulation and test/power.
 */
import type { Context, World } from "./world.ts";

/** After its holder ends, a file is free within this time. */
const GONE_MS_MAX = 40;
const error = (name: string): DOMException => new DOMException(name, name);

class FileNode {
  bytes: Uint8Array = new Uint8Array(0);
  version = 0;
  readonly holders = new Set<Handle>();

  /** Sets the size at once: slots have one size. */
  resize(size: number): void {
    const bytes = new Uint8Array(size);
    bytes.set(this.bytes.subarray(0, size));
    this.bytes = bytes;
    this.version++;
  }
  write(at: number, bytes: Uint8Array): void {
    if (at + bytes.length > this.bytes.length) this.resize(at + bytes.length);
    this.bytes.set(bytes, at);
    this.version++;
  }
}
type Folder = Map<string, FileNode | Folder>;

interface Late {
  readonly at: number;
  readonly bytes: Uint8Array;
}

/** A sync access handle. */
class Handle {
  readonly #context: Context;
  readonly #file: FileNode;
  /** Writes that are done for this context, whose process is stopped. They reach the disk when it continues. */
  readonly #late = new Set<Late>();
  #closed = false;

  constructor(
    context: Context,
    file: FileNode,
    readonly isShared: boolean,
  ) {
    this.#context = context;
    this.#file = file;
    file.holders.add(this);
    context.onDeath.push(() =>
      context.world.send(context.world.random.int(GONE_MS_MAX), "handle goes", {}, () => this.#free()),
    );
  }

  #check(): void {
    if (this.#closed) throw error("InvalidStateError");
  }
  #free(): void {
    this.#file.holders.delete(this);
  }

  read(target: Uint8Array, { at }: { readonly at: number }): number {
    this.#check();
    const found = this.#file.bytes.subarray(at, at + target.length);
    target.set(found);
    for (const late of this.#late) {
      const from = Math.max(at, late.at);
      const to = Math.min(at + found.length, late.at + late.bytes.length);
      if (from < to) target.set(late.bytes.subarray(from - late.at, to - late.at), from - at);
    }
    return found.length;
  }

  write(bytes: Uint8Array, { at }: { readonly at: number }): number {
    this.#check();
    const { world } = this.#context;
    this.#context.tick("write");
    if (this.#context.now() <= world.now) this.#file.write(at, bytes);
    else {
      const late = { at, bytes: bytes.slice() };
      this.#late.add(late);
      world.send(0, "late write", { from: this.#context }, () => {
        world.note("write.late");
        this.#late.delete(late);
        this.#file.write(at, late.bytes);
      });
    }
    return bytes.length;
  }

  truncate(size: number): void {
    this.#check();
    if (size > 2 ** 40) throw error("QuotaExceededError");
    if (size !== this.#file.bytes.length) this.#file.resize(size);
  }
  getSize(): number {
    this.#check();
    return this.#file.bytes.length;
  }
  flush(): void {
    this.#check();
  }
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#context.world.send(0, "close", { from: this.#context }, () => this.#free());
  }
}

export class Files {
  readonly root: Folder = new Map();

  constructor(
    readonly world: World,
    /**
     * In Chromium a snapshot ends with the next write, while Firefox's shows it. In Chromium several handles may have a
     * file open if all of them ask for it.
     */
    readonly isChromium: boolean,
  ) {}

  #at(path: readonly string[]): FileNode | Folder | undefined {
    let node: FileNode | Folder | undefined = this.root;
    for (const name of path) node = node instanceof Map ? node.get(name) : undefined;
    return node;
  }
  has(path: readonly string[]): boolean {
    return this.#at(path) !== undefined;
  }
  names(path: readonly string[]): readonly string[] {
    const node = this.#at(path);
    return node instanceof Map ? [...node.keys()] : [];
  }

  /** Number of handles of the files below this path, in all contexts. */
  handlesOf(path: readonly string[]): number {
    const node = this.#at(path);
    return node instanceof Map
      ? [...node.values()].reduce((sum, file) => sum + (file instanceof FileNode ? file.holders.size : 0), 0)
      : 0;
  }
  /** Removes files as clearing the site's data does: open handles stay open, but have no name. */
  clear(path: readonly string[]): void {
    const node = this.#at(path);
    if (node instanceof Map) node.clear();
  }

  /** Runs `work` in the browser's process and brings its answer back. */
  #ask<T>(context: Context, word: string, work: () => T): Promise<T> {
    context.tick("file");
    const { world } = this;
    return new Promise((resolve, reject) => {
      world.send(world.delay() / 2, word, { from: context }, () => {
        if (context.dead) return;
        let answer: () => void;
        try {
          const value = work();
          answer = () => resolve(value);
        } catch (thrown) {
          answer = () => reject(thrown);
        }
        world.send(world.delay() / 2, word, { to: context }, answer);
      });
    });
  }

  directory(context: Context): Promise<unknown> {
    return this.#ask(context, "root", () => this.#folder(context, this.root));
  }

  #folder(context: Context, folder: Folder): unknown {
    const find = <Kind>(
      name: string,
      create: boolean,
      isKind: (node: unknown) => boolean,
      make: () => FileNode | Folder,
    ): Kind => {
      const known = folder.get(name);
      if (!known && !create) throw error("NotFoundError");
      if (known && !isKind(known)) throw error("TypeMismatchError");
      if (!known) folder.set(name, make());
      return folder.get(name) as Kind;
    };
    return {
      kind: "directory",
      getDirectoryHandle: (name: string, { create = false } = {}) =>
        this.#ask(context, "folder", () =>
          this.#folder(
            context,
            find<Folder>(
              name,
              create,
              (node) => node instanceof Map,
              () => new Map(),
            ),
          ),
        ),
      getFileHandle: (name: string, { create = false } = {}) =>
        this.#ask(context, "file", () => {
          const file = (made: boolean): FileNode =>
            find<FileNode>(
              name,
              made,
              (node) => node instanceof FileNode,
              () => new FileNode(),
            );
          file(create);
          return this.#file(context, () => file(false));
        }),
      keys: () => this.#names(context, folder),
      removeEntry: (name: string) =>
        this.#ask(context, "remove", () => {
          const node = folder.get(name);
          if (!node) throw error("NotFoundError");
          const files = node instanceof FileNode ? [node] : [...node.values()];
          if (files.some((file) => file instanceof FileNode && file.holders.size > 0))
            throw error("NoModificationAllowedError");
          folder.delete(name);
        }),
    };
  }

  async *#names(context: Context, folder: Folder): AsyncGenerator<string> {
    yield* await this.#ask(context, "names", () => [...folder.keys()]);
  }

  /** A file's handle by name: it means whichever file has the name when it is used. */
  #file(context: Context, find: () => FileNode): unknown {
    return {
      kind: "file",
      createSyncAccessHandle: ({ mode }: { readonly mode?: string } = {}) =>
        this.#ask(context, "handle", () => {
          const file = find();
          const isShared = this.isChromium && mode === "readwrite-unsafe";
          if (file.holders.size > 0 && !(isShared && [...file.holders].every((holder) => holder.isShared))) {
            this.world.note("handle.locked");
            throw error("NoModificationAllowedError");
          }
          if (file.holders.size > 0) this.world.note("handle.shared");
          return new Handle(context, file, isShared);
        }),
      getFile: () => this.#ask(context, "snapshot", () => this.#snapshot(context, find())),
    };
  }

  #snapshot(context: Context, file: FileNode): unknown {
    const { version } = file;
    const size = file.bytes.length;
    return {
      size,
      slice: (from: number, to: number) => ({
        arrayBuffer: () =>
          this.#ask(context, "slice", () => {
            if (this.isChromium && file.version !== version) {
              this.world.note("snapshot.ended");
              throw error("NotReadableError");
            }
            return file.bytes.slice(from, Math.min(to, size)).buffer;
          }),
      }),
    };
  }
}
