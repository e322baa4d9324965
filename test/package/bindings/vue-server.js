/** On a server. */
import { createTide } from "tidemark/vue";
import { createSSRApp } from "vue";
import { renderToString } from "vue/server-renderer";
import { NAME, OPTIONS } from "./notes.js";
import Vue from "./Vue.vue";

export const render = async () => ({
  body: await renderToString(createSSRApp(Vue).use(createTide(NAME, OPTIONS))),
  head: "",
});
