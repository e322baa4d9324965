/** The log as a shore: segments stand in the water, and the line above them is the high watermark. */
import type { SegmentInfo, TopicState } from "../src/browser/index.ts";
import { byId, bytes, date, el, number } from "./dom.ts";

function describe(segment: SegmentInfo, state: TopicState): string {
  const kind = `${segment.compacted ? "compacted, " : ""}${segment.state}`;
  const damaged = state.quarantined.filter(({ from, to }) => from < segment.nextOffset && to > segment.baseOffset);
  const harm = damaged
    .map(({ from, to, reason }) => ` Damaged: offsets ${number(from)} to ${number(to - 1)} (${reason}).`)
    .join("");
  const span =
    segment.records > 0
      ? `offsets ${number(segment.baseOffset)} to ${number(segment.nextOffset - 1)}`
      : `nothing yet, next offset ${number(segment.nextOffset)}`;
  const newest = segment.maxTimestamp >= 0 ? `, newest record ${date(segment.maxTimestamp)} UTC` : "";
  return (
    `Slot ${segment.slot ?? "–"}, ${kind}: ${span}; ` +
    `${number(segment.records)} records in ${number(segment.batches)} batches, ${bytes(segment.bytes)}; ` +
    `${segment.offsetEntries} offset and ${segment.timeEntries} time index entries${newest}.${harm}`
  );
}

interface Look {
  /** Bytes of a full segment. */
  readonly segmentBytes: number;
  /** The origin's storage use, in words. */
  readonly usage: string;
}

/** Draws the figures above the shore. */
function drawFigures(state: TopicState, usage: string): void {
  const total = state.segments.reduce((sum, segment) => sum + segment.bytes, 0);
  const records = state.segments.reduce((sum, segment) => sum + segment.records, 0);
  const newest = Math.max(-1, ...state.segments.map(({ maxTimestamp }) => maxTimestamp));
  const figures: [string, string][] = [
    ["records in the log", number(records)],
    ["log start offset", number(state.logStartOffset)],
    ["log end offset", number(state.logEndOffset)],
    ["segments", number(state.segments.length)],
    ["bytes of batches", bytes(total)],
    ["newest record, UTC", newest < 0 ? "–" : date(newest)],
    ["leader epoch", number(state.leaderEpoch)],
    ["used by this origin", usage],
  ];
  byId("figures").replaceChildren(
    ...figures.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))),
  );
}

/** Draws the log. `picked` is called with the segment that is chosen. */
export function drawShore(
  state: TopicState,
  { segmentBytes, usage }: Look,
  picked: (segment: SegmentInfo) => void,
): void {
  const shore = byId("shore");
  const detail = byId("segment-detail");
  const focused = (document.activeElement as HTMLElement | null)?.dataset["base"];
  const buttons = state.segments.map((segment) => {
    const damaged = state.quarantined.some(({ from, to }) => from < segment.nextOffset && to > segment.baseOffset);
    const button = el(
      "button",
      {
        type: "button",
        className: "segment",
        title: `${number(segment.baseOffset)} – ${number(segment.nextOffset)}`,
        dataset: {
          state: segment.state,
          base: String(segment.baseOffset),
          ...(segment.compacted && { compacted: "" }),
          ...(damaged && { damaged: "" }),
        },
      },
      el("span", {}, number(segment.baseOffset)),
    );
    // The label begins with the visible text, so that speech input finds the button by it.
    button.setAttribute("aria-label", `${number(segment.baseOffset)}: ${segment.state} segment from this offset on`);
    button.style.height = `${Math.max(6, Math.min(96, (segment.bytes / segmentBytes) * 96))}%`;
    const show = () => {
      detail.textContent = describe(segment, state);
      picked(segment);
    };
    button.addEventListener("click", () => {
      for (const other of buttons) other.removeAttribute("aria-pressed");
      button.setAttribute("aria-pressed", "true");
      show();
    });
    button.addEventListener("focus", show);
    button.addEventListener("pointerenter", () => (detail.textContent = describe(segment, state)));
    return button;
  });
  const mark = el("div", { className: "mark" }, el("span", {}, `high watermark ${number(state.highWatermark)}`));
  const isEmpty = state.segments.every(({ records }) => records === 0);
  const empty = el("p", { className: "empty" }, `Nothing in ${state.name} yet. Load a data set, or append one record.`);
  shore.replaceChildren(mark, ...(isEmpty ? [empty] : buttons));
  buttons.find((button) => button.dataset["base"] === focused)?.focus({ preventScroll: true });
  drawFigures(state, usage);
}
