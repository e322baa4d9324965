/** In a browser. */
import { createRoot, hydrateRoot } from "react-dom/client";
import { walkOf } from "./notes.js";
import { app } from "./react.js";

const place = document.getElementById("app");
let root;
const walk = walkOf({
  mount() {
    root = createRoot(place);
    root.render(app());
  },
  unmount: () => root.unmount(),
});
if (place.firstChild) root = hydrateRoot(place, app(), { onRecoverableError: (error) => console.error(error) });
else walk.mount();
