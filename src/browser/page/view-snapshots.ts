/**
 * Snapshots of views: a compacted topic of the tide, "__snapshots", for the views of all its topics. They hold
 * committed state only. A view that has one begins there; losing one costs time only.
 *
 *   key       <topic>␀<view>␀<version>␀<slot>␀<part>     slots 0 and 1 take turns: a torn write harms the older one
 *   value     up to 512 KiB of the state's bytes, or what a batch of this tide holds
 *   headers   of the last part: stream, offset, parts, bytes and the CRC of the whole
 *
 * A snapshot counts if all parts of its slot are there and the checksum is theirs.
 */
import { concat } from "../../record/bytes.ts";
import type { Topic } from "../api.ts";
import { takeLock } from "../platform/locks.ts";
import type { ChangingTopic } from "./topic-changes.ts";

const LOG = "__snapshots";
const PART_BYTES = 512 * 1024;
/** More than the key, the headers and the frame of a part take. */
const AROUND_BYTES = 2048;

/** Which state it is: of which log, and how far. */
export interface SnapshotPlace {
  readonly stream: string;
  readonly offset: number;
}

export interface StoredSnapshot extends SnapshotPlace {
  readonly slot: number;
  readonly bytes: Uint8Array;
}

interface Part {
  readonly bytes: Uint8Array;
  readonly headers: Readonly<Record<string, string | null>>;
}

export class ViewSnapshots {
  readonly #topic: ChangingTopic<never>;
  readonly #name: string;
  readonly #prefix: string;

  constructor(topic: ChangingTopic<never>, name: string, version: number) {
    this.#topic = topic;
    this.#name = name;
    this.#prefix = [topic.name, name, version, ""].join("\0");
  }

  get #log(): Topic<Uint8Array> {
    return this.#topic.tide.topic<Uint8Array>(LOG, { serializer: "bytes", compaction: true });
  }

  #lock(what: string): string {
    return `tidemark-view${what}:${this.#topic.tide.name}:${this.#topic.name}:${this.#name}`;
  }

  /** Resolves when this tab is the one that writes snapshots of this view by itself, until the signal is aborted. */
  async keeper(signal: AbortSignal): Promise<void> {
    const free = await takeLock(this.#lock(""), { signal });
    if (signal.aborted) return free!();
    signal.addEventListener("abort", () => free!());
  }

  /** The snapshots that are whole, the newest first. */
  async all(): Promise<StoredSnapshot[]> {
    const slots: Part[][] = [[], []];
    for await (const batch of this.#log.readBatches())
      for (const { key, valueBytes, headers } of batch) {
        if (!key?.startsWith(this.#prefix)) continue;
        const [slot, part] = key.slice(this.#prefix.length).split("\0").map(Number);
        const parts = slots[slot!];
        if (parts) parts[part!] = { bytes: valueBytes!.slice(), headers };
      }
    return slots.flatMap((parts, slot) => this.#whole(parts, slot) ?? []).sort((a, b) => b.offset - a.offset);
  }

  #whole(parts: readonly Part[], slot: number): StoredSnapshot | undefined {
    // A part that an older, longer snapshot has left may stand behind the last one.
    for (const [last, part] of parts.entries()) {
      const { stream, offset, parts: count, bytes: length, crc } = part?.headers ?? {};
      if (Number(count) !== last + 1) continue;
      const bytes = joined(parts.slice(0, last + 1));
      if (bytes?.length !== Number(length) || this.#topic.kernel.crc32c(bytes) !== Number(crc)) continue;
      return { slot, stream: stream!, offset: Number(offset), bytes };
    }
    return undefined;
  }

  /** Durable when it resolves. One at a time, whichever tab writes. */
  async write(bytes: Uint8Array, { stream, offset }: SnapshotPlace): Promise<void> {
    const free = await takeLock(this.#lock("-save"), {});
    try {
      const [newest] = await this.all();
      if (newest?.stream === stream && newest.offset >= offset) return;
      const slot = newest ? 1 - newest.slot : 0;
      const { batchBytesMax } = this.#topic.tide.opened!;
      const most = Math.min(PART_BYTES, batchBytesMax - AROUND_BYTES);
      const count = Math.max(1, Math.ceil(bytes.length / most));
      const crc = this.#topic.kernel.crc32c(bytes);
      const head = { stream, offset, parts: count, bytes: bytes.length, crc };
      const headers = Object.entries(head).map(([name, value]) => [name, String(value)] as const);
      await Promise.all(
        Array.from({ length: count }, (_, part) =>
          this.#log.append({
            key: `${this.#prefix}${slot}\0${part}`,
            value: bytes.slice(part * most, (part + 1) * most),
            ...(part === count - 1 && { headers }),
          }),
        ),
      );
    } finally {
      free!();
    }
  }
}

/** Undefined where one is missing. */
const joined = (parts: readonly (Part | undefined)[]): Uint8Array | undefined =>
  parts.includes(undefined) ? undefined : concat((parts as readonly Part[]).map(({ bytes }) => bytes));
