/** In Solid. */
import { For } from "solid-js";
import { render } from "solid-js/web";
import { TideProvider, useAppend, useRecords, useView } from "../../../../src/bindings/solid.ts";
import { COMPONENTS, count, LAST, topic } from "./shown.ts";

function Count() {
  const all = useView(count);
  return <i>{all()}</i>;
}

function Last() {
  const records = useRecords(topic, LAST);
  return (
    <ol>
      <For each={records()}>{({ value }) => <li>{value}</li>}</For>
    </ol>
  );
}

function Appender(props) {
  const all = useView(count);
  const { append, pending } = useAppend(topic);
  props.ready({ append, shown: all });
  return (
    <p>
      {all()} records, {pending().length} pending
    </p>
  );
}

export const mount = (place, name, ready) =>
  render(
    () => (
      <TideProvider name={name}>
        <Appender ready={ready} />
        <Last />
        <For each={Array.from({ length: COMPONENTS })}>{() => <Count />}</For>
      </TideProvider>
    ),
    place,
  );
