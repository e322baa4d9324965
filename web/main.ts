/** The playground: opens the log, shows what it found, and passes it to the panels. It uses only the public API. */
import { App, notice } from "./app.ts";
import { appendPanel } from "./append.ts";
import { byId, el, number } from "./dom.ts";
import { edgePanel } from "./edge.ts";
import { carryOut, inWords } from "./harm.ts";
import { harmPanel, tellHarm } from "./harm-panel.ts";
import { keys } from "./keys.ts";
import { mayOpen, onChange, wasReopened } from "./pages.ts";
import { Plots } from "./plots.ts";
import { readPanel } from "./read.ts";
import { seek, seekPanel } from "./seek.ts";
import { tellRole, tellStorage } from "./status.ts";
import { syncPanel } from "./sync-panel.ts";
import { upkeepPanel } from "./upkeep.ts";

function tellEvents(app: App): void {
  app.tide.on((event) => {
    if (event.type === "closed") notice("The log was closed", event.reason);
    if (event.type === "leaderchange") {
      tellRole(event.role);
      void app.draw();
    }
    if (event.type === "reopened") notice("The store failed and was opened again", event.reason);
    if (event.type === "quota") notice("The disk is full", event.message);
  });
  onChange(() => void app.draw());
}

/** Shows how the page begins: with ordered harm, with the data of last time, or with nothing. */
async function tellBeginning(app: App, order: Awaited<ReturnType<typeof carryOut>>): Promise<void> {
  const { logEndOffset, logStartOffset, recovery } = await app.topic.state();
  if (order) return tellHarm(app, order);
  const text = byId("progress-text");
  text.textContent =
    logEndOffset > 0
      ? `Still here from last time: ${number(logEndOffset - logStartOffset)} offsets.`
      : "The log is empty. Load flights, and 200,000 of them are on your disk a second later.";
  if (!wasReopened()) return;
  notice(
    "Another tab did harm",
    el("p", {}, "All tabs closed the log for that and opened it again."),
    inWords(recovery),
  );
}

/** The buttons need the open log. index.html has them out of use, so that no click is lost before that. */
function enableButtons(isOpen: boolean): void {
  const own = "main button:not([id^=edge], [id^=sync])";
  for (const button of document.querySelectorAll<HTMLButtonElement>(own)) button.disabled = !isOpen;
}

async function start(): Promise<void> {
  void edgePanel().then(syncPanel);
  const order = await carryOut();
  await mayOpen();
  const started = performance.now();
  const app = await App.open();
  tellStorage(app.tide.storage, performance.now() - started);
  app.plots = new Plots();
  appendPanel(app);
  readPanel(app);
  seekPanel(app);
  upkeepPanel(app);
  keys();
  app.drawTopics();
  tellRole(app.tide.role);
  tellEvents(app);
  await app.draw();
  await tellBeginning(app, order);
  const { highWatermark, logStartOffset } = await app.topic.state();
  const middle = Math.floor((highWatermark + logStartOffset) / 2);
  if (highWatermark > logStartOffset) await seek(app, { offset: middle }).catch(() => undefined);
  // Only now: what a click tells would be written over by how the page began.
  enableButtons(true);
  harmPanel(app);
}

byId("notice-close").addEventListener("click", () => (byId("notice").hidden = true));
start().catch((thrown: unknown) => {
  byId("storage").textContent = "";
  enableButtons(false);
  notice("The log can't be opened", thrown instanceof Error ? thrown.message : String(thrown));
});
