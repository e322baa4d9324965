/**
 * In a page that can't open a tide, open() fails at once with a typed error that names the reason and what to do, and
 * nothing stays open. The tests load the built files in real Chromium without a bundler. Each row of
 * docs/environments.md has a test.
 */
import { execFile } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { type BrowserContext, chromium, type Frame, type Page } from "playwright";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
// @ts-expect-error plain JavaScript, because it also runs before any package is installed
import { CHROMIUM_ARGS, ensureChromium } from "../../tools/run/setup.mjs";
import { type Served, serveFolder } from "./serve.ts";

const root = path.join(import.meta.dirname, "../..");
const folder = mkdtempSync(path.join(os.tmpdir(), "tidemark-environments-"));
const site = path.join(folder, "site");
const contexts: BrowserContext[] = [];
const servers: Served[] = [];
let context: BrowserContext;

/**
 * Opens, appends, closes, and returns the outcome as plain data. Runs in a page, in a frame and in a worker of any
 * kind.
 */
const TRY = `
export async function attempt(name = "environment", options = {}) {
  try {
    const { open } = await import(new URL("/dist/browser.js", self.location.href).href);
    const tide = await open(name, options);
    const { offset } = await tide.topic("t").append({ value: 1 });
    await tide.close();
    return { offset };
  } catch (thrown) {
    const { name, code, kind, message, details } = thrown;
    return { name, code, kind, message, reason: details?.reason, directive: details?.directive };
  }
}
`;
// A service worker may not call import(), so it imports the file statically.
const STATIC =
  `import { open } from "/dist/browser.js";\n` + TRY.replace(/const \{ open \}.*\n/, "").replace("export ", "");
const FILES: Readonly<Record<string, string>> = {
  "index.html": `<!doctype html><title>page</title><script type="module" src="/page.js"></script>`,
  "page.js":
    `import { attempt } from "/try.js"; import * as browser from "/dist/browser.js"; Object.assign(window, { ` +
    `attempt, browser });`,
  "share.js": `import { open } from "/dist/browser.js";
    const tide = await open("shared");
    const append = async () => postMessage({ ...(await tide.topic("t").append({ value: "worker" })), role: tide.role });
    onmessage = append;
    await append();`,
  "try.js": TRY,
  "dedicated.js": `import { attempt } from "/try.js"; postMessage(await attempt());`,
  "shared.js": `${STATIC} onconnect = async ({ ports: [port] }) => port.postMessage(await attempt());`,
  "service.js": `${STATIC} onmessage = async ({ ports: [port] }) => port.postMessage(await attempt());`,
};

async function launch(preferences?: object): Promise<BrowserContext> {
  const profile = mkdtempSync(path.join(folder, "profile-"));
  if (preferences) {
    mkdirSync(path.join(profile, "Default"));
    writeFileSync(path.join(profile, "Default/Preferences"), JSON.stringify(preferences));
  }
  const executablePath = (ensureChromium as () => string)();
  const launched = await chromium.launchPersistentContext(profile, { executablePath, args: CHROMIUM_ARGS as string[] });
  contexts.push(launched);
  return launched;
}

async function serve(headers: Readonly<Record<string, string>> = {}): Promise<string> {
  const served = await serveFolder(site, headers);
  servers.push(served);
  return served.url;
}

interface Outcome {
  readonly offset?: number;
  readonly name?: string;
  readonly code?: string;
  readonly kind?: string;
  readonly message?: string;
  readonly reason?: string;
  readonly directive?: string;
}

/** Runs `work` in a page that is served with these headers. Fails if an error of the page is left uncaught. */
async function inPage<Result = Outcome>(
  url: string,
  run: (page: Page) => Promise<Result>,
  inContext = context,
): Promise<Result> {
  const page = await inContext.newPage();
  const uncaught: string[] = [];
  page.on("pageerror", ({ message }) => uncaught.push(message));
  try {
    await page.goto(url);
    const outcome = await run(page);
    expect(uncaught).toEqual([]);
    return outcome;
  } finally {
    await page.close();
  }
}
const attempt = (where: Page | Frame): Promise<Outcome> =>
  where.evaluate(() => (window as typeof window & { attempt(): Promise<Outcome> }).attempt());

beforeAll(async () => {
  mkdirSync(site);
  cpSync(path.join(root, "dist"), path.join(site, "dist"), { recursive: true });
  for (const [name, text] of Object.entries(FILES)) writeFileSync(path.join(site, name), text);
  context = await launch();
});
afterAll(async () => {
  for (const each of contexts) await each.close();
  for (const server of servers) await server.close();
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
});

const works: Outcome = { offset: expect.any(Number) as number };
const refused = (reason: string, message: RegExp): unknown => ({
  name: "TidemarkError",
  code: "NO_STORAGE",
  kind: "fix",
  reason,
  message: expect.stringMatching(message) as string,
});

