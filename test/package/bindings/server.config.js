/** The pages as their server renders them. Frameworks and the package are the app's own, as Node resolves them. */
import { plugins } from "./plugins.js";

export default {
  plugins: [plugins()],
  logLevel: "warn",
  build: { ssr: "server.js", outDir: "server", target: "es2022", minify: false },
};
