/**
 * The tarball's exports and declarations, as two public checkers judge them, and as strict consumers compile them with
 * every TypeScript version that the README names.
 */
import { execFile } from "node:child_process";
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import { promisify } from "node:util";
import { beforeAll, describe, expect, inject, it } from "vitest";
import { install } from "./apps.ts";

const root = path.join(import.meta.dirname, "../..");
const run = promisify(execFile);
/** Standard output, whatever the exit code. It is "" when nothing is wrong. */
const complaints = (program: string, args: readonly string[], cwd: string): Promise<string> =>
  run(process.execPath, [program, ...args], { cwd }).then(
    () => "",
    (thrown: { stdout: string; stderr: string }) => thrown.stdout + thrown.stderr || String(thrown),
  );

const COMPILERS = { "typescript-5.7": "5.7.3", "typescript-5.9": "5.9.3", "typescript-7": "7.0.2" };
/** Those that compile the bindings, which takes seconds: the oldest, or with TIDEMARK_PACKAGE=all each. */
const WITH_BINDINGS = process.env["TIDEMARK_PACKAGE"] === "all" ? Object.keys(COMPILERS) : ["typescript-5.7"];
const RESOLUTIONS = [
  ["esnext", "bundler"],
  ["nodenext", "nodenext"],
] as const;
/** The oldest and the newest compile with both, and with TIDEMARK_PACKAGE=all each: one takes seconds. */
const resolutionsOf = (compiler: string) =>
  compiler === "typescript-5.9" && process.env["TIDEMARK_PACKAGE"] !== "all" ? RESOLUTIONS.slice(0, 1) : RESOLUTIONS;
const STRICT = {
  noEmit: true,
  strict: true,
  exactOptionalPropertyTypes: true,
  noUncheckedIndexedAccess: true,
  verbatimModuleSyntax: true,
  skipLibCheck: false,
  target: "es2022",
};

const PAGE = `
import {
  type AppendResult, BatchBuilder, decodeBatch, loadKernel, Log, type LogSettings, MemoryVolume, Producer, readBatches,
  SegmentStore, TidemarkError,
} from "tidemark";
import { type ClientAck, connect, type ConnectOptions } from "tidemark/client";
import { type NodeOpenOptions, open as openFolder } from "tidemark/node";
import {
  type AppendAllOptions, type Ack, type CompactionSettings, open, type OpenOptions, type ReadOptions, type RecordInput,
  type RetentionSettings, type Tide, type TideEvent, TidemarkError as PageError, type Topic, type TopicOptions,
} from "tidemark/browser";
import kernel from "tidemark/kernel.wasm";

type Loose<T> = { [K in keyof T as {} extends Pick<T, K> ? K : never]: T[K] | undefined };
declare const loose: <T>() => Loose<T>;
/** Each option may be given or be undefined, under exactOptionalPropertyTypes. */
export const openOptions: Partial<OpenOptions> = loose<OpenOptions>();
export const topicOptions: Partial<TopicOptions<number>> = loose<TopicOptions<number>>();
export const readOptions: Partial<ReadOptions> = loose<ReadOptions>();
export const appendAllOptions: Partial<AppendAllOptions> = loose<AppendAllOptions>();
export const retention: Partial<RetentionSettings> = loose<RetentionSettings>();
export const compaction: Partial<CompactionSettings> = loose<CompactionSettings>();
export const record: Partial<RecordInput<number>> = loose<RecordInput<number>>();
type AppendOptions = NonNullable<Parameters<Topic["append"]>[1]>;
export const appendOptions: Partial<AppendOptions> = loose<AppendOptions>();

export const module: WebAssembly.Module = kernel;
export async function use(signal: AbortSignal | undefined): Promise<Ack> {
  const tide: Tide = await open("app", { signal, kernel: module });
  tide.on((event: TideEvent) => console.assert(event.type !== "closed"));
  const retention = { maxBytes: undefined };
  const topic: Topic<{ total: number }> = tide.topic<{ total: number }>("orders", { retention });
  for await (const { value, headers } of topic.read({ signal, from: undefined })) {
    console.assert(value!.total > 0, headers["trace"]);
  }
  return topic.append({ key: "a", value: { total: 1 }, timestamp: undefined });
}
export const connectOptions: Partial<ConnectOptions> = loose<ConnectOptions>();
export const nodeOptions: Partial<NodeOpenOptions> = loose<NodeOpenOptions>();
export async function elsewhere(): Promise<ClientAck> {
  const folder: Tide = await openFolder("./data", { segmentBytes: undefined });
  await folder.topic<number>("numbers").append({ value: 1 });
  return connect("https://edge.example", { token: "t" }).topic<number>("numbers").append({ value: 1 });
}
export const errors = (thrown: unknown): string =>
  thrown instanceof PageError ? thrown.code : thrown instanceof TidemarkError ? thrown.kind : "";
export const core: unknown[] = [
  BatchBuilder, decodeBatch, loadKernel, Log, MemoryVolume, Producer, readBatches, SegmentStore,
];
export type Names = AppendResult | LogSettings;
`;

