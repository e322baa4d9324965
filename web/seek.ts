/** The seek panel: how an offset or a time is found, step by step, and the bytes of the batch that holds it. */
import type { SeekExplanation } from "../src/browser/index.ts";
import type { App } from "./app.ts";
import { drawBatch } from "./batch-view.ts";
import { byId, bytes, date, el, number } from "./dom.ts";

function steps(found: SeekExplanation): HTMLElement[] {
  const { segment, index, scanFrom, scannedBytes, batchPosition } = found;
  const key = (value: number) => (index === "offset" ? `offset ${number(value)}` : `${date(value)} UTC`);
  const lines = [
    `segment from ${number(segment.baseOffset)}: found among the segments by base offset`,
    ...found.steps.map(({ entry, key: value, position }) => `${index} index entry ${entry}: ${key(value)} → ${index === "offset" ? `byte ${number(position)}` : `offset ${number(position)}`}`),
    `from byte ${number(scanFrom)} hop over ${bytes(scannedBytes)} of batch headers`,
    `batch at byte ${number(batchPosition)} holds offset ${number(found.offset)}`,
  ];
  return lines.map((line, i) => {
    const item = el("li", {}, line);
    item.style.setProperty("--i", String(i));
    return item;
  });
}

export async function seek(app: App, target: { offset: number } | { timestamp: number }): Promise<void> {
  const text = byId("seek-text");
  const found = await app.topic.explainSeek(target);
  if (!found) {
    text.textContent = "That lies behind the log's end.";
    byId("steps").replaceChildren();
    byId("batch").replaceChildren();
    return;
  }
  const started = performance.now();
  for await (const record of app.topic.read({ from: found.offset, to: found.offset + 1 })) {
    const ms = performance.now() - started;
    text.textContent = `Offset ${number(record.offset)}, ${date(record.timestamp)} UTC, ${record.key ?? "no key"}: ${JSON.stringify(record.value)}, read in ${ms.toFixed(2)} ms.`;
  }
  byId("steps").replaceChildren(...steps(found));
  drawBatch(byId("batch"), found.batch);
}

export function seekPanel(app: App): void {
  const offset = byId<HTMLInputElement>("seek-offset");
  const time = byId<HTMLInputElement>("seek-time");
  byId<HTMLFormElement>("seek").addEventListener("submit", async (event) => {
    event.preventDefault();
    const byTime = (event.submitter as HTMLButtonElement | null)?.value === "time" || (document.activeElement === time && time.value !== "");
    try {
      await seek(app, byTime ? { timestamp: Date.parse(`${time.value}Z`) } : { offset: Number(offset.value || 0) });
    } catch (thrown) {
      byId("seek-text").textContent = thrown instanceof Error ? thrown.message : String(thrown);
    }
  });
  app.onPick(() => {
    offset.value = String(app.pickedBase ?? 0);
  });
}
