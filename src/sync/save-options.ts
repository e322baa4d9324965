/** Calls of the application that change what is kept in a synced topic's note. */
import type { OutboxNote } from "./notes.ts";
import type { TopicStorage } from "./topic-storage.ts";
import { type KeptOptions, type LinkWishes, optionsAfter } from "./topic-options.ts";

/** Durable when it resolves. No commit where nothing changes. */
function save(storage: TopicStorage, change: (note: OutboxNote) => Partial<OutboxNote> | undefined): Promise<void> {
  return storage.alone(async () => {
    const { outbox } = storage;
    const changed = change(outbox.note);
    if (changed) await outbox.log.alone(() => outbox.saveNote({ ...outbox.note, ...changed }));
  });
}

/** sync() names a topic that is synced already. */
export function saveOptions(storage: TopicStorage, given: KeptOptions): Promise<void> {
  return save(storage, ({ options = {} }) => {
    const after = optionsAfter(options, given);
    return after === options ? undefined : { options: after };
  });
}

export function saveLinkOptions(storage: TopicStorage, link: LinkWishes): Promise<void> {
  const { paused = false, background = "pause" } = link;
  return save(storage, ({ link: { paused: wasPaused = false, background: before = "pause" } = {} }) =>
    paused === wasPaused && background === before ? undefined : { link: { paused, background } },
  );
}
