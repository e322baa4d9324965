/**
 * What the binding of Svelte does with a `select` that throws, over Svelte's own runtime of the browser, which needs no
 * document for it, and a tide in a folder. Components in Chromium: test/package/bindings.test.ts.
 */
import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { expect, it, vi } from "vitest";
import { defineTopic, defineView } from "../../src/bindings/followers.ts";
import { provideTide, useView } from "../../src/bindings/svelte.ts";
import { open } from "../../src/node/index.ts";

const { clientOf } = vi.hoisted(() => ({
  clientOf: (part: string): Promise<any> =>
    import(new URL(`../../node_modules/svelte/src/${part}.js`, import.meta.url).href),
}));
// In Node each of these is what renders on a server.
vi.mock("svelte", () => clientOf("index-client"));
vi.mock("svelte/reactivity", () => clientOf("reactivity/index-client"));
vi.mock("svelte/store", () => clientOf("store/index-client"));

const words = defineTopic<string>("words", { serializer: "text" });
const count = defineView(words, { name: "count", initial: () => 0, apply: (n) => n + 1 });

it("a `select` that throws keeps what is shown, is an uncaught error, and goes on with the next state", async () => {
  const caught: string[] = [];
  const hear = (thrown: unknown): void => void caught.push(String(thrown));
  const folder = mkdtempSync(path.join(os.tmpdir(), "tidemark-svelte-"));
  const tide = await open(folder);
  process.on("uncaughtException", hear);
  try {
    const select = (n: number): string => {
      if (n === 2) throw new RangeError("planted");
      return `${n} words`;
    };
    const runtime = await clientOf("internal/client/index");
    const [stored, read, others]: [string[], string[], number[]] = [[], [], []];
    const leave = runtime.effect_root(() => {
      runtime.push({}, true);
      provideTide(tide);
      const [shown, beside] = [useView(count, { select }), useView(count)];
      runtime.render_effect(() => shown.subscribe((now) => stored.push(now)));
      runtime.render_effect(() => void read.push(shown.current));
      runtime.render_effect(() => beside.subscribe((now) => others.push(now)));
      runtime.pop();
    });
    for (let n = 1; n <= 3; n++) {
      await words.of(tide).append({ value: "a" });
      await vi.waitFor(() => expect(others.at(-1)).toBe(n));
    }
    await vi.waitFor(() => expect([stored.at(-1), read.at(-1)]).toEqual(["3 words", "3 words"]));
    expect([stored, read]).toEqual(Array(2).fill(["0 words", "1 words", "3 words"]));
    expect(new Set(caught)).toEqual(new Set(["RangeError: planted"]));
    leave();
  } finally {
    process.off("uncaughtException", hear);
    await tide.close();
    rmSync(folder, { recursive: true });
  }
});
