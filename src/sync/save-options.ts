/** A later call of sync() for a topic that is synced already: what it names is changed in the note. */
import type { TopicStorage } from "./topic-storage.ts";
import { type KeptOptions, optionsAfter } from "./topic-options.ts";

/** Durable when it resolves. No commit where nothing changes. */
export function saveOptions(storage: TopicStorage, given: KeptOptions): Promise<void> {
  return storage.alone(async () => {
    const { outbox } = storage;
    const { options = {} } = outbox.note;
    const after = optionsAfter(options, given);
    if (after !== options) await outbox.log.alone(() => outbox.saveNote({ ...outbox.note, options: after }));
  });
}
