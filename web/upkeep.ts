/** Retention, compaction, and a segment as Kafka's own files. */
import type { App } from "./app.ts";
import { byId, bytes, el, number, onClick } from "./dom.ts";

/** A link that saves these bytes. */
function saveLink(name: string, data: Uint8Array): HTMLAnchorElement {
  const href = URL.createObjectURL(new Blob([data as Uint8Array<ArrayBuffer>]));
  return el("a", { href, download: name, className: "file" }, `${name.replace(/^\d+/, "")} (${bytes(data.length)})`);
}

async function trimTo(app: App, limit: number): Promise<string> {
  const topic = app.topics.get("flights")!;
  const { segments } = await topic.state();
  let total = segments.reduce((sum, segment) => sum + segment.bytes, 0);
  let offset = segments[0]?.baseOffset ?? 0;
  let gone = 0;
  for (const segment of segments) {
    if (segment.state === "active" || total <= limit) break;
    total -= segment.bytes;
    offset = segment.nextOffset;
    gone++;
  }
  if (gone === 0) return `The log is within ${bytes(limit)} already.`;
  await topic.trim(offset);
  return `${gone} segments left from the front; the log starts at ${number(offset)} now and has ${bytes(total)}.`;
}

async function compact(app: App): Promise<string> {
  const topic = app.topics.get("quakes")!;
  await topic.roll();
  const { compacted } = await topic.clean();
  if (compacted.recordsRemoved === 0) return "Nothing to remove: load earthquakes first, or it is compacted already.";
  const sizes = `${bytes(compacted.bytesBefore)} became ${bytes(compacted.bytesAfter)}`;
  return `${number(compacted.recordsRemoved)} outdated records went: ${sizes}. What is left keeps its offset.`;
}

export function upkeepPanel(app: App): void {
  const text = byId("upkeep-text");
  onClick("retain-run", text, async () => {
    text.textContent = await trimTo(app, Number(byId<HTMLSelectElement>("retain").value) * 1024 * 1024);
    app.show("flights");
    await app.changed();
  });
  onClick("compact", text, async () => {
    text.textContent = await compact(app);
    app.show("quakes");
    await app.changed();
  });
  onClick("export", text, async () => {
    const { segments } = await app.topic.state();
    const picked = segments.find(({ baseOffset }) => baseOffset === app.pickedBase) ?? segments[0];
    if (!picked || picked.records === 0) throw new Error(`Nothing in ${app.current} yet: append something.`);
    for (const old of byId("files").querySelectorAll("a")) URL.revokeObjectURL(old.href);
    const { name, log, index, timeindex } = await app.topic.exportSegment(picked.baseOffset);
    const links = [
      saveLink(`${name}.log`, log),
      saveLink(`${name}.index`, index),
      saveLink(`${name}.timeindex`, timeindex),
    ];
    byId("files").replaceChildren(...links);
    text.textContent = `Segment ${number(picked.baseOffset)} of ${app.current}: Kafka's own tools read these files.`;
  });
}
