/** What the panels share: the open tide, its topics, the plots, and a redraw that happens at most once a frame. */
import { type Acks, open, type RecordInput, type Tide, type Topic } from "../src/browser/index.ts";
import { byId, el } from "./dom.ts";
import type { Plots } from "./plots.ts";
import { drawShore } from "./shore.ts";

/** Small segments, so that a few megabytes of data show many of them. */
export const SEGMENT_BYTES = 1024 * 1024;
export const TIDE_NAME = "playground";
export const BATCH_RECORDS = 500;
const TOPICS = ["flights", "quakes"] as const;

export class App {
  readonly tide: Tide;
  readonly topics: ReadonlyMap<string, Topic<object>>;
  plots: Plots | undefined;
  current = "flights";
  pickedBase: number | undefined;
  readonly #onPick: (() => void)[] = [];
  #drawing = false;

  private constructor(tide: Tide) {
    this.tide = tide;
    this.topics = new Map([
      ["flights", tide.topic<object>("flights")],
      ["quakes", tide.topic<object>("quakes", { compaction: { tombstoneRetentionMs: 60_000 } })],
    ]);
  }

  static async open(): Promise<App> {
    return new App(await open(TIDE_NAME, { segmentBytes: SEGMENT_BYTES }));
  }

  get topic(): Topic<object> {
    return this.topics.get(this.current)!;
  }
  get acks(): Acks {
    return byId<HTMLSelectElement>("acks").value as Acks;
  }

  drawTopics(): void {
    const buttons = TOPICS.map((name) => {
      const button = el("button", { type: "button" }, name);
      button.setAttribute("aria-pressed", String(name === this.current));
      button.addEventListener("click", () => {
        this.current = name;
        this.drawTopics();
        void this.draw();
      });
      return button;
    });
    byId("topics").replaceChildren(...buttons);
  }

  /** Redraws the shore; calls that come while one is under way are that one. */
  async draw(): Promise<void> {
    if (this.#drawing) return;
    this.#drawing = true;
    try {
      await new Promise(requestAnimationFrame);
      const state = await this.topic.state();
      drawShore(state, SEGMENT_BYTES, (segment) => {
        this.pickedBase = segment.baseOffset;
        for (const picked of this.#onPick) picked();
      });
    } finally {
      this.#drawing = false;
    }
  }

  onPick(picked: () => void): void {
    this.#onPick.push(picked);
  }

  /** Appends one batch and lets the plots know when it is acked. */
  async appendBatch(topic: Topic<object>, records: readonly RecordInput<object>[]): Promise<number> {
    const started = performance.now();
    const { offset } = await topic.appendBatch(records, { acks: this.acks });
    this.plots?.acked(records.length, performance.now() - started);
    return offset;
  }
}

export function notice(title: string, ...body: (Node | string)[]): void {
  byId("notice-title").textContent = title;
  byId("notice-body").replaceChildren(...body);
  byId("notice").hidden = false;
}
