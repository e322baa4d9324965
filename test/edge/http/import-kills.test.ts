/**
 * Segments go to an edge whose workerd is killed with kill -9 again and again, by the client in this process: nothing
 * is visible before the end, and each record is there once, with its offset.
 */
import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { expect, test } from "vitest";
import { connect } from "../../../src/client/index.ts";
import { batchAt, joined, range, timeAt, valueAt } from "../../support/kafka-batches.ts";
import { releaseKernel } from "../../support/kernels.ts";
import { RawWorkerd } from "../raw-workerd.ts";

const SIZE = 20_000;
const [FIRST, END] = [50, 50 + 3 * 800];

test("kill -9 of workerd in the middle of an import, at each piece", async () => {
  const kernel = await releaseKernel();
  const directory = mkdtempSync(path.join(os.tmpdir(), "tidemark-import-kills-"));
  const worker = await RawWorkerd.create({ directory });
  await worker.start();
  let restarting: Promise<void> | undefined;
  let [sent, kills] = [0, 0];
  /** Every second piece loses its server: when it has just been sent, or as its answer comes. */
  const deadly = async (url: string, init: RequestInit): Promise<Response> => {
    await restarting;
    const isPiece = String(Object(init.headers)["content-type"]).includes("piece");
    const kill = async (): Promise<void> => {
      kills++;
      await worker.kill();
      await (restarting = worker.start());
    };
    if (!isPiece || ++sent % 2 === 0) return fetch(url, init);
    const answer = fetch(url, init);
    if (sent % 4 === 1) await Promise.all([kill(), answer.catch(() => undefined)]);
    else await answer.then(kill);
    throw new TypeError("the connection is lost");
  };
  await using edge = connect(worker.url, { fetch: deadly, transport: "http", timeoutMs: 120_000 });
  await using reader = connect(worker.url, { transport: "http" });
  const files = [0, 1].map((half) => ({
    name: `${half}.log`,
    log: joined(range(0, 400).map((i) => batchAt(kernel, FIRST + 3 * (400 * half + i), 3, SIZE))),
  }));
  const topic = edge.topic("t", { serializer: "text" });
  const ends: number[] = [];
  const onProgress = ({ bytes, bytesTotal }: { readonly bytes: number; readonly bytesTotal: number }): void => {
    if (bytes < bytesTotal)
      void reader
        .topic("t")
        .state()
        .then(
          (state) => ends.push(state!.logEndOffset),
          () => undefined,
        );
  };
  try {
    const result = await topic.importSegments(files, { onProgress });
    expect(result).toEqual({ batches: 800, records: 2400, firstOffset: FIRST, nextOffset: END, damage: [] });
    expect(await topic.importSegments(files)).toEqual(result);
    const found: number[] = [];
    for await (const { offset, value, timestamp } of topic.read()) {
      expect([value, timestamp]).toEqual([valueAt(offset, SIZE), timeAt(offset)]);
      found.push(offset);
    }
    expect(found).toEqual(range(FIRST, END));
    console.log(`${kills} kills in ${sent} pieces of ${files[0]!.log.length + files[1]!.log.length} bytes`);
    expect(kills).toBeGreaterThan(10);
    // Every read during the import saw an empty topic.
    expect(new Set(ends)).toEqual(new Set([0]));
  } finally {
    await worker.kill();
    rmSync(directory, { recursive: true, force: true });
  }
});
