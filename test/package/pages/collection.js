/**
 * The page of the test of `tidemark/tanstack-db`: a list that shows a collection. `window.walk` is what the test
 * drives; `?tide=` names the tide.
 */
import { createCollection } from "@tanstack/db";
import { tidemarkCollectionOptions } from "tidemark/tanstack-db";

const tide = new URLSearchParams(location.search).get("tide");
const todos = createCollection(tidemarkCollectionOptions({ tide, topic: "todos", getKey: ({ id }) => id }));
const list = document.querySelector("ul");

function show() {
  const items = todos.toArray
    .sort((a, b) => (a.id < b.id ? -1 : 1))
    .map(({ text, done }) =>
      Object.assign(document.createElement("li"), { textContent: `${done ? "x" : "-"} ${text}` }),
    );
  list.replaceChildren(...items);
}
const shown = () => [...list.children].map((item) => item.textContent);
todos.subscribeChanges(show, { includeInitialState: true });
await todos.preload();

/** What the list shows in the turn of the call, and what came of the transaction. */
async function outcome(change) {
  const transaction = change();
  const optimistic = shown();
  const error = await transaction.isPersisted.promise.then(
    () => undefined,
    (thrown) => `${thrown.name} ${thrown.code}`,
  );
  return { optimistic, error, state: transaction.state, settled: shown() };
}

globalThis.walk = {
  add: (id, text) => outcome(() => todos.insert({ id, text, done: false })),
  tick: (id) => outcome(() => todos.update(id, (row) => void (row.done = true))),
  remove: (id) => outcome(() => todos.delete(id)),
  /** JSON has no value for it, so the log refuses the record. */
  spoil: (id) => outcome(() => todos.update(id, (row) => void (row.text = 5n))),
  /** As fast as it goes, in one turn, each a transaction of its own. */
  addMany: (from, count) =>
    Promise.all(
      Array.from({ length: count }, (_, i) => {
        const id = String(from + i);
        return todos.insert({ id, text: id, done: false }).isPersisted.promise;
      }),
    ).then(() => todos.size),
  size: () => todos.size,
};
