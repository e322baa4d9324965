/**
 * The edge's log as any reader sees it, over plain HTTP: what is there, and then a long-poll for what comes. It knows
 * nothing of devices, so a record says by itself who wrote it.
 */
import { add, type Note, NOTHING, titleOf } from "./devices.ts";
import type { Row, Tide } from "./tide-box.ts";

const KEPT = 32;
/** How long to wait for an edge that does not answer. */
const WAIT_MS = 2_000;

export class EdgeLog implements Tide {
  readonly #url: string;
  readonly #ends = new AbortController();
  #committed: Row[] = [];
  readonly provisional = [];
  count = 0;
  sum = NOTHING;
  isAnswering = true;

  constructor(url: string) {
    this.#url = url;
  }

  get committed(): readonly Row[] {
    return this.#committed;
  }
  get end(): number {
    return this.count;
  }

  /** Makes the log if there is none. */
  async make(): Promise<void> {
    const answer = await fetch(this.#url, { method: "PUT", headers: { "content-type": "application/json" } });
    if (!answer.ok) throw new Error(`The edge does not make the log: ${answer.status} ${await answer.text()}`);
  }

  async follow(changed: () => void): Promise<void> {
    const { signal } = this.#ends;
    let query = "offset=-1";
    while (!signal.aborted) {
      try {
        const answer = await fetch(`${this.#url}?${query}`, { signal, cache: "no-store" });
        if (!answer.ok) throw new Error(String(answer.status));
        // 204: nothing has come for a while.
        if (answer.status === 200) this.#take((await answer.json()) as Note[]);
        const isAtEnd = answer.headers.has("stream-up-to-date");
        query = `offset=${answer.headers.get("stream-next-offset")}${isAtEnd ? "&live=long-poll" : ""}`;
        this.isAnswering = true;
      } catch {
        if (signal.aborted) return;
        this.isAnswering = false;
        changed();
        await new Promise((resolve) => setTimeout(resolve, WAIT_MS));
        continue;
      }
      changed();
    }
  }

  close(): void {
    this.#ends.abort();
  }

  /** The log keeps everything, so a record's number in it is its offset. */
  #take(notes: readonly Note[]): void {
    for (const note of notes) {
      const offset = this.count++;
      this.sum = add(this.sum, note);
      this.#committed.push({ id: String(offset), offset, text: note.text, from: titleOf(note.from) });
    }
    this.#committed = this.#committed.slice(-KEPT);
  }
}
