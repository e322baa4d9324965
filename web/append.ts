/** The append panel: whole data sets with a progress bar, one record, a thousand at once. */
import type { RecordInput } from "../src/browser/index.ts";
import { type App, BATCH_RECORDS } from "./app.ts";
import { flights, quakes } from "./data.ts";
import { byId, number, onClick } from "./dom.ts";

/** Batches that are unanswered at a time: as many as the producer sends before it waits. */
const PIPELINE = 5;
const DRAW_EVERY = 10;

async function load(
  app: App,
  topicName: string,
  fetchRecords: () => Promise<readonly RecordInput<object>[]>,
): Promise<void> {
  const progress = byId<HTMLProgressElement>("progress");
  const text = byId("progress-text");
  app.show(topicName);
  progress.hidden = false;
  progress.value = 0;
  text.textContent = "Fetching the data set …";
  const records = await fetchRecords();
  const topic = app.topics.get(topicName)!;
  const started = performance.now();
  let acked = 0;
  let next = 0;
  const one = async (): Promise<void> => {
    for (let batch = 0; next < records.length; batch++) {
      const part = records.slice(next, (next += BATCH_RECORDS));
      await app.appendBatch(topic, part);
      acked += part.length;
      progress.value = acked / records.length;
      text.textContent = `${number(acked)} of ${number(records.length)} records acknowledged`;
      if (batch % DRAW_EVERY === 0) void app.changed();
    }
  };
  await Promise.all(Array.from({ length: PIPELINE }, one));
  const seconds = (performance.now() - started) / 1000;
  const [count, rate] = [number(records.length), number(records.length / seconds)];
  text.textContent = `${count} records acknowledged at “${app.acks}” in ${seconds.toFixed(2)} s: ${rate} a second.`;
  await app.changed();
}

export function appendPanel(app: App): void {
  const text = byId("progress-text");
  onClick("load", text, () => load(app, "flights", flights));
  onClick("load-quakes", text, () => load(app, "quakes", quakes));
  onClick("single", text, async () => {
    const started = performance.now();
    const { offset } = await app.topic.append(app.sample(), { acks: app.acks });
    const ms = performance.now() - started;
    app.plots?.acked(1, ms);
    text.textContent = `Offset ${number(offset)} of ${app.current}, ${app.acks} after ${ms.toFixed(2)} ms.`;
    await app.changed();
  });
  onClick("burst", text, async () => {
    const { topic, acks: level } = app;
    const started = performance.now();
    const records = Array.from({ length: 1000 }, (_, i) => app.sample(i));
    const acks = await Promise.all(records.map((record) => topic.append(record, { acks: level })));
    const ms = performance.now() - started;
    app.plots?.acked(1000, ms);
    const span = `offsets ${number(acks[0]!.offset)} to ${number(acks.at(-1)!.offset)}`;
    text.textContent = `1,000 calls without await shared batches: ` + `${span}, ${level} after ${ms.toFixed(1)} ms.`;
    await app.changed();
  });
}
