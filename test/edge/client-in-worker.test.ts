/**
 * `tidemark/client` inside workerd, as a Worker uses it for an edge elsewhere: no kernel is compiled there. `open()` of
 * the browser is refused there.
 */
import { SELF } from "cloudflare:test";
import { expect, it } from "vitest";
import { requireEnvironment } from "../../src/browser/platform/environment.ts";
import { connect } from "../../src/client/index.ts";
import { compressBatch } from "../../src/record/codec.ts";
import { encodeBatch } from "../../src/client/encode-batch.ts";
import { edgeKernel } from "../../worker/kernel.ts";

it("appends, reads what is packed, follows to the end, and removes", async () => {
  const edge = connect("http://127.0.0.1", { fetch: (url, init) => SELF.fetch(url, init), transport: "http" });
  const topic = edge.topic<number>("client/in-worker");
  const acks = await Promise.all([1, 2, 3].map((value) => topic.append({ key: "k", value })));
  expect(acks.map(({ offset }) => offset)).toEqual([0, 1, 2]);
  const records = [4, 5].map((value) => ({ key: null, value: new TextEncoder().encode(`${value}`), timestamp: 0 }));
  const plain = encodeBatch(records, { producerId: -1, producerEpoch: -1, baseSequence: -1 });
  const packed = await compressBatch(await edgeKernel(), plain);
  const headers = { "content-type": "application/vnd.tidemark.batches" };
  const url = "http://127.0.0.1/v1/stream/client/in-worker";
  expect((await SELF.fetch(url, { method: "POST", headers, body: packed as BodyInit })).status).toBe(200);
  const seen: (number | null)[] = [];
  const follow = (async () => {
    for await (const { value } of topic.read({ follow: true })) seen.push(value);
  })();
  await topic.append({ value: 6 });
  await topic.end();
  await follow;
  expect(seen).toEqual([1, 2, 3, 4, 5, 6]);
  expect(await topic.state()).toMatchObject({ logEndOffset: 6, closed: true, contentType: "application/json" });
  expect(await topic.delete()).toBe(true);
  await edge.close();
});

it("a topic that is deleted and made anew, and is longer by then, is another log", async () => {
  let open: (() => void) | undefined;
  let gate = Promise.resolve();
  // Long-polls wait until the topic is another one.
  const fetch = async (url: string, init?: RequestInit): Promise<Response> => {
    if (url.includes("live=")) await gate;
    return SELF.fetch(url, init);
  };
  const edge = connect("http://127.0.0.1", { fetch, transport: "http" });
  const topic = edge.topic<number>("client/anew");
  const made = async (...values: number[]): Promise<void> => {
    const other = connect("http://127.0.0.1", { fetch: (url, init) => SELF.fetch(url, init), transport: "http" });
    await other.topic<number>("client/anew").appendBatch(values.map((value) => ({ value })));
    await other.close();
  };
  await made(1, 2);
  gate = new Promise((resolve) => (open = resolve));
  const told: string[] = [];
  const changes = topic.changes();
  const next = async (until: string): Promise<void> => {
    for (let found = ""; found !== until;) {
      const { value: change } = await changes.next();
      if (change!.type === "append") found = `append ${change!.record.offset}: ${change!.record.value}`;
      else if (change!.type === "reset") found = `reset ${change!.logStartOffset}`;
      else found = change!.type;
      told.push(found);
    }
  };
  const follow = topic.read({ from: "latest", follow: true });
  const read = follow.next();
  await next("level");
  await topic.delete();
  await made(3, 4, 5, 6);
  open!();
  await next("level");
  expect(told).toEqual([
    ...["append 0: 1", "append 1: 2", "level"],
    ...["reset 0", "append 0: 3", "append 1: 4", "append 2: 5", "append 3: 6", "level"],
  ]);
  await expect(read).rejects.toMatchObject({ code: "UNKNOWN_TOPIC", details: { deleted: true, offset: 2 } });
  await changes.return!();
  await edge.close();
});

it("open() of the browser says that a Worker is no browser", () => {
  expect(requireEnvironment).toThrow(
    expect.objectContaining({
      code: "NO_STORAGE",
      message: expect.stringContaining("this is no browser") as string,
      details: { reason: "no-browser" },
    }) as Error,
  );
});
