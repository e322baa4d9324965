/**
 * The published Durable Streams client, unmodified, over HTTP against the worker in local workerd: it follows a stream
 * while the producer, and then the whole server, restarts.
 */
import { DurableStream, IdempotentProducer, stream } from "@durable-streams/client";
import { expect, test } from "vitest";
import { startWorker } from "../local-worker.ts";

test("the published client tails without loss or repetition while its producer restarts", async () => {
  const worker = await startWorker();
  const url = `${worker.url}/v1/stream/client/tail`;
  const handle = await DurableStream.create({ url, contentType: "application/json" });
  const abort = new AbortController();
  const seen: number[] = [];
  const response = await stream<{ n: number }>({ url, offset: "-1", live: "sse", signal: abort.signal, json: true });
  const done = new Promise<void>((resolve) => {
    response.subscribeJson((batch) => {
      for (const { n } of batch.items) seen.push(n);
      if (seen.length >= 300) resolve();
    });
  });
  for (let life = 0; life < 3; life++) {
    const producer = new IdempotentProducer(handle, "writer", { epoch: life, autoClaim: true });
    for (let i = 0; i < 100; i++) producer.append(JSON.stringify({ n: life * 100 + i }));
    await producer.flush();
    await producer.detach();
  }
  await done;
  abort.abort();
  expect(seen).toEqual(Array.from({ length: 300 }, (_, n) => n));
  await worker.stop();
});

test("state on disk survives the server's restart, and a reader goes on where it was", async () => {
  const worker = await startWorker();
  const at = (server: { url: string }) => `${server.url}/v1/stream/client/restart`;
  const first = await DurableStream.create({ url: at(worker), contentType: "text/plain" });
  await first.append("before ");
  const found = await stream({ url: at(worker), offset: "-1", live: false });
  expect(await found.text()).toBe("before ");
  const { offset } = found;
  await worker.restart();
  const again = await DurableStream.connect({ url: at(worker), contentType: "text/plain" });
  await again.append("after");
  expect(await (await stream({ url: at(worker), offset, live: false })).text()).toBe("after");
  expect(await (await stream({ url: at(worker), offset: "-1", live: false })).text()).toBe("before after");
  await worker.stop();
});
