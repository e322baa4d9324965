/**
 * What the pages of all frameworks share: the topic, its view, and `window.walk`, by which the test drives a page. Each
 * page shows the same elements, so that one walk fits all:
 *
 *   #state      of the tide: "opening", "open leader"
 *   #count      the view: how many records are folded
 *   #even       the view through a selector; walk.evens has what was drawn, one for each time
 *   #last       useRecords(): values of the last three
 *   #sync       state of sync
 *   #add        appends, and adds "optimistic" rows to #pending until the ack
 *   #bad        appends what is refused; the code is in #failed, and #dismiss forgets it
 *   #many       as many components with the view as walk.many(n) says
 */
export const applied = { times: 0 };

const isBrowser = typeof document !== "undefined";
const search = new URLSearchParams(isBrowser ? location.search : "");
export const NAME = search.get("tide") ?? "server";
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
  return { topic, count };
}

let added = 0;
export const nextNote = () => ({ value: `${search.get("tab") ?? "a"}${added++}` });
/** JSON has no value for it. */
export const badNote = () => ({ value: 1n });

/** `actions`: mount and unmount of the app; the app itself adds `many`, `fail` and `tide`. */
export function walkOf(actions) {
  globalThis.walk = { applied, evens: [], pendings: 0, ...actions };
  new MutationObserver(() => {
    if (document.querySelector("#pending li")) globalThis.walk.pendings++;
  }).observe(document.body, { subtree: true, childList: true });
  return globalThis.walk;
}
