/**
 * The documents' code does what the text says, over the packed package: blocks of a page in Chromium, programs in Node,
 * a Worker in workerd, and lines of a shell. Components of frameworks run in documents.test.ts.
 */
import { execFileSync } from "node:child_process";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import path from "node:path";
import type { Page } from "playwright";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { type LocalWorker, startDevServer } from "../edge/local-worker.ts";
import { type Running, startBrowser } from "../support/chromium.ts";
import { blocksOf, readDoc } from "../support/doc-blocks.ts";
import { DOCUMENTS } from "../support/doc-programs.ts";
import { serveFolder } from "../support/packed.ts";
import { blockOf, DocsApp } from "./running-docs.ts";

const SECRET = "a secret of at least thirty-two characters";
/** Of the documents' edges each is the one that this test has started. */
const EDGES = /https:\/\/(?:edge\.example|logs\.example\.com)|http:\/\/(?:localhost|127\.0\.0\.1):8787/g;
let app: DocsApp;
let edge: LocalWorker;
let browser: Running;
let token = "";
let site = "";
const atEdge = (code: string): string => code.replace(EDGES, edge.url);

/** Blocks of a page, by the names that this test gives them. */
const OF_PAGES = {
  readme: ["README.md", 1],
  "readme-sync": ["README.md", 2],
  "getting-started": ["skills/getting-started/SKILL.md", 1],
  debugging: ["skills/debugging/SKILL.md", 1],
  sync: ["skills/sync/SKILL.md", 1],
  "typed-topics": ["skills/typed-topics/SKILL.md", 1],
  typed: ["docs/typed.md", 1],
  events: ["docs/typed.md", 3],
  tanstack: ["docs/frameworks.md", 2],
} as const;

beforeAll(async () => {
  app = await DocsApp.make(path.join(inject("packageFolder"), "running-docs"), inject("tarball"));
  const config = app.writeEdge(blockOf("skills/edge/SKILL.md", 1).code, {
    readme: blockOf("README.md", 3).code,
    edge: blockOf("docs/edge.md", 1).code,
  });
  const settings = { TIDEMARK_OPEN_ACCESS: "loopback", TIDEMARK_JWT_SECRETS: SECRET };
  [edge, browser] = await Promise.all([
    startDevServer({ config, settings }),
    startBrowser(path.join(inject("packageFolder"), "running-docs-profile")),
  ]);
  app.write(".dev.vars", `TIDEMARK_JWT_SECRETS="${SECRET}"\n`);
  token = await app.runShell("npx tidemark token");
  const blocks = Object.entries(OF_PAGES).map(([name, [document, n]]) => [name, atEdge(blockOf(document, n).code)]);
  site = await app.buildPage(Object.fromEntries(blocks) as Record<string, string>);
});
afterAll(async () => {
  if (browser) process.kill(-browser.child.pid!, "SIGKILL");
  await edge?.stop();
});

interface Said {
  readonly printed: string[];
  readonly shown: unknown[];
  readonly told: [state: string, records: number][];
}
type Global = typeof globalThis & {
  said: Said;
  stop: AbortController;
  run: (name: string) => Promise<string[]>;
  openTide: (name: string) => Promise<{ topic(name: string): { append(record: object): Promise<unknown> } }>;
  tide: unknown;
};
/** What a page has said until now. */
const said = (page: Page): Promise<Said> => page.evaluate(() => (globalThis as Global).said);

/** An origin for each block, and so logs of its own; `tabs` of it, in which `use` runs. */
async function inPage<T>(tabs: number, use: (...pages: Page[]) => Promise<T>): Promise<T> {
  const served = await serveFolder(site);
  served.instead = (pathname) => (pathname === "/token" ? { body: token } : undefined);
  const problems: string[] = [];
  const pages: Page[] = [];
  try {
    while (pages.length < tabs) {
      const page = await browser.context.newPage();
      page.on("pageerror", (error) => problems.push(error.message));
      await page.goto(served.url);
      await page.waitForFunction(() => document.title === "ready");
      pages.push(page);
    }
    const result = await use(...pages);
    expect(problems).toEqual([]);
    return result;
  } finally {
    await Promise.all(pages.map((page) => page.close()));
    await served.close();
  }
}
const runIn = (page: Page, name: keyof typeof OF_PAGES): Promise<string[]> =>
  page.evaluate((each) => (globalThis as Global).run(each), name);

