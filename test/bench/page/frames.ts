/** A React page that appends at a rate, and shows a view, 200 components of it, and the last records meanwhile. */
import { createElement as h, useEffect } from "react";
import { createRoot } from "react-dom/client";
import { defineTopic, defineView, TideProvider, useAppend, useRecords, useView } from "../../../src/bindings/react.ts";
import { fresh } from "./common.ts";

const topic = defineTopic<string>("records");
const count = defineView(topic, { name: "count", initial: () => 0, apply: (n: number) => n + 1 });
const COMPONENTS = 200;
/** Between two bursts of appends. */
const PACE_MS = 10;

type Append = ReturnType<typeof useAppend<string>>["append"];
let append: Append | undefined;
let shown = 0;

const Count = () => h("i", null, useView(count));

function Last() {
  const records = useRecords(topic, { last: 20 });
  return h("ol", null, ...records.map(({ id, value }) => h("li", { key: id }, value)));
}

function Appender() {
  const all = useView(count);
  const { append: now, pending } = useAppend(topic);
  useEffect(() => {
    append = now;
    shown = all;
  });
  return h("p", null, `${all} records, ${pending.length} pending`);
}

const Page = () =>
  h("main", null, h(Appender), h(Last), ...Array.from({ length: COMPONENTS }, (_, i) => h(Count, { key: i })));

const frame = (): Promise<number> => new Promise((resolve) => requestAnimationFrame(resolve));

interface Drawn {
  readonly frames: number;
  readonly appended: number;
  readonly ms: number;
  /** Of the same page before it appends: what the machine draws at all. */
  readonly idleFrameMs: number;
}
const IDLE_FRAMES = 60;

export const frames = {
  async reactFrames(perSecond: number, seconds: number): Promise<Drawn> {
    const place = document.body.appendChild(document.createElement("div"));
    const root = createRoot(place);
    root.render(h(TideProvider, { name: fresh() }, h(Page)));
    while (!append) await frame();
    await append({ value: "first" });
    const idle = await frame();
    let idleEnd = idle;
    for (let i = 0; i < IDLE_FRAMES; i++) idleEnd = await frame();
    const acks: Promise<unknown>[] = [];
    const began = await frame();
    const timer = setInterval(() => {
      const due = Math.floor(((performance.now() - began) / 1000) * perSecond);
      while (acks.length < due) acks.push(append!({ value: `record ${acks.length}` }));
    }, PACE_MS);
    let drawn = 0;
    let now = began;
    for (; now - began < seconds * 1000; drawn++) now = await frame();
    clearInterval(timer);
    await Promise.all(acks);
    while (shown < acks.length + 1) await frame();
    root.unmount();
    place.remove();
    return { frames: drawn, appended: acks.length, ms: now - began, idleFrameMs: (idleEnd - idle) / IDLE_FRAMES };
  },
};
