/** The read panel: replay with its speed, following, and how damage looks to a reader. */
import { TidemarkError, type TopicRecord } from "../src/browser/index.ts";
import type { App } from "./app.ts";
import { byId, date, el, number, onClick } from "./dom.ts";
import type { Damage } from "./harm.ts";

const SHOWN = 12;

type Shown = Pick<TopicRecord, "offset" | "timestamp" | "key" | "value">;

function show(records: readonly Shown[]): void {
  const rows = records
    .slice(-SHOWN)
    .map(({ offset, timestamp, key, value }) =>
      el("li", {}, `${offset}  ${date(timestamp)}  ${key ?? ""}  ${JSON.stringify(value)}`),
    );
  byId("records").replaceChildren(...rows);
}

/** Reads everything. Damage is an error with its range, and the read continues behind it. */
export async function replay(app: App): Promise<{ records: number; ms: number; damage: Damage[] }> {
  const damage: Damage[] = [];
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
      const range = { from: Number(thrown.details["from"]), to: Number(thrown.details["to"]) };
      damage.push(range);
      from = range.to;
    }
  }
}

export function readPanel(app: App): void {
  const text = byId("read-text");
  onClick("replay", text, async () => {
    const { records, ms, damage } = await replay(app);
    const speed =
      `${number(records)} records in ${number(ms)} ms: ${number((records * 1000) / Math.max(ms, 1))} a second, ` +
      `every checksum verified.`;
    const told = damage.map(
      ({ from, to }) => `CORRUPT_RANGE: offsets ${number(from)} to ${number(to - 1)}; the read went on behind it.`,
    );
    text.textContent = records === 0 ? `Nothing in ${app.current} yet: append something.` : [speed, ...told].join(" ");
    if (damage.length > 0) await app.draw();
  });
  followPanel(app, text);
}

/** Follows the topic on display. When another one is displayed, it follows that. */
function followPanel(app: App, text: HTMLElement): void {
  let following: AbortController | undefined;
  const button = byId<HTMLButtonElement>("follow");
  const follow = async (): Promise<void> => {
    const { signal } = (following = new AbortController());
    button.setAttribute("aria-pressed", "true");
    text.textContent = `Following ${app.current} from its end: append something, in any tab.`;
    try {
      let seen = 0;
      for await (const batch of app.topic.readBatches({ from: "latest", follow: true, signal })) {
        seen += batch.count;
        show([...batch]);
        text.textContent = `${number(seen)} records of ${app.current} have arrived.`;
        void app.draw();
      }
    } catch (thrown) {
      if (!signal.aborted) text.textContent = thrown instanceof Error ? thrown.message : String(thrown);
    }
  };
  const stop = (): void => {
    following?.abort();
    following = undefined;
  };
  app.onTopic(() => {
    if (!following) return;
    stop();
    void follow();
  });
  button.addEventListener("click", () => {
    if (!following) return void follow();
    stop();
    button.setAttribute("aria-pressed", "false");
    text.textContent = "Stopped following.";
  });
}
