/** State that the panels share: the open tide, its topics, the plots, and a redraw at most once a frame. */
import { type Acks, open, type RecordInput, type Tide, type Topic } from "../src/browser/index.ts";
import { byId, el } from "./dom.ts";
import { tellChange } from "./pages.ts";
import type { Plots } from "./plots.ts";
import { drawShore } from "./shore.ts";
import { usageNow } from "./status.ts";

/** Small segments, so that a few megabytes of data show many of them. */
export const SEGMENT_BYTES = 1024 * 1024;
export const TIDE_NAME = "playground";
export const BATCH_RECORDS = 500;
const TOPICS = ["flights", "quakes"] as const;

/** The record that the button appends, for each topic. */
const SAMPLES: Readonly<Record<string, (i: number) => RecordInput<object>>> = {
  flights: (i) => ({ value: { delay: i, distance: 0 } }),
  quakes: (i) => ({ key: "Playground", value: { mag: i % 10, place: "Playground", longitude: 0, latitude: 0 } }),
};

export class App {
  readonly tide: Tide;
  readonly topics: ReadonlyMap<string, Topic<object>>;
  plots: Plots | undefined;
  pickedBase: number | undefined;
  #current = "flights";
  readonly #onPick: (() => void)[] = [];
  readonly #onTopic: (() => void)[] = [];
  #drawing = false;
  #again = false;

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

  /** The name of the topic on display. Buttons write to it and read from it. */
  get current(): string {
    return this.#current;
  }
  get topic(): Topic<object> {
    return this.topics.get(this.#current)!;
  }
  get acks(): Acks {
    return byId<HTMLSelectElement>("acks").value as Acks;
  }
  sample(i = 0): RecordInput<object> {
    return SAMPLES[this.#current]!(i);
  }

  show(topic: string): void {
    const isOther = topic !== this.#current;
    this.#current = topic;
    this.drawTopics();
    if (isOther) for (const changed of this.#onTopic) changed();
  }

  drawTopics(): void {
    const buttons = TOPICS.map((name) => {
      const button = el("button", { type: "button" }, name);
      button.setAttribute("aria-pressed", String(name === this.#current));
      button.addEventListener("click", () => {
        this.show(name);
        void this.draw();
      });
      return button;
    });
    byId("topics").replaceChildren(...buttons);
  }

  /** Redraws the shore. A call during a redraw makes it draw once more. */
  async draw(): Promise<void> {
    this.#again = true;
    if (this.#drawing) return;
    this.#drawing = true;
    try {
      while (this.#again) {
        this.#again = false;
        await new Promise(requestAnimationFrame);
        const [state, usage] = await Promise.all([this.topic.state(), usageNow()]);
        drawShore(state, { segmentBytes: SEGMENT_BYTES, usage }, (segment) => {
          this.pickedBase = segment.baseOffset;
          for (const picked of this.#onPick) picked();
        });
      }
    } finally {
      this.#drawing = false;
    }
  }

  /** This page has changed the log: draws it, and tells other pages to draw it. */
  async changed(): Promise<void> {
    tellChange();
    await this.draw();
  }

  onPick(picked: () => void): void {
    this.#onPick.push(picked);
  }
  /** `changed` is called when another topic is displayed. */
  onTopic(changed: () => void): void {
    this.#onTopic.push(changed);
  }

  /** Appends one batch, and reports its ack to the plots. */
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
