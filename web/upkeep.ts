/** Retention, compaction, and a segment as Kafka's own files. */
import type { App } from "./app.ts";
import { byId, bytes, el, number, onClick } from "./dom.ts";

function save(name: string, data: Uint8Array): void {
  const url = URL.createObjectURL(new Blob([data as Uint8Array<ArrayBuffer>]));
  el("a", { href: url, download: name }).click();
  URL.revokeObjectURL(url);
}

export function upkeepPanel(app: App): void {
  const text = byId("upkeep-text");
  onClick("retain-run", text, async () => {
    const topic = app.topics.get("flights")!;
    const limit = Number(byId<HTMLSelectElement>("retain").value) * 1024 * 1024;
    const { segments } = await topic.state();
    let total = segments.reduce((sum, segment) => sum + segment.bytes, 0);
    let offset = segments[0]!.baseOffset;
    let gone = 0;
    for (const segment of segments) {
      if (segment.state === "active" || total <= limit) break;
      total -= segment.bytes;
      offset = segment.nextOffset;
      gone++;
    }
    await topic.trim(offset);
    text.textContent = gone === 0 ? `The log is within ${bytes(limit)} already.` : `${gone} segments left from the front; the log starts at ${number(offset)} now and has ${bytes(total)}.`;
    app.current = "flights";
    app.drawTopics();
    await app.draw();
  });
  onClick("compact", text, async () => {
    const topic = app.topics.get("quakes")!;
    await topic.roll();
    const { compacted } = await topic.clean();
    text.textContent =
      compacted.recordsRemoved === 0
        ? "Nothing to remove: load earthquakes first, or it is compacted already."
        : `${number(compacted.recordsRemoved)} outdated records went: ${bytes(compacted.bytesBefore)} became ${bytes(compacted.bytesAfter)}. What is left keeps its offset.`;
    app.current = "quakes";
    app.drawTopics();
    await app.draw();
  });
  onClick("download", text, async () => {
    const { segments } = await app.topic.state();
    const base = segments.some(({ baseOffset }) => baseOffset === app.pickedBase) ? app.pickedBase! : segments[0]!.baseOffset;
    const { name, log, index, timeindex } = await app.topic.exportSegment(base);
    save(`${name}.log`, log);
    save(`${name}.index`, index);
    save(`${name}.timeindex`, timeindex);
    text.textContent = `${name}.log (${bytes(log.length)}), .index (${bytes(index.length)}) and .timeindex (${bytes(timeindex.length)}): Kafka's own tools read them.`;
  });
}
