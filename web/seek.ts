/** The seek panel: how an offset or a time is found, step by step, and the bytes of the batch that contains it. */
import type { SeekExplanation } from "../src/browser/index.ts";
import type { App } from "./app.ts";
import { drawBatch } from "./batch-view.ts";
import { byId, bytes, date, el, number } from "./dom.ts";

function steps(found: SeekExplanation): HTMLElement[] {
  const { segment, index, scanFrom, scannedBytes, batchPosition } = found;
  const key = (value: number) => (index === "offset" ? `offset ${number(value)}` : `${date(value)} UTC`);
  const lines = [
    `segment from ${number(segment.baseOffset)}: found among the segments by base offset`,
    ...found.steps.map(({ entry, key: value, position }) => {
      const place = index === "offset" ? `byte ${number(position)}` : `offset ${number(position)}`;
      return `${index} index entry ${entry}: ${key(value)} → ${place}`;
    }),
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
    text.textContent = "That is behind the log's end.";
    byId("steps").replaceChildren();
    byId("batch").replaceChildren();
    return;
  }
  const started = performance.now();
  for await (const record of app.topic.read({ from: found.offset, to: found.offset + 1 })) {
    const ms = performance.now() - started;
    const what = `${date(record.timestamp)} UTC, ${record.key ?? "no key"}: ${JSON.stringify(record.value)}`;
    text.textContent = `Offset ${number(record.offset)}, ${what}, read in ${ms.toFixed(2)} ms.`;
  }
  byId("steps").replaceChildren(...steps(found));
  drawBatch(byId("batch"), found.batch);
}

/** The offset in the field. If it is not one, the field says what is wrong. */
function offsetOf(field: HTMLInputElement): number | undefined {
  const text = field.value.trim().replaceAll(",", "");
  const isOffset = /^\d{1,15}$/.test(text);
  field.setCustomValidity(isOffset ? "" : "An offset is a whole number from 0 on, as 123456.");
  return field.reportValidity() ? Number(text) : undefined;
}

function timeOf(field: HTMLInputElement): number | undefined {
  const [, day, time = "00:00:00"] =
    /^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2}(?::\d{2})?))?$/.exec(field.value.trim()) ?? [];
  const timestamp = day === undefined ? NaN : Date.parse(`${day}T${time}Z`);
  field.setCustomValidity(Number.isNaN(timestamp) ? "A time is written as 2001-01-01 12:00:00, in UTC." : "");
  return field.reportValidity() ? timestamp : undefined;
}

export function seekPanel(app: App): void {
  const offset = byId<HTMLInputElement>("seek-offset");
  const time = byId<HTMLInputElement>("seek-time");
  for (const field of [offset, time]) field.addEventListener("input", () => field.setCustomValidity(""));
  byId<HTMLFormElement>("seek").addEventListener("submit", async (event) => {
    event.preventDefault();
    for (const field of [offset, time]) field.setCustomValidity("");
    const byTime = (event.submitter as HTMLButtonElement | null)?.value === "time" || document.activeElement === time;
    const target = byTime ? timeOf(time) : offsetOf(offset);
    if (target === undefined) return;
    try {
      await seek(app, byTime ? { timestamp: target } : { offset: target });
    } catch (thrown) {
      byId("seek-text").textContent = thrown instanceof Error ? thrown.message : String(thrown);
    }
  });
  app.onPick(() => {
    offset.value = String(app.pickedBase ?? 0);
  });
}