describe("contexts", () => {
  test("a page, and a dedicated worker", async () => {
    const url = await serve();
    expect(await inPage(url, attempt)).toMatchObject(works);
    const inWorker = (page: Page): Promise<Outcome> =>
      page.evaluate(() => {
        const worker = new Worker("/dedicated.js", { type: "module" });
        return new Promise<Outcome>((resolve) => (worker.onmessage = ({ data }) => resolve(data as Outcome)));
      });
    expect(await inPage(url, inWorker)).toMatchObject(works);
  });

  test("a dedicated worker shares the log with a page, in both directions, and leaves it the lead", async () => {
    const url = await serve();
    const outcome = await inPage(url, (page) =>
      page.evaluate(async () => {
        const { open } = (window as typeof window & { browser: { open(name: string): Promise<any> } }).browser;
        const worker = new Worker("/share.js", { type: "module" });
        const said = (): Promise<any> =>
          new Promise((resolve) => worker.addEventListener("message", ({ data }) => resolve(data), { once: true }));
        const first = await said();
        const tide = await open("shared");
        const second = await tide.topic("t").append({ value: "page" });
        const led = new Promise<void>((resolve) =>
          tide.on((event: { type: string; role?: string }) => event.role === "leader" && resolve()),
        );
        worker.terminate();
        const third = await tide.topic("t").append({ value: "page" });
        await led;
        // The other way round: the worker leads first.
        const again = new Worker("/share.js", { type: "module" });
        const fourth = await new Promise<any>((resolve) =>
          again.addEventListener("message", ({ data }) => resolve(data), { once: true }),
        );
        await tide.close();
        again.postMessage("append");
        const fifth = await new Promise<any>((resolve) =>
          again.addEventListener("message", ({ data }) => resolve(data), { once: true }),
        );
        again.terminate();
        return {
          offsets: [first.offset, second.offset, third.offset, fourth.offset, fifth.offset],
          roles: [first.role, fourth.role],
        };
      }),
    );
    expect(outcome).toEqual({ offsets: [0, 1, 2, 3, 4], roles: ["leader", "follower"] });
  });

  test.each([[null], [5], ["options"], [[]], [{ assets: 5 }]])(
    "options %j are refused by a typed error",
    async (options) => {
      const outcome = await inPage(await serve(), (page) =>
        page.evaluate((given) => (window as any).attempt("x", given) as Promise<Outcome>, options),
      );
      expect(outcome).toMatchObject({ name: "TidemarkError", code: "INVALID_ARGUMENT", kind: "fix" });
    },
  );

  test("a SharedWorker and a service worker are refused by name", async () => {
    const url = await serve();
    const shared = await inPage(url, (page) =>
      page.evaluate(() => {
        const { port } = new SharedWorker("/shared.js", { type: "module" });
        return new Promise<Outcome>((resolve) => (port.onmessage = ({ data }) => resolve(data as Outcome)));
      }),
    );
    expect(shared).toMatchObject(refused("shared-worker", /in a page or in a dedicated worker/) as object);
    const service = await inPage(url, (page) =>
      page.evaluate(async () => {
        await navigator.serviceWorker.register("/service.js", { type: "module" });
        const { active } = await navigator.serviceWorker.ready;
        const { port1, port2 } = new MessageChannel();
        active!.postMessage(0, [port2]);
        return new Promise<Outcome>((resolve) => (port1.onmessage = ({ data }) => resolve(data as Outcome)));
      }),
    );
    expect(service).toMatchObject(refused("service-worker", /in a page or in a dedicated worker/) as object);
  });

  test("an insecure page is told to use https", async () => {
    const url = (await serve()).replace("127.0.0.1", "insecure.test");
    const insecure = mkdtempSync(path.join(folder, "profile-"));
    const executablePath = (ensureChromium as () => string)();
    const args = [...(CHROMIUM_ARGS as string[]), "--host-resolver-rules=MAP insecure.test 127.0.0.1"];
    const elsewhere = await chromium.launchPersistentContext(insecure, { executablePath, args });
    contexts.push(elsewhere);
    expect(await inPage(url, attempt, elsewhere)).toMatchObject(refused("insecure", /https/) as object);
  });

  test("a sandboxed frame is told what to allow", async () => {
    const url = await serve({ "access-control-allow-origin": "*" });
    const outcome = await inPage(url, async (page) => {
      await page.setContent(`<iframe sandbox="allow-scripts" src="${url}"></iframe>`);
      const frame = page.frames()[1] ?? (await page.waitForEvent("frameattached"));
      await frame.waitForLoadState();
      return attempt(frame);
    });
    expect(outcome).toMatchObject(
      refused("opaque-origin", /serve it over https; a sandbox needs allow-same-origin/) as object,
    );
  });

  test("a frame of another site works in a storage of its own, or is told that it gets none", async () => {
    const [outer, inner] = [await serve(), (await serve()).replace("127.0.0.1", "localhost")];
    const outcome = await inPage(outer, async (page) => {
      await page.setContent(`<iframe src="${inner}"></iframe>`);
      const frame = page.frames()[1] ?? (await page.waitForEvent("frameattached"));
      await frame.waitForLoadState();
      return attempt(frame);
    });
    // A setting of the browser decides which of the two happens.
    const denied = refused("denied", /frame of another site/) as object;
    expect(outcome).toMatchObject(outcome.code === undefined ? works : denied);
  });

  const isolation = { "cross-origin-opener-policy": "same-origin", "cross-origin-embedder-policy": "require-corp" };
  test("a cross-origin isolated page works; without the header on the files it is told which one", async () => {
    expect(await inPage(await serve(isolation), attempt)).toMatchObject(works);
    const outcome = await inPage(await serve(), async (page) => {
      // The document alone.
      await page.route("**/", async (route) => {
        const response = await route.fetch();
        await route.fulfill({ response, headers: { ...response.headers(), ...isolation } });
      });
      await page.reload();
      expect(await page.evaluate(() => crossOriginIsolated)).toBe(true);
      return attempt(page);
    });
    expect(outcome).toMatchObject({ name: "TidemarkError", code: "LOAD_FAILED" });
    expect(outcome.message).toContain("Cross-Origin-Embedder-Policy");
  });

  test("where site data is blocked the page is told so", async () => {
    const blocked = await launch({ profile: { default_content_setting_values: { cookies: 2 } } });
    expect(await inPage(await serve(), attempt, blocked)).toMatchObject(
      refused("denied", /denies this page its storage/) as object,
    );
  });

  test("Node: importing is harmless, open() says what it is, and the process ends by itself", async () => {
    const script = `
      const { open } = await import(${JSON.stringify(path.join(site, "dist/browser.js"))});
      const thrown = await open("x").catch((each) => each);
      const { name, code, kind, details, message } = thrown;
      console.log(JSON.stringify({ name, code, kind, reason: details.reason, message }));`;
    // If anything stays open the process does not end; then it is killed, and the test fails.
    const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "-e", script], {
      timeout: 20_000,
    });
    expect(JSON.parse(stdout)).toMatchObject(refused("no-browser", /no browser/) as object);
  });
});

