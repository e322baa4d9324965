/** The pages as a browser loads them. */
import { globSync } from "node:fs";
import { plugins } from "./plugins.js";

const bundle = { input: globSync("*.html") };

export default {
  plugins: [plugins()],
  logLevel: "warn",
  // Vite bundles by Rollup up to version 7.
  build: { target: "es2022", minify: false, rollupOptions: bundle, rolldownOptions: bundle },
};
