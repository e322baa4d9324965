/** The package's files as a reader sees them, and as a program without a browser uses them. */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import { createInterface } from "node:readline";
import { beforeAll, describe, expect, inject, it } from "vitest";
import { linksOf } from "../support/tidy.ts";
import { install } from "./apps.ts";

const PROGRAM = `
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { BatchBuilder, decodeBatch, loadKernel, Log, MemoryVolume, SegmentStore } from "tidemark";
const kernel = await loadKernel(await readFile(fileURLToPath(import.meta.resolve("tidemark/kernel.wasm"))));
const store = await SegmentStore.open({ volume: new MemoryVolume({ slotBytes: 1 << 20 }), kernel, now: Date.now });
const log = await Log.open({ store: await store.log("t-0"), kernel, clock: { now: Date.now } });
const builder = new BatchBuilder(kernel);
builder.tryAppend({ key: null, value: new TextEncoder().encode("hello"), timestamp: 1 });
await log.append(builder.build({ producerId: -1, producerEpoch: -1, baseSequence: -1 }));
const { bytes } = await log.fetch(0);
console.log(new TextDecoder().decode((await decodeBatch(kernel, bytes)).valueAt(0)));
`;

const USE_EDGE = (url: string): string => `
import { connect } from "tidemark/client";
const edge = connect(${JSON.stringify(url)});
const orders = edge.topic("orders");
await orders.append({ value: { total: 42 } });
const offsets = [];
for await (const { offset } of orders.read()) offsets.push(offset);
console.log(offsets.join(" "));
await edge.close();
`;

let app = "";
const inPackage = (...names: string[]): string => path.join(app, "node_modules/tidemark", ...names);
const read = (...names: string[]): string => readFileSync(inPackage(...names), "utf8");
/** Paths of all files of the package. */
const files = (): string[] =>
  (readdirSync(inPackage(), { recursive: true }) as string[]).filter((file) => statSync(inPackage(file)).isFile());

beforeAll(async () => {
  app = path.join(inject("packageFolder"), "entries");
  mkdirSync(app);
  writeFileSync(path.join(app, "package.json"), JSON.stringify({ name: "app", private: true, type: "module" }));
  writeFileSync(path.join(app, "node.mjs"), PROGRAM);
  await install(app, [inject("tarball")]);
});

describe("the installed package", () => {
  it("keeps a log in Node's memory: the entry without a host, and the kernel's file", () => {
    expect(execFileSync(process.execPath, ["node.mjs"], { cwd: app, encoding: "utf8" }).trim()).toBe("hello");
  });

  it("brings no other packages, and the licences of those inside", () => {
    const { dependencies, optionalDependencies } = JSON.parse(read("package.json")) as Record<string, unknown>;
    expect([dependencies, optionalDependencies]).toEqual([undefined, undefined]);
    expect(readdirSync(path.join(app, "node_modules")).filter((name) => !name.startsWith("."))).toEqual(["tidemark"]);
    for (const name of ["comlink", "idb", "jose"]) expect(read(`dist/licenses/${name}.txt`)).toMatch(/copyright/i);
  });

  it("holds its documents, and no link in them leads to nothing", () => {
    const documents = files().filter((file) => file.endsWith(".md"));
    expect(documents).toEqual(expect.arrayContaining(["README.md", "docs/edge.md", "docs/limits.md"]));
    expect(files()).toContain("docs/example-worker/index.ts");
    const dead = documents.flatMap((document) =>
      linksOf(read(document))
        .links.map(({ target }) => target.replace(/#.*$/, ""))
        .filter((target) => target !== "" && !existsSync(inPackage(path.dirname(document), target)))
        .map((target) => `${document}: ${target}`),
    );
    expect(dead).toEqual([]);
  });

  it("ships no source maps, and no declarations that no entry leads to", () => {
    expect(files().filter((file) => file.endsWith(".map"))).toEqual([]);
    const { exports } = JSON.parse(read("package.json")) as { exports: Record<string, { types?: string }> };
    const reached = new Set(
      Object.values(exports).flatMap(({ types }) => (types === undefined ? [] : [path.normalize(types)])),
    );
    for (const file of reached) {
      for (const [, name] of read(file).matchAll(/(?:from|import)\s*\(?\s*"(\.[^"]+)"/g))
        reached.add(path.join(path.dirname(file), name!).replace(/\.ts$/, ".d.ts"));
    }
    expect(
      files()
        .filter((file) => file.endsWith(".d.ts"))
        .sort(),
    ).toEqual([...reached].sort());
  });
});

describe("npx tidemark dev", () => {
  const bin = (): string => inPackage("bin", "tidemark.mjs");
  const start = () => spawn(process.execPath, [bin(), "dev", "--folder", "edge"], { cwd: app });

  it("says what to install where Wrangler is missing", async () => {
    const child = start();
    let said = "";
    child.stderr.on("data", (chunk: Buffer) => (said += chunk.toString()));
    const [code] = (await once(child, "close")) as [number];
    expect([code, said]).toEqual([1, expect.stringContaining("npm install --save-dev wrangler") as string]);
  });

  it("runs an edge that a program of the package reaches, once for a folder, and keeps its logs", async () => {
    symlinkSync(path.join(import.meta.dirname, "../../node_modules/wrangler"), path.join(app, "node_modules/wrangler"));
    const said: string[] = [];
    for (const round of [0, 1]) {
      const child = start();
      const ended = once(child, "close");
      for await (const line of createInterface({ input: child.stdout })) {
        const url = /^(http\S+) {3}an edge/.exec(line)?.[1];
        if (url === undefined) continue;
        writeFileSync(path.join(app, "use.mjs"), USE_EDGE(url));
        said.push(execFileSync(process.execPath, ["use.mjs"], { cwd: app, encoding: "utf8" }).trim());
        const second = start();
        let refusal = "";
        second.stderr.on("data", (chunk: Buffer) => (refusal += chunk.toString()));
        expect([await once(second, "close"), round]).toEqual([[1, null], round]);
        expect(refusal).toContain("ALREADY_OPEN");
        child.kill("SIGINT");
      }
      expect(await ended).toEqual([130, null]);
    }
    expect(said).toEqual(["0", "0 1"]);
  });
});
