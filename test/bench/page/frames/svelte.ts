/** In Svelte. */
import { mount as mountComponent, unmount } from "svelte";
import Svelte from "./Svelte.svelte";
import type { Mount } from "./shown.ts";

export const mount: Mount = (target, name, ready) => {
  const app = mountComponent(Svelte, { target, props: { name, ready } });
  return () => void unmount(app);
};
