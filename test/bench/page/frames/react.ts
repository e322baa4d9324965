/** In React. */
import { createElement as h, useEffect } from "react";
import { createRoot } from "react-dom/client";
import { TideProvider, useAppend, useRecords, useView } from "../../../../src/bindings/react.ts";
import { COMPONENTS, count, LAST, type Mount, type Page, topic } from "./shown.ts";

const Count = () => h("i", null, useView(count));

function Last() {
  return h("ol", null, ...useRecords(topic, LAST).map(({ id, value }) => h("li", { key: id }, value)));
}

function Appender({ ready }: { readonly ready: (page: Page) => void }) {
  const all = useView(count);
  const { append, pending } = useAppend(topic);
  useEffect(() => void ready({ append, shown: () => all }));
  return h("p", null, `${all} records, ${pending.length} pending`);
}

export const mount: Mount = (place, name, ready) => {
  const root = createRoot(place);
  const counts = Array.from({ length: COMPONENTS }, (_, i) => h(Count, { key: i }));
  root.render(h(TideProvider, { name }, h(Appender, { ready }), h(Last), ...counts));
  return () => root.unmount();
};
