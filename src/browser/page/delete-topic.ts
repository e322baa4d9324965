/** Deletes a topic. Loaded by the first such call, with what the worker needs for it. */
import { checkTopicName } from "../../topic/names.ts";
import type { BrowserTopic, TopicHost } from "./browser-topic.ts";
import type { retried } from "./retried.ts";

/** `known`: this page's object of the topic. `again` repeats work where the logs are open again. */
export async function deleteNamed(
  tide: TopicHost,
  topic: string,
  again: typeof retried,
  known: BrowserTopic<unknown> | undefined,
): Promise<void> {
  checkTopicName(topic);
  // Only the first answer counts: a topic that is made later is not meant.
  let born: number | undefined;
  await again(tide, async () => {
    const connection = tide.connection!;
    born ??= (await connection.call<{ readonly born: number | undefined }>({ op: "topic", topic })).born;
    if (born !== undefined) await connection.call({ op: "delete", topic, born });
  });
  if (born !== undefined) known?.end();
}
