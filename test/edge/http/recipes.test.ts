/**
 * The recipes (docs/recipes.md) are run as they stand, and print what stands below them. A page's log is a folder here:
 * `tidemark/node` has the browser's API. The edge is real workerd; the app's own servers are one HTTP server.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import path from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { blocksOf, ENTRY_SOURCES, overSources, readDoc } from "../../support/doc-blocks.ts";
import { type LocalWorker, startWorker } from "../local-worker.ts";

const cache = path.join(import.meta.dirname, "../../../.cache");
mkdirSync(cache, { recursive: true });
const folder = mkdtempSync(path.join(cache, "recipes-"));
const recipes = blocksOf(readDoc("docs/recipes.md"));
/** Orders by their key: a server drops those that it has. */
const orders = new Map<string, string>();
const pieces: number[] = [];

const server = createServer((request, response) => {
  let body = "";
  request.on("data", (chunk: Buffer) => (body += chunk.toString()));
  request.on("end", () => {
    const value = JSON.parse(body) as { item: string } | unknown[];
    if (Array.isArray(value)) pieces.push(value.length);
    else orders.set(String(request.headers["idempotency-key"]), value.item);
    response.end();
  });
});
let worker: LocalWorker;
beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  worker = await startWorker();
  const inFolder = `import { open as inFolder } from ${JSON.stringify(ENTRY_SOURCES["tidemark/node"])};
export const open = (name: string) => inFolder(${JSON.stringify(folder)} + "/" + name);`;
  writeFileSync(path.join(folder, "browser.ts"), inFolder);
});
afterAll(async () => {
  await worker?.stop();
  server.closeAllConnections();
  server.close();
  rmSync(folder, { recursive: true, force: true });
});

test.each(recipes)("$heading prints what its text says", async ({ heading, code, prints }) => {
  const own = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const here = overSources(code, { "tidemark/browser": path.join(folder, "browser.ts") })
    .replaceAll("https://logs.example.com", worker.url)
    .replaceAll(/https:\/\/(shop|stats)\.example\.com/g, own);
  const file = path.join(folder, `${heading.replaceAll(/\W+/g, "-")}.ts`);
  writeFileSync(file, here);
  const printed: string[] = [];
  const log = vi.spyOn(console, "log").mockImplementation((line: unknown) => void printed.push(String(line)));
  try {
    await import(/* @vite-ignore */ file);
  } finally {
    log.mockRestore();
  }
  if (heading === "Outbox") printed.push(...orders.values());
  expect(printed.join("\n")).toBe(prints);
});

test("there are five recipes; the outbox sent each order once, and the buffer sent large pieces", () => {
  expect(recipes.map(({ heading }) => heading)).toHaveLength(5);
  expect(orders.size).toBe(3);
  expect(pieces.reduce((sum, each) => sum + each, 0)).toBe(1200);
  expect(pieces.length).toBeLessThan(4);
});
