/** The panel that damages the log on purpose, and the next page's report of the result. */
import type { Topic } from "../src/browser/index.ts";
import { App, notice, TIDE_NAME } from "./app.ts";
import { byId, el, number, onClick } from "./dom.ts";
import { flipOf, inWords, type Order, orderAndReload, tearOf } from "./harm.ts";
import { replay } from "./read.ts";

const PATH = ["tidemark", TIDE_NAME];
/** So many that most of them are unanswered when the page goes. */
const WRITES = 5_000;
const ACKED = 500;

/** Leaves the page while writes are unanswered. Stores what was acknowledged by then. */
async function leaveMidWrite(flights: Topic<object>): Promise<void> {
  let [acked, end] = [0, 0];
  await new Promise<void>((resolve, reject) => {
    for (let i = 0; i < WRITES; i++) {
      const record = { value: { delay: i, distance: -2 } };
      flights.append(record).then(({ offset }) => {
        end = Math.max(end, offset + 1);
        if (++acked === ACKED) resolve();
      }, reject);
    }
  });
  orderAndReload({ kind: "leave", records: end });
}

export function harmPanel(app: App): void {
  const text = byId("harm-text");
  const flights = app.topics.get("flights")!;
  const possible = app.tide.storage.engine === "opfs";
  for (const id of ["tear", "flip"]) byId<HTMLButtonElement>(id).disabled = !possible;
  if (!possible) text.textContent = "Files can be damaged from outside only in the origin private file system.";
  onClick("leave", text, () => leaveMidWrite(flights));
  onClick("tear", text, async () => {
    const rows = Array.from({ length: 200 }, (_, i) => ({ value: { delay: i, distance: -1 } }));
    const last = await app.appendBatch(flights, rows);
    const found = await flights.explainSeek({ offset: last });
    orderAndReload({ kind: "tear", records: last + 1, ...tearOf(PATH, await flights.state(), found!.batch.length) });
  });
  onClick("flip", text, async () => {
    const state = await flights.state();
    if (state.segments.length < 2) throw new Error("Load the flights first: a bit is flipped in a sealed segment.");
    orderAndReload({ kind: "flip", records: state.logEndOffset, ...flipOf(PATH, state) });
  });
}

/** Shows the result of the harm that was ordered before the page was reloaded. */
export async function tellHarm(app: App, order: Order): Promise<void> {
  const flights = app.topics.get("flights")!;
  app.show("flights");
  if (order.kind === "flip") {
    const { records, damage } = await replay(app);
    // The flipped bit is found when it is read, so the report is asked for after the replay.
    const { recovery, quarantined } = await flights.state();
    const ranges = damage.map(({ from, to }) => `offsets ${number(from)} to ${number(to - 1)}`).join(", ");
    const found =
      damage.length > 0
        ? `A replay met CORRUPT_RANGE for ${ranges}, said so, and went on: ${number(records)} good records were read.`
        : "A replay found nothing wrong.";
    notice(
      "One bit was flipped in a sealed segment",
      el("p", {}, found),
      inWords({ ...recovery, quarantined }, damage),
    );
    // Draws the log again: the damaged segment has a red edge now.
    return app.draw();
  }
  const { recovery, logEndOffset } = await flights.state();
  if (order.kind === "tear") {
    const text = "Half of the last batch was zeroed, as by a power cut in the middle of its write.";
    return notice("The tail was torn", el("p", {}, text), inWords(recovery));
  }
  const isWhole = logEndOffset >= order.records;
  const text =
    `The page left with writes on their way. Records up to offset ${number(order.records - 1)} had been ` +
    `acknowledged; the log ends at ${number(logEndOffset)}: ` +
    `${isWhole ? "none of them is missing." : "SOME ARE MISSING. Please report this."}`;
  notice("The page left in the middle of writing", el("p", {}, text), inWords(recovery));
}
