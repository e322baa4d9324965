/**
 * A view as the application holds it: what is shown now. What folds is loaded by the first view (topic-view.ts) and
 * writes here.
 */
import { callback, checkOptions, elsewhere } from "../../topic/check.ts";
import type { ViewOptions } from "../api.ts";
import type { ChangingTopic } from "./topic-changes.ts";
import type { PageView } from "./topic-view.ts";

export function pageView<S, V>(topic: ChangingTopic<V>, options: ViewOptions<S, V>): PageView<S> {
  // Other options are checked where they are used; this is called at once.
  checkOptions("view()", options, { initial: callback }, elsewhere);
  callback("initial", options.initial);
  const current = options.initial();
  const listeners = new Set<(current: S) => void>();
  const ended = new AbortController();
  const view: PageView<S> = {
    current,
    committed: current,
    at: { offset: 0, provisional: 0 },
    listeners,
    ended,
    ready: () => running.then((run) => run.ready()),
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    save: () => running.then((run) => run.save()),
    close: () => ended.abort(),
  };
  const running = import("./topic-view.ts").then(({ runView }) => runView(view, topic, options));
  running.catch(() => undefined);
  return view;
}