/** Rows of docs/environments.md: a policy, and the directive that open() names, or undefined where it works. */
const POLICIES: readonly (readonly [policy: string, directive: string | undefined])[] = [
  ["default-src 'self'; script-src 'self' 'wasm-unsafe-eval'", undefined],
  ["script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'; default-src 'none'", undefined],
  ["script-src 'self' 'wasm-unsafe-eval'; require-trusted-types-for 'script'", undefined],
  ["script-src 'self' 'wasm-unsafe-eval'; require-trusted-types-for 'script'; trusted-types tidemark", undefined],
  ["script-src 'self'", "script-src"],
  ["script-src 'self' 'wasm-unsafe-eval'; worker-src 'none'", "worker-src"],
  ["script-src 'self' 'wasm-unsafe-eval'; child-src 'none'", "worker-src"],
  ["script-src 'self' 'wasm-unsafe-eval'; connect-src 'none'", "connect-src"],
  ["script-src 'self' 'wasm-unsafe-eval'; connect-src https://api.example.org", "connect-src"],
  ["default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'", "connect-src"],
  ["script-src 'self' 'wasm-unsafe-eval'; require-trusted-types-for 'script'; trusted-types other", "trusted-types"],
];

describe("policies", () => {
  test.each(POLICIES)("%s", async (policy, directive) => {
    const url = await serve({ "content-security-policy": policy });
    const outcome = await inPage(url, attempt);
    if (directive === undefined) return expect(outcome).toMatchObject(works);
    expect(outcome).toMatchObject({ name: "TidemarkError", code: "BLOCKED", kind: "fix", directive });
    expect(outcome.message).toContain(directive);
    expect(outcome.message).toContain("docs/environments.md");
  });

  test("docs/environments.md has these rows", async () => {
    const { readFile } = await import("node:fs/promises");
    const text = (await readFile(path.join(root, "docs/environments.md"), "utf8")).replaceAll(/ +/g, " ");
    const missing = POLICIES.filter(
      ([policy, directive]) =>
        !text.includes(`| \`${policy}\` | ${directive === undefined ? "works" : `\`BLOCKED\`, ${directive}`} |`),
    );
    expect(missing).toEqual([]);
  });

  test("a violation of the app's own does not make a missing file a matter of policy", async () => {
    const url = await serve({ "content-security-policy": "script-src 'self' 'wasm-unsafe-eval'; connect-src 'self'" });
    const outcome = await inPage(url, (page) =>
      page.evaluate(async () => {
        const { attempt: tryIt } = window as typeof window & {
          attempt(name: string, options: object): Promise<Outcome>;
        };
        void fetch("https://elsewhere.example/").catch(() => undefined);
        return tryIt("x", { kernel: "/nothing.wasm" });
      }),
    );
    expect(outcome.code).toBe("LOAD_FAILED");
  });
});
