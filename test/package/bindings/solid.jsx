/** The page of `tidemark/solid`. */
import { createEffect, createSignal, ErrorBoundary, For, onMount, Show } from "solid-js";
import {
  defineTopic,
  defineView,
  TideProvider,
  useAppend,
  useRecords,
  useSyncStatus,
  useTide,
  useTideStatus,
  useView,
} from "tidemark/solid";
import { badNote, NAME, nextNote, notesOf, OPTIONS } from "./notes.js";

const { topic, count } = notesOf({ defineTopic, defineView });

function Count() {
  const shown = useView(count);
  return <i>{shown()}</i>;
}

function Failing() {
  const apply = () => {
    throw new Error("planted");
  };
  const shown = useView({ ...count, name: "failing", apply });
  return <b>{shown()}</b>;
}

function Notes() {
  const status = useTideStatus();
  const tide = useTide();
  const folded = useView(count, { select: (n, { isReady }) => (isReady ? `${n} records` : "reading") });
  const even = useView(count, { select: (n) => [n - (n % 2)], equals: ([a], [b]) => a === b });
  const last = useRecords(topic, { last: 3 });
  const sync = useSyncStatus();
  const { append, pending, error, dismiss } = useAppend(topic);
  const [many, setMany] = createSignal(0);
  const [fails, setFails] = createSignal(false);
  onMount(() => Object.assign(globalThis.walk, { many: setMany, fail: () => setFails(true) }));
  createEffect(() => globalThis.walk.evens.push(even()[0]));
  createEffect(() => (globalThis.walk.tide = tide()));
  return (
    <main>
      <p id="state">{`${status().state} ${status().role ?? ""}`.trim()}</p>
      <p id="count">{folded()}</p>
      <p id="even">{even()[0]}</p>
      <ol id="last">
        <For each={last()}>{({ value }) => <li>{value}</li>}</For>
      </ol>
      <p id="sync">{sync().state}</p>
      <button id="add" onClick={() => append(nextNote())}>
        Add
      </button>
      <button id="bad" onClick={() => append(badNote())}>
        Bad
      </button>
      <button id="dismiss" onClick={dismiss}>
        Dismiss
      </button>
      <ul id="pending">
        <For each={pending()}>{({ record }) => <li>{String(record.value)}</li>}</For>
      </ul>
      <p id="failed">{error()?.code}</p>
      <div id="many">
        <For each={Array.from({ length: many() })}>{() => <Count />}</For>
      </div>
      <ErrorBoundary fallback={({ code }) => <p id="caught">{code}</p>}>
        <Show when={fails()}>
          <Failing />
        </Show>
      </ErrorBoundary>
    </main>
  );
}

export const App = () => (
  <TideProvider name={NAME} options={OPTIONS}>
    <Notes />
  </TideProvider>
);
