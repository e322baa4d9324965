/** What tests of imports at the edge share: Kafka files, the topic as it is read, and the requests by hand. */
import { env } from "cloudflare:test";
import { expect } from "vitest";
import { gzip } from "../../src/record/codec.ts";
import { BATCH_HEADER_BYTES } from "../../src/record/format.ts";
import { openTopic } from "../../worker/library.ts";
import { edgeKernel } from "../../worker/kernel.ts";
import { batchAt, joined, range, timeAt, valueAt } from "../support/kafka-batches.ts";
import { call, inside } from "./archive-tools.ts";

export const kernel = await edgeKernel();
let topics = 0;
export const fresh = (): string => `import/${++topics}`;
export const batches = (from: number, to: number, size?: number): Uint8Array =>
  joined(range(0, (to - from) / 3).map((i) => batchAt(kernel, from + 3 * i, 3, size)));
export const textTopic = (path: string) => openTopic<string>(env, path, { serializer: "text" });

export async function offsetsOf(path: string, from: number | "earliest" = "earliest", size = 1000): Promise<number[]> {
  const found: number[] = [];
  for await (const { offset, value, timestamp } of textTopic(path).read({ from })) {
    expect([value, timestamp]).toEqual([valueAt(offset, size), timeAt(offset)]);
    found.push(offset);
  }
  return found;
}

/** Tables that an import uses. */
export const aside = (path: string): Promise<number> =>
  inside(path, (_, { storage: { sql } }) =>
    Number(sql.exec("SELECT count(*) AS n FROM sqlite_master WHERE name LIKE 'incoming%'").toArray()[0]!["n"]),
  );

export const first = batches(100, 160);
export const second = batches(160, 280);
export const FILES = [
  { name: "00000000000000000160.log", log: new Blob([second as Uint8Array<ArrayBuffer>]) },
  { name: "00000000000000000100.log", log: first },
];

/** A small batch of 32 MiB. */
export async function largeOnceUnpacked(): Promise<Uint8Array> {
  const head = batchAt(kernel, 100, 1, 10).slice(0, BATCH_HEADER_BYTES);
  const batch = joined([head, await gzip(new Uint8Array(32 * 1024 * 1024))]);
  const view = new DataView(batch.buffer);
  view.setInt32(8, batch.length - 12);
  view.setInt16(21, 1);
  view.setUint32(17, kernel.crc32c(batch.subarray(21)));
  return batch;
}

/** The requests of the protocol, by hand. */
export const begin = (path: string, request: unknown): Promise<Response> =>
  call(path, "POST", { "content-type": "application/vnd.tidemark.import+json" }, JSON.stringify(request));
export const piece = (path: string, query: string, bytes: Uint8Array): Promise<Response> =>
  call(`${path}?${query}`, "POST", { "content-type": "application/vnd.tidemark.import-piece" }, bytes);
export const answer = async (response: Promise<Response>): Promise<Record<string, unknown> & { import: string }> =>
  (await response).json();
export const refusal = async (response: Promise<Response>): Promise<unknown> => {
  const { status } = await response;
  const { error } = (await (await response).json()) as { error: { code: string; details: object } };
  return { status, code: error.code, ...error.details };
};