const WORKER = `
import { TidemarkError as Core } from "tidemark";
import {
  type EdgeTopic, type EdgeTopicOptions, type Env, handleRequest, LogObject, openTopic, SubscriptionObject,
  TidemarkError,
} from "tidemark/worker";
import kernel from "tidemark/kernel.wasm";

export { LogObject, SubscriptionObject };
type Loose<T> = { [K in keyof T as {} extends Pick<T, K> ? K : never]: T[K] | undefined };
declare const loose: <T>() => Loose<T>;
export const topicOptions: Partial<EdgeTopicOptions<number>> = loose<EdgeTopicOptions<number>>();
type Edge = EdgeTopic<number>;
type ReadOptions = NonNullable<Parameters<Edge["read"]>[0]>;
export const readOptions: Partial<ReadOptions> = loose<ReadOptions>();
type AppendOptions = NonNullable<Parameters<Edge["append"]>[1]>;
export const appendOptions: Partial<AppendOptions> = loose<AppendOptions>();

export const module: WebAssembly.Module = kernel;
/** All entries share one class: an error thrown by one is an instance of the other's. */
export const error: Core = new TidemarkError("CLOSED", "over");
export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    await openTopic<{ total: number }>(env, "orders").append({ key: "a", value: { total: 1 } });
    return handleRequest(request, env);
  },
};
`;

const OTEL = `
import { open } from "tidemark/browser";
import { observe, processing, telemetry, type TelemetryOptions } from "tidemark/otel";

export async function use(options: TelemetryOptions): Promise<() => void> {
  const tide = await open("app");
  const topic = tide.topic<number>("numbers", { use: [telemetry(options)] });
  for await (const record of topic.read()) await processing("numbers", record, () => record.value, options);
  return observe(tide, { attributes: { "app.name": "a" } });
}
`;

/** Whose types the bindings and OpenTelemetry's entry name, and those that the cases use. They are the repository's. */
const NAMED = ["@types/react", "vue", "svelte", "solid-js", "@tanstack/db", "@opentelemetry/api", "zod", "expect-type"];
/** test/types/bindings.test.ts, as an app imports the package. */
const bindingCases = (): string =>
  readFileSync(path.join(root, "test/types/bindings.test.ts"), "utf8")
    .replaceAll(/"(?:\.\.\/){2}src\/(?:bindings\/)?([\w-]+)(?:\/index)?\.ts"/g, '"tidemark/$1"')
    .replace('{ expectTypeOf, test } from "vitest"', '{ expectTypeOf } from "expect-type"')
    .replace(/^test\(.*\n/m, "");
/** A framework's own declarations may be wrong under these options; the package's and the app's may not. */
const ours = (complaints: string): string =>
  complaints
    .split(/\n(?=\S)/)
    .filter((each) => !/^[^(]*node_modules\/(?!tidemark\/)/.test(each))
    .join("\n");

let consumer = "";
beforeAll(async () => {
  consumer = path.join(inject("packageFolder"), "consumer");
  mkdirSync(consumer);
  writeFileSync(
    path.join(consumer, "package.json"),
    JSON.stringify({ name: "consumer", private: true, type: "module" }),
  );
  writeFileSync(path.join(consumer, "page.ts"), PAGE);
  writeFileSync(path.join(consumer, "worker.ts"), WORKER);
  writeFileSync(path.join(consumer, "otel.ts"), OTEL);
  writeFileSync(path.join(consumer, "bindings.ts"), bindingCases());
  await install(consumer, [
    inject("tarball"),
    "@cloudflare/workers-types@5.20261117.1",
    ...Object.entries(COMPILERS).map(([name, version]) => `${name}@npm:typescript@${version}`),
  ]);
  for (const name of NAMED) {
    const place = path.join(consumer, "node_modules", name);
    mkdirSync(path.dirname(place), { recursive: true });
    symlinkSync(path.join(root, "node_modules", name), place);
  }
});

describe("the tarball", () => {
  it("has nothing that publint finds wrong", async () => {
    expect(
      await complaints(path.join(root, "node_modules/publint/src/cli.js"), ["--strict", inject("tarball")], consumer),
    ).toBe("");
  });

  it("has types that resolve wherever ES modules do", async () => {
    expect(
      await complaints(
        path.join(root, "node_modules/@arethetypeswrong/cli/dist/index.js"),
        ["--profile", "esm-only", "--no-color", inject("tarball")],
        consumer,
      ),
    ).toBe("");
  });
});

describe.each(Object.keys(COMPILERS))("a strict consumer with %s", (compiler) => {
  const compile = (files: readonly string[], resolution: readonly string[], options: object) => {
    const [module, moduleResolution] = resolution;
    const config = `${compiler}-${files.join("-")}-${module}.json`;
    const compilerOptions = { ...STRICT, module, moduleResolution, ...options };
    const text = JSON.stringify({ compilerOptions, files: files.map((name) => `${name}.ts`) });
    writeFileSync(path.join(consumer, config), text);
    return complaints(path.join(consumer, "node_modules", compiler, "bin/tsc"), ["-p", config], consumer);
  };
  const DOM = { lib: ["es2022", "dom", "dom.iterable"], types: [] };

  it.each(resolutionsOf(compiler))(
    "compiles every host's entry, module %s, moduleResolution %s",
    async (...resolution) => {
      expect(await compile(["page"], resolution, DOM)).toBe("");
      expect(await compile(["worker"], resolution, { lib: ["es2022"], types: ["@cloudflare/workers-types"] })).toBe("");
    },
  );

  it.runIf(WITH_BINDINGS.includes(compiler))("compiles the bindings and OpenTelemetry's entry", async () => {
    const found = await compile(["bindings", "otel"], RESOLUTIONS[1], DOM);
    expect(ours(found)).toBe("");
  });
});
