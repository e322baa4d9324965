/** What the frameworks need of Vite: plugins of the repository, if the test gives its address, or of the app. */
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const { REPOSITORY } = process.env;
const addressOf = REPOSITORY
  ? (name) => pathToFileURL(createRequire(`${REPOSITORY}/package.json`).resolve(name)).href
  : (name) => name;
const load = (name) => import(addressOf(name));

export async function plugins() {
  const { default: vue } = await load("@vitejs/plugin-vue");
  const { svelte } = await load("@sveltejs/vite-plugin-svelte");
  const { default: solid } = await load("vite-plugin-solid");
  return [vue(), svelte({ configFile: false }), solid({ ssr: true })];
}
