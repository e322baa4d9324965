/** The panel of two devices and the edge between them. What it needs is loaded when it is started. */
import { byId, el, onClick } from "./dom.ts";

/** `edge`: its address, if one runs beside this page. */
export function syncPanel(edge: string | undefined): void {
  const state = byId("sync-state");
  if (edge === undefined)
    return state.replaceChildren(
      "There is no edge beside this page, and without one two devices have nowhere to meet. In the repository, ",
      el("code", {}, "npm start"),
      " runs one; in an app that has Wrangler, ",
      el("code", {}, "npx tidemark dev"),
      " does.",
    );
  state.textContent = "An edge runs beside this page. Start the devices: each is a tide of its own, in a frame.";
  byId<HTMLButtonElement>("sync-start").disabled = false;
  onClick("sync-start", state, async () => {
    // Its room is taken at once, so that nothing moves later.
    for (const id of ["sync-verdict", "sync-stage"]) byId(id).hidden = false;
    const { Stage } = await import("./sync-stage.ts");
    await Stage.start(edge);
  });
}
