/** In a browser. */
import { hydrate, mount, unmount } from "svelte";
import { walkOf } from "./notes.js";
import SvelteApp from "./SvelteApp.svelte";

const target = document.getElementById("app");
let app;
const walk = walkOf({ mount: () => (app = mount(SvelteApp, { target })), unmount: () => unmount(app) });
if (target.firstChild) app = hydrate(SvelteApp, { target });
else walk.mount();
