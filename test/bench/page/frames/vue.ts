/** In Vue. */
import { createApp, defineComponent, h } from "vue";
import { createTide, useAppend, useRecords, useView } from "../../../../src/bindings/vue.ts";
import { COMPONENTS, count, LAST, type Mount, topic } from "./shown.ts";

const Count = defineComponent(() => {
  const { state } = useView(count);
  return () => h("i", state.value);
});

const Last = defineComponent(() => {
  const { state } = useRecords(topic, LAST);
  return () =>
    h(
      "ol",
      state.value.map(({ id, value }) => h("li", { key: id }, value ?? "")),
    );
});

export const mount: Mount = (place, name, ready) => {
  const Appender = defineComponent(() => {
    const { state } = useView(count);
    const { append, pending } = useAppend(topic);
    ready({ append, shown: () => state.value });
    return () => h("p", `${state.value} records, ${pending.value.length} pending`);
  });
  const Page = defineComponent(
    () => () =>
      h("main", [h(Appender), h(Last), ...Array.from({ length: COMPONENTS }, (_, i) => h(Count, { key: i }))]),
  );
  const app = createApp(Page).use(createTide(name));
  app.mount(place);
  return () => app.unmount();
};
