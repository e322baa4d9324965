/** In a browser. */
import { createTide } from "tidemark/vue";
import { createApp, createSSRApp } from "vue";
import { NAME, OPTIONS, walkOf } from "./notes.js";
import Vue from "./Vue.vue";

const place = document.getElementById("app");
let app;
const mount = (made) => {
  app = made.use(createTide(NAME, OPTIONS));
  app.mount(place);
};
const walk = walkOf({ mount: () => mount(createApp(Vue)), unmount: () => app.unmount() });
if (place.firstChild) mount(createSSRApp(Vue));
else walk.mount();
