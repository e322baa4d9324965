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
import {
  badNote,
  EVERY,
  NAME,
  nextNote,
  nextOrder,
  notesOf,
  OPTIONS,
  ordersOf,
  shownAsked,
  shownTotal,
  unsentText,
  wrongOrder,
} from "./notes.js";

const { topic, count, twice } = notesOf({ defineTopic, defineView });
const orders = ordersOf({ defineTopic });

function Count() {
  const shown = useView(count);
  return <i>{shown()}</i>;
}
function Every() {
  const shown = useView(count);
  const last = useRecords(topic, { last: 1 });
  const { pending } = useAppend(topic);
  const all = [last, pending, useTide(), useTideStatus(), useSyncStatus()];
  return <i title={String(all.map((read) => read()).length)}>{shown()}</i>;
}

function Orders() {
  const shown = useRecords(orders);
  const { append, pending, retry, dismiss } = useAppend(orders);
  return (
    <section>
      <ol id="orders">
        <For each={shown()}>{(record) => <li>{shownTotal(record)}</li>}</For>
      </ol>
      <button id="order" onClick={() => append(nextOrder())}>
        Order
      </button>
      <button id="wrong" onClick={() => append(wrongOrder())}>
        Wrong
      </button>
      <ul id="unsent">
        <For each={pending()}>{(one) => <li>{unsentText(one)}</li>}</For>
      </ul>
      <button id="retry" onClick={retry}>
        Retry
      </button>
      <button id="forget" onClick={dismiss}>
        Forget
      </button>
    </section>
  );
}

function Asked(props) {
  const records = useRecords(
    () => (props.asked.isOrders ? orders : topic),
    () => ({ last: props.asked.last, follow: props.asked.follow }),
  );
  const shown = useView(() => (props.asked.isTwice ? twice : count));
  return <p id="asked">{shownAsked(records(), shown())}</p>;
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
  const [base, setBase] = createSignal(5);
  const past = useView(count, { select: (n) => [n < 5 ? 0 : n - base()], equals: ([a], [b]) => a === b });
  const last = useRecords(topic, { last: 3 });
  const sync = useSyncStatus();
  const { append, pending, error, dismiss } = useAppend(topic);
  const [many, setMany] = createSignal(0);
  const [fails, setFails] = createSignal(false);
  const [asked, ask] = createSignal();
  onMount(() => Object.assign(globalThis.walk, { many: setMany, fail: () => setFails(true), base: setBase, ask }));
  createEffect(() => globalThis.walk.evens.push(even()[0]));
  createEffect(() => globalThis.walk.pasts.push(past()[0]));
  createEffect(() => (globalThis.walk.tide = tide()));
  return (
    <main>
      <p id="state">{`${status().state} ${status().role ?? ""}`.trim()}</p>
      <p id="count">{folded()}</p>
      <p id="even">{even()[0]}</p>
      <p id="past">{past()[0]}</p>
      <Show when={asked()}>
        <Asked asked={asked()} />
      </Show>
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
      <Orders />
      <div id="many">
        <For each={Array.from({ length: many() })}>{() => (EVERY ? <Every /> : <Count />)}</For>
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
