/**
 * What the pages of all frameworks share: the topic, its view, and `window.walk`, by which the test drives a page. Each
 * page shows the same elements, so that one walk fits all:
 *
 *   #state      of the tide: "opening", "open leader"
 *   #count      the view: how many records are folded
 *   #even       the view through a selector; walk.evens has what was drawn, one for each time
 *   #past       records past walk.base(n), by a selector that reads it from the fifth record on; walk.pasts as evens
 *   #last       useRecords(): values of the last three
 *   #asked      what walk.ask({ last, follow, isOrders, isTwice }) asks for: offsets of records, and a view
 *   #sync       state of sync
 *   #add        appends, and adds "optimistic" rows to #pending until the ack
 *   #bad        appends what is refused; the code is in #failed, and #dismiss forgets it
 *   #many       as many components with the view as walk.many(n) says; with `?every=` each has every hook
 *
 * And of a topic with a schema and middleware, which refuses what is appended while walk.refuse(true):
 *
 *   #orders     useRecords(): totals as the schema makes them
 *   #order      appends the next one, #wrong one that does not fit
 *   #unsent     what waits for its ack, with the code of its error; #retry appends it again, #forget forgets it
 */
import { TidemarkError } from "tidemark/browser";
import * as z from "zod";

export const applied = { times: 0 };

const isBrowser = typeof document !== "undefined";
const search = new URLSearchParams(isBrowser ? location.search : "");
export const NAME = search.get("tide") ?? "server";
export const EVERY = search.has("every");
export const OPTIONS = { segmentBytes: 1 << 16 };

export function notesOf({ defineTopic, defineView }) {
  const topic = defineTopic("notes");
  const count = defineView(topic, {
    name: "count",
    initial: () => 0,
    apply: (count) => {
      applied.times++;
      return count + 1;
    },
  });
  const twice = defineView(topic, { name: "twice", initial: () => 0, apply: (count) => count + 2 });
  return { topic, count, twice };
}

let isRefusing = false;
const refusing = (step, next) => {
  if (isRefusing && step.operation === "append") throw new TidemarkError("QUOTA_EXCEEDED", "planted");
  return next();
};
/** Written as text, read as a number. */
const Order = z.object({ total: z.string().transform(Number) });
export const ordersOf = ({ defineTopic }) => defineTopic("orders", { schema: Order, use: [refusing] });
export const shownAsked = (records, state) => `[${records.map(({ offset }) => offset).join()}] ${state}`;
export const shownTotal = ({ value }) => value.total.toFixed(2);
export const unsentText = ({ record, error }) => `${record.value.total} ${error?.code ?? ""}`;

let ordered = 0;
export const nextOrder = () => ({ value: { total: String(++ordered) } });
export const wrongOrder = () => ({ value: { total: 5 } });

let added = 0;
export const nextNote = () => ({ value: `${search.get("tab") ?? "a"}${added++}` });
/** JSON has no value for it. */
export const badNote = () => ({ value: 1n });

/** `actions`: mount and unmount of the app; the app itself adds `many`, `fail` and `tide`. */
export function walkOf(actions) {
  globalThis.walk = { applied, evens: [], pasts: [], pendings: 0, refuse: (is) => (isRefusing = is), ...actions };
  new MutationObserver(() => {
    if (document.querySelector("#pending li")) globalThis.walk.pendings++;
  }).observe(document.body, { subtree: true, childList: true });
  return globalThis.walk;
}
