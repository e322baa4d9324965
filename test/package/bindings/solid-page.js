/** In a browser. */
import { hydrate, render } from "solid-js/web";
import { walkOf } from "./notes.js";
import { App } from "./solid.jsx";

const place = document.getElementById("app");
let dispose;
const walk = walkOf({ mount: () => (dispose = render(App, place)), unmount: () => dispose() });
if (place.firstChild) dispose = hydrate(App, place);
else walk.mount();
