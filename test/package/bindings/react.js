/** The page of `tidemark/react`: in StrictMode, hydrated where the server has rendered it. */
import { Component, createElement as h, memo, StrictMode, useEffect, useState } from "react";
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
} from "tidemark/react";
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
  return h("i", null, useView(count));
}
function Every() {
  const all = [useRecords(topic, { last: 1 }), useAppend(topic), useTide(), useTideStatus(), useSyncStatus()];
  return h("i", { title: String(all.length) }, useView(count));
}
function Orders() {
  const shown = useRecords(orders);
  const { append, pending, retry, dismiss } = useAppend(orders);
  return h(
    "section",
    null,
    h(
      "ol",
      { id: "orders" },
      shown.map((record) => h("li", { key: record.id }, shownTotal(record))),
    ),
    h("button", { id: "order", onClick: () => append(nextOrder()) }, "Order"),
    h("button", { id: "wrong", onClick: () => append(wrongOrder()) }, "Wrong"),
    h(
      "ul",
      { id: "unsent" },
      pending.map((one, i) => h("li", { key: i }, unsentText(one))),
    ),
    h("button", { id: "retry", onClick: retry }, "Retry"),
    h("button", { id: "forget", onClick: dismiss }, "Forget"),
  );
}
const Even = memo(() => {
  const even = useView(count, { select: (n) => [n - (n % 2)], equals: ([a], [b]) => a === b });
  useEffect(() => void globalThis.walk.evens.push(even[0]));
  return h("p", { id: "even" }, even[0]);
});
function Past({ base }) {
  const past = useView(count, { select: (n) => [n < 5 ? 0 : n - base], equals: ([a], [b]) => a === b });
  useEffect(() => void globalThis.walk.pasts.push(past[0]), [past]);
  return h("p", { id: "past" }, past[0]);
}
function Asked({ last, follow, isOrders, isTwice }) {
  const records = useRecords(isOrders ? orders : topic, { last, follow });
  return h("p", { id: "asked" }, shownAsked(records, useView(isTwice ? twice : count)));
}
function Failing() {
  const apply = () => {
    throw new Error("planted");
  };
  useView({ ...count, name: "failing", apply });
  return null;
}
class Boundary extends Component {
  state = {};
  static getDerivedStateFromError = ({ code }) => ({ code });
  render() {
    return this.state.code ? h("p", { id: "caught" }, this.state.code) : this.props.children;
  }
}

function Notes() {
  const { state, role = "" } = useTideStatus();
  const tide = useTide();
  const folded = useView(count, { select: (n, { isReady }) => (isReady ? `${n} records` : "reading") });
  const last = useRecords(topic, { last: 3 });
  const sync = useSyncStatus();
  const { append, pending, error, dismiss } = useAppend(topic);
  const [many, setMany] = useState(0);
  const [isFailing, setFailing] = useState(false);
  const fail = () => setFailing(true);
  const [base, setBase] = useState(5);
  const [asked, ask] = useState();
  useEffect(() => void Object.assign(globalThis.walk, { tide, many: setMany, fail, ask, base: setBase }));
  return h(
    "main",
    null,
    h("p", { id: "state" }, `${state} ${role}`.trim()),
    h("p", { id: "count" }, folded),
    h(Even),
    h(Past, { base }),
    asked && h(Asked, asked),
    h(
      "ol",
      { id: "last" },
      last.map(({ id, value }) => h("li", { key: id }, value)),
    ),
    h("p", { id: "sync" }, sync.state),
    h("button", { id: "add", onClick: () => append(nextNote()) }, "Add"),
    h("button", { id: "bad", onClick: () => append(badNote()) }, "Bad"),
    h("button", { id: "dismiss", onClick: dismiss }, "Dismiss"),
    h(
      "ul",
      { id: "pending" },
      pending.map(({ record }, i) => h("li", { key: i }, String(record.value))),
    ),
    h("p", { id: "failed" }, error ? error.code : ""),
    h(Orders),
    h(
      "div",
      { id: "many" },
      Array.from({ length: many }, (_, i) => h(EVERY ? Every : Count, { key: i })),
    ),
    h(Boundary, null, isFailing ? h(Failing) : null),
  );
}

export const app = () => h(StrictMode, null, h(TideProvider, { name: NAME, options: OPTIONS }, h(Notes)));
