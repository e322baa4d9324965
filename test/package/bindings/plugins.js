/** What the frameworks need of Vite. The plugins are those of the repository or of the app: the test says where. */
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const { resolve } = createRequire(`${process.env.PLUGINS}/package.json`);
const load = (name) => import(pathToFileURL(resolve(name)).href);

export async function plugins() {
  const { default: vue } = await load("@vitejs/plugin-vue");
  const { svelte } = await load("@sveltejs/vite-plugin-svelte");
  const { default: solid } = await load("vite-plugin-solid");
  return [vue(), svelte({ configFile: false }), solid({ ssr: true })];
}
