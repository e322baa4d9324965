import { defineConfig } from "vite";

/** `npm run dev` serves the page with reload on save; the edge is `npx wrangler dev` in another terminal. */
const edge = { target: "http://127.0.0.1:8787", ws: true };

export default defineConfig({
  build: { target: "es2022" },
  server: { proxy: { "/v1": edge, "/sign-in": edge, "/sign-out": edge, "/token": edge } },
});
