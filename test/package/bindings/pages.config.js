/** The pages as a browser loads them. */
import { globSync } from "node:fs";
import { plugins } from "./plugins.js";

export default {
  plugins: [plugins()],
  logLevel: "warn",
  build: { target: "es2022", minify: false, rolldownOptions: { input: globSync("*.html") } },
};
