/** Reads Server-Sent Events as the standard says, for tests of the edge's answers. */
export interface SseEvent {
  readonly type: string;
  readonly id: string;
  readonly data: string;
}

export interface Control {
  readonly streamNextOffset: string;
  readonly streamCursor?: string;
  readonly upToDate?: boolean;
  readonly streamClosed?: boolean;
}

export class SseReader {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #decoder = new TextDecoder();
  readonly #queue: SseEvent[] = [];
  #buffer = "";
  #id = "";
  /** How many comments came. */
  comments = 0;
  /** How many pieces the answer came in so far. */
  pieces = 0;
  retry: string | undefined;
  done = false;

  constructor(readonly response: Response) {
    if (response.status !== 200) throw new Error(`${response.status}`);
    this.#reader = response.body!.getReader();
  }

  /** The next event, or undefined at the end of the answer. */
  async next(): Promise<SseEvent | undefined> {
    while (this.#queue.length === 0 && (await this.more()));
    return this.#queue.shift();
  }

  /** Reads one more piece of the answer. False at its end. */
  async more(): Promise<boolean> {
    const { done, value } = await this.#reader.read();
    if (done) return !(this.done = true);
    this.pieces++;
    this.#buffer += this.#decoder.decode(value, { stream: true });
    const blocks = this.#buffer.split("\n\n");
    this.#buffer = blocks.pop()!;
    for (const block of blocks) this.#take(block);
    return true;
  }

  #take(block: string): void {
    let type = "message";
    const data: string[] = [];
    for (const line of block.split(/\r\n|\r|\n/)) {
      const [, field, text = ""] = /^([^:]*)(?:: ?([^]*))?$/.exec(line)!;
      if (field === "") this.comments++;
      else if (field === "event") type = text;
      else if (field === "data") data.push(text);
      else if (field === "id") this.#id = text;
      else if (field === "retry") this.retry = text;
    }
    if (data.length > 0) this.#queue.push({ type, id: this.#id, data: data.join("\n") });
  }

  async control(): Promise<Control> {
    for (;;) {
      const found = await this.next();
      if (!found) throw new Error("the answer has ended");
      if (found.type === "control") return JSON.parse(found.data) as Control;
    }
  }

  /** The texts of data events until an event says that the reader has everything up to `offset`. */
  async dataUntil(offset: string): Promise<string[]> {
    const found: string[] = [];
    for (;;) {
      const event = await this.next();
      if (!event) throw new Error(`the answer has ended behind ${JSON.stringify(found)}`);
      if (event.type === "data") found.push(event.data);
      else if ((JSON.parse(event.data) as Control).streamNextOffset >= offset) return found;
    }
  }

  cancel(): Promise<void> {
    return this.#reader.cancel();
  }
}

export const offsetText = (offset: number): string => `${String(offset).padStart(16, "0")}_${"0".repeat(16)}`;
