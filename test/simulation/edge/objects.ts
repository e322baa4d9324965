/** Object storage of the platform. */
import { createHash } from "node:crypto";
import { turn } from "./virtual-time.ts";

/** A bucket of object storage. */
export class Objects {
  readonly held = new Map<string, Uint8Array>();
  isAway = false;

  #check(): void {
    if (this.isAway) throw new Error("object storage is away");
  }
  async put(key: string, value: Uint8Array, { sha256 }: { sha256?: ArrayBuffer }): Promise<object | null> {
    this.#check();
    if (this.held.has(key)) return null;
    const copy = new Uint8Array(value).slice();
    await turn();
    this.#check();
    if (sha256 && Buffer.from(sha256).toString("hex") !== createHash("sha256").update(copy).digest("hex"))
      throw new Error("bad digest");
    this.held.set(key, copy);
    return {};
  }
  async get(key: string, options?: { range: { offset: number; length: number } }) {
    this.#check();
    const found = this.held.get(key);
    if (!found) return null;
    const { offset, length } = options?.range ?? { offset: 0, length: found.length };
    return { size: found.length, arrayBuffer: async () => found.slice(offset, offset + length).buffer };
  }
  async head(key: string): Promise<{ size: number } | null> {
    this.#check();
    const found = this.held.get(key);
    return found ? { size: found.length } : null;
  }
  async delete(keys: string | string[]): Promise<void> {
    this.#check();
    for (const key of [keys].flat()) this.held.delete(key);
  }
}
