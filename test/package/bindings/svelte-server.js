/** On a server. */
import { render as rendered } from "svelte/server";
import SvelteApp from "./SvelteApp.svelte";

export const render = async () => {
  const { body, head } = rendered(SvelteApp);
  return { body, head };
};
