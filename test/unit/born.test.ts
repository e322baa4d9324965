/**
 * A topic that did not exist when a page asked for it: everything that the page learns then belongs to the first topic
 * of that name, and never to a later one.
 */
import { afterEach, expect, test } from "vitest";
import { TidemarkError } from "../../src/errors.ts";
import { MemoryVolume } from "../../src/store/memory-volume.ts";
import { fails } from "../contract/check.ts";
import { batchOf } from "./log-fixtures.ts";
import { endPages, leader, pageOver } from "./page-fixtures.ts";

const NAME = "a";
afterEach(endPages);
const append = ({ connect }: Awaited<ReturnType<typeof leader>>, value: string) =>
  connect().append({ topic: NAME, batch: batchOf([`=${value}`]) });

/**
 * A page that asked for the topic when there was none. `change` gives it another leader, under which the topic was
 * made, deleted and made again.
 */
async function pageWithout() {
  const volume = new MemoryVolume({ slotBytes: 64 * 1024 });
  const first = await leader(volume);
  const { tide, topic: topicOf } = pageOver(first);
  const topic = topicOf<string>(NAME, { serializer: "text" });
  // The answer to this read tells the page that the topic does not exist.
  expect((await topic.read().next()).done).toBe(true);
  const change = async (): Promise<void> => {
    const next = await leader(volume);
    const { born } = await next.topics.ask({ topic: NAME });
    await next.topics.delete(NAME, born!);
    for (const value of ["other 0", "other 1", "other 2"]) await append(next, value);
    const { connection } = tide;
    tide.connection = next.connect();
    connection.fail(new TidemarkError("CLOSED", "another tab leads now"));
  };
  return { topic, first, change };
}

test("a follow that waited for the topic ends when it is deleted, and reads nothing of the next one", async () => {
  const { topic, first, change } = await pageWithout();
  const follow = topic.read({ follow: true });
  const waiting = follow.next();
  await append(first, "first");
  expect((await waiting).value).toMatchObject({ offset: 0, value: "first" });
  const more = follow.next();
  more.catch(() => undefined);
  await change();
  const error = await fails("UNKNOWN_TOPIC", more);
  expect(error.details).toMatchObject({ topic: NAME, deleted: true });
  await fails("UNKNOWN_TOPIC", topic.append({ value: "for the first one" }));
});

test("a page that has read the topic, or asked for its end, sends no append to the next one", async () => {
  for (const learn of ["read", "state", "resolve"] as const) {
    const { topic, first, change } = await pageWithout();
    await append(first, "first");
    if (learn === "read") expect((await topic.read().next()).value).toMatchObject({ value: "first" });
    if (learn === "state") expect(await topic.state()).toMatchObject({ highWatermark: 1 });
    // The page learns the log's end and nothing else.
    if (learn === "resolve") expect((await topic.read({ from: "latest" }).next()).done).toBe(true);
    await change();
    await fails("UNKNOWN_TOPIC", topic.append({ value: "for the first one" }));
    await fails("UNKNOWN_TOPIC", topic.read().next());
  }
});

test("a page that has learned nothing of the first topic uses the next one", async () => {
  const { topic, first, change } = await pageWithout();
  await append(first, "first");
  await change();
  expect((await topic.read().next()).value).toMatchObject({ offset: 0, value: "other 0" });
  expect((await topic.append({ value: "mine" })).offset).toBe(3);
});
