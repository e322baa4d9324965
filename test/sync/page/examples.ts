/** The three worked examples of docs/sync.md as a page has them: last writer wins, counters, sets. */
import type { Change, Tide, View } from "../../../src/browser/index.ts";

type Field = { value: string; at: number; id: string };
type Move = { add: string } | { remove: readonly string[] };

export interface Shown {
  readonly title: string | undefined;
  readonly left: number;
  readonly tags: readonly string[];
}

export class Examples {
  readonly #tide: Tide;
  readonly #titles: View<Record<string, Field>>;
  readonly #stock: View<Record<string, number>>;
  readonly #tags: View<Record<string, string>>;
  /** What changes() tells of titles: the type, and the record's id. */
  readonly told: [type: Change["type"], id: string | undefined][] = [];

  constructor(tide: Tide) {
    this.#tide = tide;
    this.#titles = tide.topic("titles").view<Record<string, Field>>({
      name: "titles",
      initial: () => ({}),
      apply(state, { key, value, timestamp: at, id }) {
        const had = state[key!];
        if (had && (had.at > at || (had.at === at && had.id >= id))) return state;
        return { ...state, [key!]: { value: value as string, at, id } };
      },
      check: true,
    });
    this.#stock = tide
      .topic("stock")
      .view<Record<string, number>>({
        name: "stock",
        initial: () => ({}),
        apply: (state, { key, value }) => ({ ...state, [key!]: (state[key!] ?? 0) + (value as { by: number }).by }),
        check: true,
      });
    this.#tags = tide.topic("tags").view<Record<string, string>>({
      name: "tags",
      initial: () => ({}),
      apply(state, { id, value }) {
        const move = value as Move;
        if ("add" in move) return { ...state, [id]: move.add };
        return Object.fromEntries(Object.entries(state).filter(([each]) => !move.remove.includes(each)));
      },
      check: true,
    });
    void this.#listen();
  }

  async #listen(): Promise<void> {
    for await (const change of this.#tide.topic("titles").changes()) {
      const { type } = change;
      if (type !== "level") this.told.push([type, "record" in change ? change.record.id : undefined]);
    }
  }

  async rename(key: string, value: string, timestamp: number): Promise<string> {
    return (await this.#tide.topic("titles").append({ key, value, timestamp })).id;
  }
  async count(key: string, by: number): Promise<void> {
    await this.#tide.topic("stock").append({ key, value: { by } });
  }
  async tag(add: string): Promise<void> {
    await this.#tide.topic("tags").append({ value: { add } });
  }
  async untag(tag: string): Promise<void> {
    const { current } = this.#tags;
    await this.#tide
      .topic("tags")
      .append({ value: { remove: Object.keys(current).filter((id) => current[id] === tag) } });
  }

  get shown(): Shown {
    return {
      title: this.#titles.current["o-1"]?.value,
      left: this.#stock.current["tea"] ?? 0,
      tags: [...new Set(Object.values(this.#tags.current))].sort(),
    };
  }

  /** Resolves when the views show this. */
  shows(wanted: Shown): Promise<void> {
    return new Promise((resolve) => {
      const look = (): void => {
        const { title, left, tags } = this.shown;
        if (title === wanted.title && left === wanted.left && tags.join() === wanted.tags.join()) resolve();
      };
      for (const view of this.#views) view.subscribe(look);
      look();
    });
  }

  get #views(): readonly View<unknown>[] {
    return [this.#titles, this.#stock, this.#tags];
  }

  /** Resolves with the committed states and how far they go, once nothing waits for its place. */
  async settled(): Promise<unknown> {
    await this.#tide.syncing!.drained();
    await this.#tide.syncing!.caughtUp();
    for (const view of this.#views)
      await new Promise<void>((resolve) => {
        const look = (): unknown => view.at.provisional === 0 && resolve();
        // What has its place changes no state, so that nobody is told.
        const timer = setInterval(() => look() === undefined && clearInterval(timer), 20);
        look();
      });
    return this.#views.map(({ committed, at }) => ({ committed, at }));
  }
}