describe("in a page", () => {
  it("README's ten lines append, read, and follow what another tab appends", async () => {
    await inPage(2, async (page, other) => {
      const done = runIn(page, "readme");
      await other.evaluate(async () => {
        const topic = (await (globalThis as Global).openTide("my-app")).topic("orders");
        (globalThis as Global).tide = () => topic.append({ value: { total: 7 } });
      });
      await expect.poll(async () => (await said(page)).printed).toEqual(['0 o-17 {"total":42}']);
      // The follow begins at the log's end, whenever that is looked at.
      while ((await said(page)).shown.length === 0)
        await other.evaluate(() => ((globalThis as Global).tide as () => Promise<unknown>)());
      await page.evaluate(() => (globalThis as Global).stop.abort());
      await done;
    });
  });

  it("README's sync shows the sum, has the record at the edge, and tells its status", async () => {
    await inPage(1, async (page) => {
      await runIn(page, "readme-sync");
      expect((await said(page)).shown).toContain(42);
      await expect.poll(async () => (await said(page)).told.at(-1)).toEqual(["live", 0]);
    });
  });

  it.each<[keyof typeof OF_PAGES, readonly (string | RegExp)[]]>([
    ["getting-started", ["o-17 42"]],
    ["debugging", [/^leader /]],
    ["sync", ["true", "at the edge 0"]],
    ["typed-topics", [/"path":\["text"\]/]],
    ["typed", ["0"]],
    ["tanstack", []],
  ])("%s runs to its end and prints what it should", async (name, lines) => {
    await inPage(1, async (page) => {
      await runIn(page, name);
      await expect
        .poll(async () => {
          const { printed } = await said(page);
          return lines.filter(
            (line) => !printed.some((each) => (typeof line === "string" ? each === line : line.test(each))),
          );
        })
        .toEqual([]);
    });
  });

  it("events of docs/typed.md, over a tide that the text has opened", async () => {
    await inPage(1, async (page) => {
      await page.evaluate(
        async () => void ((globalThis as Global).tide = await (globalThis as Global).openTide("events")),
      );
      await runIn(page, "events");
    });
  });
});

describe("in a Worker", () => {
  it("the whole one of skills/edge answers with the record's offset, and its log is reached from outside", async () => {
    expect(await (await fetch(edge.url)).json()).toEqual({ offset: expect.any(Number) as unknown });
    const stream = await fetch(`${edge.url}/v1/stream/orders?from=-1`);
    expect(await stream.text()).toContain('"value":{"total":42}');
  });

  it.each(["readme", "edge"])("%s: openTopic appends and reads", async (name) => {
    const printed = (await (await fetch(`${edge.url}/blocks/${name}`)).json()) as string[];
    expect(printed.at(-1)).toMatch(/^\d+ (o-17 )?\{"total":42\}$/);
  });
});

describe("in Node", () => {
  it("docs/node.md prints the record that it appended", async () => {
    expect(await app.runProgram("node", blockOf("docs/node.md", 1).code)).toBe("0 { total: 42 }");
  });

  it("docs/client.md shows the record that it appended", async () => {
    const code = atEdge(blockOf("docs/client.md", 1).code);
    expect(await app.runProgram("client", code, { TIDEMARK_TOKEN: token })).toBe('0 {"total":42}');
  });
});

describe("recipes", () => {
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
  beforeAll(() => new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve)));
  afterAll(() => {
    server.closeAllConnections();
    server.close();
  });

  it.each(recipes)("$heading prints what its text says", async ({ heading, code, prints }) => {
    const own = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const here = atEdge(code)
      .replaceAll('"tidemark/browser"', '"tidemark/node"')
      .replaceAll(/https:\/\/(shop|stats)\.example\.com/g, own);
    const printed = (await app.runProgram(heading.replaceAll(/\W+/g, "-"), here)).split("\n").filter(Boolean);
    if (heading === "Outbox") printed.push(...orders.values());
    expect(printed.join("\n")).toBe(prints);
  });

  it("there are five; the outbox sent each order once, and the buffer sent large pieces", () => {
    expect(recipes.map(({ heading }) => heading)).toHaveLength(5);
    expect(orders.size).toBe(3);
    expect(pieces.reduce((sum, each) => sum + each, 0)).toBe(1200);
    expect(pieces.length).toBeLessThan(4);
  });
});

describe("in a shell", () => {
  it("docs/cli.md and docs/operations.md, line by line", async () => {
    const record = { offset: 0, key: "o-17", value: { total: 42 } };
    const line = (n: number): string => atEdge(blockOf("docs/cli.md", n, "sh").code);
    expect(JSON.parse((await app.runShell(line(1))).split("\n").at(-1)!)).toMatchObject(record);
    expect(await app.runShell(line(2))).toContain("orders");
    expect(await app.runShell(line(3))).toContain('"total":7');
    expect(await app.runShell(atEdge(blockOf("docs/operations.md", 1, "sh").code))).toContain('"total":7');
  });

  it("every `npx tidemark …` of the documents names a command", () => {
    const program = path.join(app.folder, "node_modules/tidemark/bin/tidemark.mjs");
    const help = execFileSync(process.execPath, [program, "--help"], { encoding: "utf8" });
    const commands = new Set([...help.matchAll(/^ {2}([a-z]+) /gm)].map(([, name]) => name!));
    const named = [...DOCUMENTS, "templates/README.md", "docs/example-app/README.md"].flatMap((document) =>
      [...readDoc(document).matchAll(/npx tidemark ([a-z]+)/g)].map(([, name]) => `${document}: ${name}`),
    );
    expect(named.length).toBeGreaterThan(20);
    expect(named.filter((each) => !commands.has(each.split(": ")[1]!))).toEqual([]);
    expect(commands).toContain("dev");
  });
});
