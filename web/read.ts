/** The read panel: replay with its speed, following, and what damage looks like to a reader. */
import { TidemarkError, type TopicRecord } from "../src/browser/index.ts";
import type { App } from "./app.ts";
import { byId, date, el, number, onClick } from "./dom.ts";

const SHOWN = 12;

type Shown = Pick<TopicRecord, "offset" | "timestamp" | "key" | "value">;

function show(records: readonly Shown[]): void {
  const rows = records.slice(-SHOWN).map(({ offset, timestamp, key, value }) => el("li", {}, `${offset}  ${date(timestamp)}  ${key ?? ""}  ${JSON.stringify(value)}`));
  byId("records").replaceChildren(...rows);
}

/** Reads everything; damage is an error with its range, and the read goes on behind it. */
export async function replay(app: App): Promise<{ records: number; ms: number; damage: string[] }> {
  const damage: string[] = [];
  const started = performance.now();
  let records = 0;
  let from: number | "earliest" = "earliest";
  for (;;) {
    try {
      let last: Shown[] = [];
      for await (const batch of app.topic.readBatches({ from })) {
        records += batch.count;
        last = batch.count >= SHOWN ? [...batch].slice(-SHOWN) : [...last, ...batch].slice(-SHOWN);
      }
      if (last.length > 0) show(last);
      return { records, ms: performance.now() - started, damage };
    } catch (thrown) {
      if (!(thrown instanceof TidemarkError && thrown.code === "CORRUPT_RANGE")) throw thrown;
      damage.push(`CORRUPT_RANGE: offsets ${number(Number(thrown.details["from"]))} to ${number(Number(thrown.details["to"]) - 1)}`);
      from = Number(thrown.details["to"]);
    }
  }
}

export function readPanel(app: App): void {
  const text = byId("read-text");
  onClick("replay", text, async () => {
    const { records, ms, damage } = await replay(app);
    const speed = `${number(records)} records in ${number(ms)} ms: ${number((records * 1000) / Math.max(ms, 1))} a second, every checksum verified.`;
    text.textContent = [speed, ...damage.map((each) => `${each}; the read went on behind it.`)].join(" ");
    if (damage.length > 0) await app.draw();
  });
  let following: AbortController | undefined;
  const button = byId<HTMLButtonElement>("follow");
  button.addEventListener("click", async () => {
    if (following) return following.abort(new Error("stopped"));
    const controller = (following = new AbortController());
    button.setAttribute("aria-pressed", "true");
    text.textContent = `Following ${app.current} from its end: append something.`;
    try {
      let seen = 0;
      for await (const batch of app.topic.readBatches({ from: "latest", follow: true, signal: controller.signal })) {
        seen += batch.count;
        show([...batch]);
        text.textContent = `${number(seen)} records have arrived.`;
      }
    } catch (thrown) {
      text.textContent = controller.signal.aborted ? "Stopped following." : String(thrown);
    } finally {
      following = undefined;
      button.setAttribute("aria-pressed", "false");
    }
  });
}
