/**
 * The tarball's exports and declarations, as two public checkers judge them, and as strict consumers compile them with
 * every TypeScript version that the README names.
 */
import { execFile } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
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
const RESOLUTIONS = [
  ["esnext", "bundler"],
  ["nodenext", "nodenext"],
] as const;
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
  await install(consumer, [
    inject("tarball"),
    "@cloudflare/workers-types@5.20261117.1",
    ...Object.entries(COMPILERS).map(([name, version]) => `${name}@npm:typescript@${version}`),
  ]);
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
  it.each(RESOLUTIONS)("compiles every entry, module %s, moduleResolution %s", async (module, moduleResolution) => {
    const compile = (name: string, options: object): Promise<string> => {
      const config = `${compiler}-${name}-${module}.json`;
      writeFileSync(
        path.join(consumer, config),
        JSON.stringify({ compilerOptions: { ...STRICT, module, moduleResolution, ...options }, files: [`${name}.ts`] }),
      );
      return complaints(path.join(consumer, "node_modules", compiler, "bin/tsc"), ["-p", config], consumer);
    };
    expect(await compile("page", { lib: ["es2022", "dom", "dom.iterable"], types: [] })).toBe("");
    expect(await compile("worker", { lib: ["es2022"], types: ["@cloudflare/workers-types"] })).toBe("");
  });
});
