/**
 * Counts what the bindings have running in a page, from outside: in the registry of the page's tides, which all
 * bindings share, and at the tide and the topics themselves.
 */

/** What runs in a page now. Nothing runs: an empty object. */
export type Running = Readonly<Record<string, number>>;

type Ends = (...args: never) => () => void;
interface Page {
  readonly followers: Map<string, object>;
  set(next: { readonly tide?: object }): void;
}

/** What counts, by name. It runs in the page, so it uses nothing of this file. */
function counter() {
  const counts = new Map<string, number>();
  const add = (name: string, by: number): void => void counts.set(name, (counts.get(name) ?? 0) + by);
  const known = new WeakSet<object>();
  /** Counts until `end` is called; calling it again ends nothing more. */
  const until = (name: string, end: () => void): (() => void) => {
    add(name, 1);
    let isOver = false;
    return () => {
      if (!isOver) add(name, -1);
      isOver = true;
      return end();
    };
  };
  const replace = <F>(object: object, method: string, make: (own: F) => F): void => {
    const methods = object as Record<string, F>;
    methods[method] = make((methods[method] as F & { bind(self: object): F }).bind(object));
  };
  return {
    counts,
    until,
    replace,
    isNew: (object: object): boolean => !known.has(object) && !!known.add(object),
    counting: (object: object, method: string, name: string): void =>
      replace<Ends>(
        object,
        method,
        (own) =>
          (...args) =>
            until(name, own(...args)),
      ),
  };
}

/** In the page, too. */
function countRunning({ counts, until, replace, isNew, counting }: ReturnType<typeof counter>): void {
  const countTopic = (topic: object): void => {
    if (!isNew(topic)) return;
    replace<(options: never) => { close(): void }>(topic, "view", (own) => (options) => {
      const view = own(options);
      replace<() => void>(view, "close", (close) => until("views", close));
      return view;
    });
    replace<(options: { readonly signal: AbortSignal }) => unknown>(topic, "changes", (own) => (options) => {
      options.signal.addEventListener(
        "abort",
        until("changes", () => undefined),
      );
      return own(options);
    });
  };
  const countTide = (tide: object): void => {
    if (!isNew(tide)) return;
    counting(tide, "on", "events");
    replace<(...args: never) => object>(tide, "topic", (own) => (...args) => {
      const topic = own(...args);
      countTopic(topic);
      return topic;
    });
  };
  const countPage = (page: Page): void => {
    counting(page, "subscribe", "listeners of the tide");
    replace<Page["set"]>(page, "set", (own) => (next) => {
      if (next.tide) countTide(next.tide);
      own(next);
    });
    replace<Map<string, object>["set"]>(page.followers, "set", (own) => (key, follower) => {
      counting(follower, "subscribe", `listeners of ${key.split("\n", 1)[0]}`);
      return own(key, follower);
    });
  };
  const pages = new (class extends Map<unknown, Page> {
    override set(key: unknown, page: Page): this {
      if (isNew(page)) countPage(page);
      return super.set(key, page);
    }
  })();
  const running = (): Running => {
    let followers = 0;
    for (const page of pages.values()) followers += page.followers.size;
    const all = [...counts, ["tides", pages.size], ["followers", followers]] as const;
    return Object.fromEntries(all.filter(([, count]) => count !== 0));
  };
  Object.assign(globalThis, { [Symbol.for("tidemark.page-tides")]: { pages, closings: new Map() }, running });
}

/**
 * For a page, before its scripts. Makes `globalThis.running()`: how many there are of
 *
 *   tides                     that some component needs
 *   followers                 that components share
 *   "listeners of …"          components at a tide, a view, records, or sync; a follower listens to its tide as well
 *   views, changes, events    what runs at topics, and calls of tide.on()
 */
export const COUNT_RUNNING = `(${String(countRunning)})((${String(counter)})())`;
